"""Transfer learning: frozen modules, gradual unfreezing, and layer-wise learning-rate decay.

Frozen modules do not change: their parameters get no gradient and their batch normalisation no new statistics.
Gradual unfreezing and learning-rate decay per level: Howard and Ruder: Universal Language Model
Fine-tuning for Text Classification, ACL 2018, https://arxiv.org/abs/1801.06146.
"""

import difflib
from collections.abc import Iterable, Sequence

from torch import nn

from pipeline.errors import UserError
from pipeline.learners.base import Learner
from pipeline.models.parts.spec import anatomy
from pipeline.params import Job


def frozen(name: str, job: Job, epoch: int) -> bool:
    """Whether a parameter or module is frozen in an epoch, counted from 0; of nested settings the innermost decides."""
    unfrozen_at = {**dict.fromkeys(job.freeze, job.epochs), **job.unfreeze}
    parents = [module for module in unfrozen_at if f"{name}.".startswith(f"{module}.")]
    return bool(parents) and epoch < unfrozen_at[max(parents, key=len)]


def freeze(network: nn.Module, learned: Iterable[nn.Parameter], job: Job, epoch: int) -> bool:
    """Apply freeze/unfreeze for this epoch to `learned`; whether the set of trainable parameters changed.

    The network must be in training mode; frozen batch normalisation is set to evaluation mode.
    """
    if not job.freeze and not job.unfreeze:
        return False
    wanted, changed = {id(parameter) for parameter in learned}, False
    for name, parameter in network.named_parameters():
        learns = id(parameter) in wanted and not frozen(name, job, epoch)
        changed |= parameter.requires_grad != learns
        parameter.requires_grad_(learns)
    for name, module in network.named_modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d) and frozen(name, job, epoch):
            module.eval()
    return changed


def scales(network: nn.Module, job: Job) -> dict[nn.Parameter, float]:
    """Layer-wise learning-rate decay: a factor per parameter, 1 for the head, times `layer_decay` per level.

    The stem uses the factor of the first level; levels without parameters do not count.
    """
    if job.layer_decay is None:
        return {}
    prefix, levels = _levels(network)
    order = {name: number for number, (name, _) in enumerate(network.named_modules())}
    ends = [max(order[name] for name in order if f"{name}.".startswith(f"{prefix}{level}.")) for level in levels]
    depth = {}
    for name, parameter in network.named_parameters():
        inside = name.startswith(prefix)  # modules outside the backbone belong to the head
        depth[parameter] = sum(order[name.rpartition(".")[0]] > end for end in ends) if inside else len(ends)
    steps = sorted(set(depth.values()), reverse=True)
    first = 0 if steps[0] == len(ends) else 1  # no parameters after the last level: there is no head
    return {parameter: job.layer_decay ** (first + steps.index(value)) for parameter, value in depth.items()}


def _levels(network: nn.Module) -> tuple[str, Sequence[str]]:
    """The levels of the network or of its backbone, and the prefix of their names."""
    for name, module in network.named_modules():
        if levels := anatomy(module).levels:
            return f"{name}." if name else "", levels
    raise UserError("layer_decay: neither the architecture nor its backbone declares LEVELS. Remove it.")


def check(job: Job, learner: Learner) -> None:
    """UserError if a setting names no module, freezes all parameters, or is not supported by the network."""
    if not (job.freeze or job.unfreeze or job.layer_decay is not None):
        return
    network, phases = learner.network, learner.phases
    module_names = [name for name, module in network.named_modules() if name and any(True for _ in module.parameters())]
    for setting, names in (("freeze", job.freeze), ("unfreeze", list(job.unfreeze))):
        for name in names:
            if name not in module_names:
                raise UserError(f"{setting}: {_unknown(name, module_names)}")
    if len(phases) > 1 and (job.freeze or job.unfreeze):
        raise UserError(f"freeze: {job.architecture} trains two networks in turn; freeze is not supported. Remove it.")
    if all(frozen(name, job, 0) for name, parameter in network.named_parameters() if parameter.requires_grad):
        raise UserError("freeze: no parameter is left to train in the first epoch. Do not freeze the head.")
    scales(network, job)


def _unknown(name: str, module_names: list[str]) -> str:
    """Name similar modules and the outermost ones; there may be hundreds."""
    outer = [other for other in module_names if "." not in other]
    near = difflib.get_close_matches(name, module_names, n=1)
    hint = f"; did you mean {near[0]!r}?" if near else "."
    return f"no module with parameters is named {name!r}{hint} The outermost are: {', '.join(outer)}."
