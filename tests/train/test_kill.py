"""kill -9 of a rank mid-epoch, on Ray with two ranks: the same bytes at the end, one run, no step twice."""

import os
import signal
import threading
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import psutil
import pytest

from flows import train
from pipeline import params, store, tracking
from pipeline.params import Train
from pipeline.train import ray
from pipeline.train.ledger import Ledger, Order
from tests.helpers import learners

EPOCHS = 6
JOBS: dict[str, dict[str, Any]] = {
    "classifier": {**learners.CLASSIFIER, "batch": 20, "epochs": EPOCHS, "workers": 2},
    "detector": {**learners.DETECTOR, "epochs": EPOCHS, "workers": 2},
    "gan": {**learners.GAN, "epochs": EPOCHS, "workers": 2},
}
#: the process that leads the lane and writes its checkpoints, or the other one
KILLED = {"classifier": "leader", "detector": "follower", "gan": "leader"}
pytestmark = pytest.mark.slow


def lane(leader: int) -> dict[str, int]:
    """The process numbers of a lane of two."""
    siblings = psutil.Process(leader).parent().children()
    others = [p.pid for p in siblings if p.pid != leader and "".join(p.cmdline()).startswith("ray::RayTrainWorker")]
    assert len(others) == 1
    return {"leader": leader, "follower": others[0]}


def kill_mid_epoch(orders: Iterable[Order], killed: dict[str, int]) -> None:
    """Kill one process of each job's lane halfway between the ends of two epochs; note how many had ended."""
    for order in orders:
        ledger = Ledger.of(order)
        deadline = time.monotonic() + 300
        while order.name not in killed and time.monotonic() < deadline:
            entry = ledger.read()
            ended = int(entry.get("epoch") or 0)
            if ended:
                time.sleep(entry["seconds"] / ended / 2)
                if int(ledger.read()["epoch"]) == ended < EPOCHS:
                    os.kill(lane(entry["pid"])[KILLED[order.name]], signal.SIGKILL)
                    killed[order.name] = ended
            time.sleep(0.02)


@pytest.fixture(scope="module")
def undisturbed(prepared: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Order]:
    root = tmp_path_factory.mktemp("undisturbed")
    orders = learners.orders(root, prepared, JOBS)
    ray.run(list(orders.values()), Train(), root, {})
    return orders


@pytest.fixture(scope="module")
def disturbed(
    undisturbed: dict[str, Order], prepared: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, dict[str, Order], dict[str, int]]:
    """The same jobs as the train stage runs them, each of them killed once: root, orders, epochs before the kill."""
    root = tmp_path_factory.mktemp("disturbed")
    orders = learners.orders(root, prepared, JOBS)
    killed: dict[str, int] = {}
    killer = threading.Thread(target=kill_mid_epoch, args=(orders.values(), killed))
    killer.start()
    train.run(params.read(root / "params.yaml"), root)
    killer.join()
    return root, orders, killed


@pytest.mark.parametrize("name", JOBS)
def test_a_killed_rank_changes_nothing(
    undisturbed: dict[str, Order], disturbed: tuple[Path, dict[str, Order], dict[str, int]], name: str
) -> None:
    root, orders, killed = disturbed
    entry = Ledger.of(orders[name]).read()
    assert name in killed, "it was not killed, so nothing was tested"
    assert entry["attempts"] == 2
    assert 0 < entry["resumed_at_step"] < entry["step"]
    assert entry["resumed_at_step"] >= entry["step"] // EPOCHS * killed[name]
    assert store.verify(root / "models" / name) == store.verify(undisturbed[name].model)

    client = tracking.client(root)
    numbers = [experiment.experiment_id for experiment in client.search_experiments()]
    (run,) = client.search_runs(numbers, f"tags.`{tracking.FINGERPRINT}` = '{orders[name].fingerprint}'")
    steps = [metric.step for metric in client.get_metric_history(run.info.run_id, "train/loss")]
    assert steps == list(range(1, EPOCHS + 1))
