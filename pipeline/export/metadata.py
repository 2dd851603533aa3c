"""What an exported file says of itself: classes, how images become its input, and which training it is of."""

from collections.abc import Mapping
from typing import Any

from pipeline.export.graph import Graph, Port
from pipeline.params import Params
from pipeline.store import canonical

#: settings of the learner that an exported model does without
OMITTED = ("class_counts",)


def describe(name: str, description: Mapping[str, Any], graph: Graph, params: Params, version: str) -> dict[str, Any]:
    """The values of model.json, which stand inside the exported file as well.

    Args:
        name: of the job.
        description: of its model.
        graph: what is exported.
        params: of the project.
        version: convline's.
    """
    settings = {key: value for key, value in description["settings"].items() if key not in OMITTED}
    return {
        "job": name,
        "task": description["task"],
        "architecture": description["architecture"],
        "fingerprint": description.get("fingerprint"),
        "best_epoch": description.get("best_epoch"),
        **settings,
        **graph.about,
        "normalization": "inside: pixels / 255, then mean and std" if "images" in _names(graph.inputs) else "none",
        "batch": "any" if graph.any_batch else 1,
        "inputs": _names(graph.inputs),
        "outputs": _names(graph.outputs),
        "licence": licence(name, params),
        "convline": version,
    }


def _names(ports: tuple[Port, ...]) -> dict[str, str]:
    return {port.name: port.about for port in ports}


def licence(name: str, params: Params) -> str:
    """Whose licence binds the weights: a job may start from another one's, and that one from published weights."""
    start = params.jobs[name].pretrained
    while start is not None and start.job is not None:
        start = params.jobs[start.job].pretrained
    if start is None:
        return "own: trained from your images alone"
    return f"that of the weights it started from: {start.weights or start.file}"


def texts(values: Mapping[str, Any]) -> dict[str, str]:
    """The values as texts: numbers and lists as JSON."""
    return {key: value if isinstance(value, str) else canonical(value).decode() for key, value in values.items()}
