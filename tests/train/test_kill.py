"""kill -9 of a rank mid-epoch, on Ray with two ranks: the same bytes at the end, one run, no step twice."""

import os
import shutil
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipeline import store, tracking
from pipeline.params import Params
from pipeline.train import ray
from pipeline.train.ledger import Ledger, Order
from tests import support

Project = Callable[..., tuple[Path, Params]]
JOBS: dict[str, dict[str, Any]] = {
    "classifier": {"augmentation": "light", "epochs": 12, "workers": 2, "ema": 0.9, "warmup": 1},
}


def kill_after_first_checkpoint(order: Order, killed: list[int]) -> None:
    """Kill the process that leads the lane, soon after an epoch has ended."""
    ledger = Ledger.of(order)
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        entry = ledger.read()
        if (entry.get("epoch") or 0) >= 1:
            time.sleep(0.2)
            os.kill(entry["pid"], signal.SIGKILL)
            killed.append(entry["step"])
            return
        time.sleep(0.02)


@pytest.mark.slow
@pytest.mark.parametrize("name", JOBS)
def test_a_killed_rank_changes_nothing(project: Project, name: str) -> None:
    root, params = project({name: JOBS[name]})
    order = support.orders(root, params)[name]
    ray.run([order], params.train, root, {})
    undisturbed = store.content_digest(order.model)
    shutil.rmtree(order.work)

    killed: list[int] = []
    killer = threading.Thread(target=kill_after_first_checkpoint, args=(order, killed))
    killer.start()
    ray.run([order], params.train, root, {})
    killer.join()
    entry = Ledger.of(order).read()
    assert killed, "nothing was killed, so nothing was tested"
    assert entry["attempts"] == 2
    assert 0 < entry["resumed_at_step"] < entry["step"]
    assert store.content_digest(order.model) == undisturbed

    client = tracking.client(root)
    run = tracking.run(client, root, name, order.fingerprint, order.job.model_dump())
    run.log_history(entry["history"])
    steps = [metric.step for metric in client.get_metric_history(run.run_id, "train/loss")]
    assert steps == list(range(1, order.job.epochs + 1))
