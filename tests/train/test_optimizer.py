"""The rate against torch's own schedulers, the average against its definition."""

import pytest
import torch
from torch import nn
from torch.optim import lr_scheduler

from pipeline.params import Job
from pipeline.train import optimizer

STEPS, EPOCHS = 7, 6


def job(**settings: object) -> Job:
    base = {"task": "classification", "architecture": "linear", "dataset": "digits", "lr": 0.1, "epochs": EPOCHS}
    return Job.model_validate({**base, **settings})


def reference(name: str, descent: torch.optim.Optimizer) -> lr_scheduler.LRScheduler:
    if name == "cosine":
        return lr_scheduler.CosineAnnealingLR(descent, STEPS * EPOCHS)
    if name == "step":
        return lr_scheduler.MultiStepLR(descent, [2 * STEPS, 4 * STEPS], gamma=0.1)
    if name == "poly":
        return lr_scheduler.PolynomialLR(descent, STEPS * EPOCHS, power=0.9)
    return lr_scheduler.ConstantLR(descent, factor=1.0)


@pytest.mark.parametrize("name", ["constant", "cosine", "step", "poly"])
def test_rate_is_the_library_schedule(name: str) -> None:
    settings = job(schedule=name, milestones=[2, 4])
    descent = torch.optim.SGD([nn.Parameter(torch.zeros(1))], 0.1)
    scheduler = reference(name, descent)
    for step in range(STEPS * EPOCHS):
        assert optimizer.rate(step, STEPS, settings) == pytest.approx(descent.param_groups[0]["lr"], abs=1e-12)
        descent.step()
        scheduler.step()


def test_warmup_rises_evenly_to_the_full_rate() -> None:
    settings = job(schedule="constant", warmup=1)
    rates = [optimizer.rate(step, 4, settings) for step in range(6)]
    assert rates == pytest.approx([0.02, 0.04, 0.06, 0.08, 0.1, 0.1])


def test_warmup_then_cosine_ends_near_zero() -> None:
    settings = job(schedule="cosine", warmup=1)
    rates = [optimizer.rate(step, STEPS, settings) for step in range(STEPS * EPOCHS)]
    assert max(rates) == pytest.approx(0.1)
    assert rates.index(max(rates)) == STEPS
    assert rates[-1] < 0.001


def test_average_follows_its_definition() -> None:
    network = nn.Linear(1, 1, bias=False)
    average = optimizer.average(network, job(ema=0.75))
    assert average is not None
    expected = None
    for value in (1.0, 2.0, 4.0):
        nn.init.constant_(network.weight, value)
        average.update_parameters(network)
        expected = value if expected is None else 0.75 * expected + 0.25 * value
    assert next(average.module.parameters()).item() == pytest.approx(expected)


def test_no_average_unless_asked() -> None:
    assert optimizer.average(nn.Linear(1, 1), job()) is None


@pytest.mark.parametrize(("name", "kind"), [("sgd", torch.optim.SGD), ("adamw", torch.optim.AdamW)])
def test_optimizer_takes_the_settings(name: str, kind: type) -> None:
    built = optimizer.build([nn.Parameter(torch.zeros(1))], job(optimizer=name, weight_decay=0.3, momentum=0.8))
    assert isinstance(built, kind)
    assert built.param_groups[0]["weight_decay"] == 0.3
    assert 0.8 in (built.param_groups[0].get("momentum"), built.param_groups[0].get("betas", [0])[0])
