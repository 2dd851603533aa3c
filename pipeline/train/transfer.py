"""What learns, from when and how fast, where a network starts from weights that know something already.

Frozen modules keep every bit: their parameters get no gradient and their batch normalisation no new statistics.
Gradual unfreezing and rates that fall with the distance from the head: Howard and Ruder: Universal Language Model
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
    """Whether a parameter or module rests in an epoch, counted from 0; of nested settings the innermost decides."""
    known = {**dict.fromkeys(job.freeze, job.epochs), **job.unfreeze}
    around = [place for place in known if f"{name}.".startswith(f"{place}.")]
    return bool(around) and epoch < known[max(around, key=len)]


def freeze(network: nn.Module, learned: Iterable[nn.Parameter], job: Job, epoch: int) -> bool:
    """Let rest what rests in this epoch, and the remainder of `learned` learn; whether that differs from before.

    For a network in training mode, which it partly takes back.
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
    """By what each parameter's learning rate is multiplied: 1 for the head, `layer_decay` less a stage further away.

    What comes before the first stage goes with it; a stage without parameters is no step.
    """
    if job.layer_decay is None:
        return {}
    place, stages = _stages(network)
    at = {name: number for number, (name, _) in enumerate(network.named_modules())}
    ends = [max(at[name] for name in at if f"{name}.".startswith(f"{place}{stage}.")) for stage in stages]
    depth = {}
    for name, parameter in network.named_parameters():
        inside = name.startswith(place)  # what lies beside the backbone is head
        depth[parameter] = sum(at[name.rpartition(".")[0]] > end for end in ends) if inside else len(ends)
    steps = sorted(set(depth.values()), reverse=True)
    first = 0 if steps[0] == len(ends) else 1  # nothing behind the last stage: it is not the head
    return {parameter: job.layer_decay ** (first + steps.index(value)) for parameter, value in depth.items()}


def _stages(network: nn.Module) -> tuple[str, Sequence[str]]:
    """Where the stages of the network, or of its backbone, are: what their names begin with, and these."""
    for name, module in network.named_modules():
        if stages := anatomy(module).stages:
            return f"{name}." if name else "", stages
    raise UserError("layer_decay: the architecture has no STAGES, nor a backbone that has. Leave it out.")


def check(job: Job, learner: Learner) -> None:
    """UserError where a setting names no module, leaves nothing to learn, or meets a network that can't follow it."""
    if not (job.freeze or job.unfreeze or job.layer_decay is not None):
        return
    network, phases = learner.network, learner.phases
    known = [name for name, module in network.named_modules() if name and any(True for _ in module.parameters())]
    for setting, names in (("freeze", job.freeze), ("unfreeze", list(job.unfreeze))):
        for name in names:
            if name not in known:
                raise UserError(f"{setting}: {_unknown(name, known)}")
    if len(phases) > 1 and (job.freeze or job.unfreeze):
        raise UserError(f"freeze: {job.architecture} learns in turns, of which none can rest. Leave it out.")
    if all(frozen(name, job, 0) for name, parameter in network.named_parameters() if parameter.requires_grad):
        raise UserError("freeze: nothing is left that learns in the first epoch. Leave out the head.")
    scales(network, job)


def _unknown(name: str, known: list[str]) -> str:
    """Near names and the outermost; all of them would be hundreds."""
    outer = [other for other in known if "." not in other]
    near = difflib.get_close_matches(name, known, n=1)
    hint = f"; did you mean {near[0]!r}?" if near else "."
    return f"no module with parameters is named {name!r}{hint} The outermost are: {', '.join(outer)}."
