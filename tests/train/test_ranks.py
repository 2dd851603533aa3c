"""Two real processes (gloo): equal weights on both, the one-process result, and gradients averaged by phase."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist

from pipeline import store
from pipeline.params import Params
from pipeline.train import loop
from pipeline.train.ledger import Order
from pipeline.train.ranks import Ranks
from tests import support

Project = Callable[..., tuple[Path, Params]]


def _start(rank: int, meeting: str, order: Order, folder: str) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{meeting}", rank=rank, world_size=2)
    ranks = Ranks(rank, 2, (0, 1), dist.new_group([0, 1]))
    weights = []
    trainer = loop.Trainer(order, ranks)
    while not trainer.finished:
        trainer.epoch()
        weights.append({name: value.clone() for name, value in trainer.learner.network.state_dict().items()})
    trainer.finish()
    torch.save(weights, f"{folder}/weights{rank}.pt")
    torch.save(_phases(ranks), f"{folder}/phases{rank}.pt")
    dist.destroy_process_group()


def _phases(ranks: Ranks) -> dict[str, Any]:
    """Gradients of rank + 1 on one phase; the other phase's are left alone."""
    mine, other = (torch.nn.Parameter(torch.zeros(3)) for _ in range(2))
    mine.grad, other.grad = torch.full((3,), ranks.rank + 1.0), torch.full((3,), ranks.rank + 1.0)
    ranks.average_gradients([mine], phases=2)
    return {"mine": mine.grad, "other": other.grad, "shared": ranks.share(ranks.rank), "all": ranks.gather(ranks.rank)}


def test_two_ranks_train_as_one(project: Project, tmp_path: Path) -> None:
    root, params = project({"a": {"epochs": 2, "augmentation": "light", "batch": 50}})
    order = support.orders(root, params)["a"]
    torch.multiprocessing.spawn(  # type: ignore[attr-defined]
        _start, args=(str(tmp_path / "meeting"), order, str(tmp_path)), nprocs=2
    )
    first, second = (torch.load(tmp_path / f"weights{rank}.pt") for rank in range(2))
    for ours, theirs in zip(first, second, strict=True):
        assert all(torch.equal(ours[name], theirs[name]) for name in ours)

    alone = loop.Trainer(Order(**{**order.__dict__, "work": tmp_path / "alone"}), Ranks())
    for epoch in range(2):
        alone.epoch()
        for name, value in alone.learner.network.state_dict().items():
            assert torch.allclose(first[epoch][name], value, atol=1e-5), f"{name} in epoch {epoch}"
    assert store.holds(order.model, order.fingerprint)

    parts = [torch.load(tmp_path / f"phases{rank}.pt") for rank in range(2)]
    for rank, part in enumerate(parts):
        assert part["mine"].tolist() == [1.5, 1.5, 1.5]
        assert part["other"].tolist() == [rank + 1.0] * 3
        assert part["shared"] == 0
        assert part["all"] == [0, 1]


def test_alone_every_operation_is_the_identity() -> None:
    ranks, module = Ranks(), torch.nn.Linear(1, 1)
    assert ranks.parallel(module, 1) is module
    assert ranks.gather(3) == [3]
    assert ranks.share("x") == "x"
    assert ranks.sum(torch.ones(2)).tolist() == [1.0, 1.0]


@pytest.mark.parametrize("phases", [1, 2])
def test_alone_gradients_stay(phases: int) -> None:
    parameter = torch.nn.Parameter(torch.zeros(2))
    parameter.grad = torch.ones(2)
    Ranks().average_gradients([parameter], phases)
    assert parameter.grad.tolist() == [1.0, 1.0]
