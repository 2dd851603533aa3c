"""A step of the train loop: the losses of a batch, their gradients, and what the optimisers make of them."""

import contextlib
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from pipeline.learners.base import Learner
from pipeline.train import optimizer, transfer
from pipeline.train.finite import Finite
from pipeline.train.job_state import JobSpec
from pipeline.train.parts import split
from pipeline.train.ranks import Ranks

#: steps of a job from which on `compile: auto` compiles, since that takes a minute or so
COMPILE_STEPS = 5000
#: where the errors of torch.compile come from
COMPILERS = ("torch._dynamo", "torch._inductor")


class JobFailedError(Exception):
    """This job can't be trained with its settings; another attempt would fail, too."""


class Stepper:
    """The learner of one job on one rank, with its phases, optimisers, and the average of its weights."""

    def __init__(self, job_spec: JobSpec, ranks: Ranks, learner: Learner, steps_per_epoch: int, parts: int = 1) -> None:
        self.name, self.job, self.ranks, self.learner = job_spec.name, job_spec.job, ranks, learner
        self.parts = parts
        self.steps_per_epoch = steps_per_epoch
        self.cuda = ranks.device.startswith("cuda")
        self.finite = Finite(ranks)
        self.phases = learner.phases
        if self.job.epochs and not self.phases:
            raise JobFailedError(
                f"{self.job.architecture} has no parameters to train by gradient. Set jobs.{self.name}.epochs: 0."
            )
        scales = transfer.scales(learner.network, self.job)
        self.optimizers = {
            phase.name: optimizer.build(phase.parameters, self.job, scales, fused=self.cuda) for phase in self.phases
        }

    def begin(self) -> None:
        """Take the weights that the training begins with: average them, and share them with the other ranks."""
        self.average = optimizer.average(self.learner.network, self.job)
        if self.compiles:
            self.learner.network.compile()  # in place: names of weights stay
        self.parallel = self.ranks.parallel(self.learner, len(self.phases))

    def apply_freeze(self, epoch: int) -> None:
        """Apply freeze/unfreeze for this epoch; re-wrap DDP if the set of trainable parameters changed."""
        learned = [parameter for phase in self.phases for parameter in phase.parameters]
        if transfer.freeze(self.learner.network, learned, self.job, epoch):
            self.parallel = self.ranks.parallel(self.learner, len(self.phases))

    @property
    def compiles(self) -> bool:
        """Whether torch compiles the network: `auto` on CUDA, where shapes are fixed and the steps are many."""
        if self.job.compile == "auto":
            return self.cuda and self.learner.fixed_shapes and self.job.epochs * self.steps_per_epoch >= COMPILE_STEPS
        return self.job.compile

    def explain(self, error: Exception) -> None:
        """JobFailedError where an error follows from a loss that was not finite, or from `compile`."""
        self.check_finite(alone=True)
        if self.compiles and type(error).__module__.startswith(COMPILERS):
            reason = f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
            remedy = f"Set jobs.{self.name}.compile: false."
            raise JobFailedError(f"torch can't compile the network ({reason}). {remedy}") from error

    @property
    def lr(self) -> float:
        """The learning rate of the last step, in the first group of parameters of the first phase."""
        return float(self.optimizers[self.phases[0].name].param_groups[0]["lr"])

    def take(self, batch: tuple[Tensor, Any], weight: float, step: int) -> dict[str, Tensor]:
        """Take a step, counted from 0; returns its losses by name, `loss` being their sum.

        weight: of this rank's mean loss, so that the mean over ranks is that over the whole batch.
        """
        images, targets = batch
        if self.cuda:
            images = images.contiguous(memory_format=torch.channels_last)
        lr = optimizer.rate(step, self.steps_per_epoch, self.job)
        all_losses: dict[str, Tensor] = {}
        for phase in self.phases:
            if step % phase.every:
                continue
            for parameter in phase.parameters:
                parameter.grad = None
            losses = self._backward((images, targets), phase.name, weight, step)
            if self.finite.due(step):
                self.check_finite()
            self.ranks.average_gradients(phase.parameters, len(self.phases))
            if self.job.clip is not None:
                torch.nn.utils.clip_grad_norm_(phase.parameters, self.job.clip)
            optimizer.set_rate(self.optimizers[phase.name], lr)
            self.optimizers[phase.name].step()
            all_losses |= losses
        if self.average is not None:
            self.average.update_parameters(self.learner.network)
        return {"loss": torch.stack(list(all_losses.values())).sum(), **(all_losses if len(all_losses) > 1 else {})}

    def _backward(self, batch: tuple[Tensor, Any], phase: str, weight: float, step: int) -> dict[str, Tensor]:
        """Accumulate the gradients of a batch, part by part; returns its mean losses by name."""
        totals: dict[str, Tensor] = {}
        pieces = [*split(batch, self.parts)]
        for number, ((images, targets), fraction) in enumerate(pieces, 1):
            with self._not_averaged() if number < len(pieces) else contextlib.nullcontext():
                with self.autocast():
                    losses = self.parallel(images, targets, phase)
                loss = torch.stack(list(losses.values())).sum()
                self.finite.note(loss, step)
                (loss * (weight * fraction)).backward()
            for name, value in losses.items():
                summand = value.detach() * fraction
                totals[name] = totals[name] + summand if name in totals else summand
        return totals

    def _not_averaged(self) -> contextlib.AbstractContextManager[Any]:
        """Around all parts of a batch but the last, with which DDP averages the accumulated gradients."""
        wrapped: Any = self.parallel
        return wrapped.no_sync() if hasattr(wrapped, "no_sync") else contextlib.nullcontext()

    def autocast(self) -> contextlib.AbstractContextManager[Any]:
        """Around what a network computes: bfloat16 on CUDA, unless the job asks for float32."""
        if self.cuda and self.job.precision == "auto":
            return torch.autocast("cuda", dtype=torch.bfloat16)
        return contextlib.nullcontext()

    @contextlib.contextmanager
    def fast_arithmetic(self) -> Iterator[None]:
        """On CUDA, while the block runs: TF32 unless the job asks for float32, the fastest kernels for fixed shapes."""
        if not self.cuda:
            yield
            return
        precision, benchmark = torch.get_float32_matmul_precision(), torch.backends.cudnn.benchmark
        torch.set_float32_matmul_precision("high" if self.job.precision == "auto" else "highest")
        torch.backends.cudnn.benchmark = self.learner.fixed_shapes
        try:
            yield
        finally:
            torch.set_float32_matmul_precision(precision)
            torch.backends.cudnn.benchmark = benchmark

    def check_finite(self, *, alone: bool = False) -> None:
        """JobFailedError if a loss was not finite; `alone`: on this rank, while others may be elsewhere."""
        step = self.finite.failed_step_here() if alone else self.finite.failed_step()
        if step is not None:
            epoch = step // self.steps_per_epoch + 1
            raise JobFailedError(
                f"the loss is not finite at step {step} (epoch {epoch}). Lower jobs.{self.name}.lr, "
                "add warmup, or set clip: 1.0."
            )

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint keeps of it beside the learner."""
        return {
            "optimizers": {name: item.state_dict() for name, item in self.optimizers.items()},
            "average": None if self.average is None else self.average.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a checkpoint."""
        for name, item in self.optimizers.items():
            item.load_state_dict(state["optimizers"][name])
        if self.average is not None:
            self.average.load_state_dict(state["average"])
