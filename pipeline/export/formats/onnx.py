"""ONNX: one file with the network and its weights, which onnxruntime and many other programs run.

torch has two exporters. The first, `dynamo`, follows the program and is tried first. The second records one run of it:
it also takes detectors, whose number of boxes depends on the image. What a recording may have fixed that depends on the
image is seen when answers are compared.
"""

import contextlib
import io
import logging
import re
import warnings
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from numpy.typing import NDArray
from torch import Tensor

from pipeline.errors import UserError
from pipeline.export.graph import Graph

FILE = "model.onnx"
LIBRARIES = ("onnx", "onnxruntime", "onnxscript")
RUNNER = """
session = onnxruntime.InferenceSession(HERE / "model.onnx")


def run(inputs):
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, inputs)))
"""
#: of the operators; onnxruntime has it since 1.14
OPSET = 18
#: how errors of both exporters name an operation, the most precise first
OPERATIONS = (
    re.compile(r"torch\.ops\.([\w.]+)"),
    re.compile(r"operator '([\w:]+)'"),
    re.compile(r"\b((?:aten|prims|torchvision|quantized)(?:::|\.)\w+(?:\.\w+)?)"),
    re.compile(r"\b([A-Za-z_]\w*::\w+)"),
)


def write(graph: Graph, given: tuple[Tensor, ...], path: Path, metadata: Mapping[str, str]) -> None:
    """Write the file by the first exporter that can; UserError with the operation that stops both."""
    errors = []
    for export in (_by_program, _by_recording):
        try:
            with _silent():
                export(graph, given, path)
        except Exception as error:  # both exporters raise anything
            errors.append(error)
            path.unlink(missing_ok=True)
        else:
            _add_metadata(path, metadata)
            return
    raise UserError(_reason(errors)) from errors[0]


def _by_program(graph: Graph, given: tuple[Tensor, ...], path: Path) -> None:
    import torch

    batch = torch.export.Dim("batch")
    shapes = tuple({0: batch} if graph.any_batch else {} for _ in given)
    torch.onnx.export(
        graph, given, str(path), **_names(graph), dynamo=True, dynamic_shapes=shapes, external_data=False, verbose=False
    )


def _by_recording(graph: Graph, given: tuple[Tensor, ...], path: Path) -> None:
    import torch

    ports = (*graph.inputs, *graph.outputs) if graph.any_batch else graph.outputs
    axes = {port.name: {0: "batch" if graph.any_batch else "objects"} for port in ports}
    torch.onnx.export(graph, given, str(path), **_names(graph), dynamo=False, dynamic_axes=axes)


def _names(graph: Graph) -> dict[str, Any]:
    return {
        "input_names": [port.name for port in graph.inputs],
        "output_names": [port.name for port in graph.outputs],
        "opset_version": OPSET,
    }


@contextlib.contextmanager
def _silent() -> Iterator[None]:
    """Keep from the terminal what exporters report: progress, and warnings for who wrote the network."""
    import torch

    before = logging.root.manager.disable
    logging.disable(logging.ERROR)
    try:
        with (
            warnings.catch_warnings(),
            contextlib.redirect_stdout(io.StringIO()),
            contextlib.redirect_stderr(io.StringIO()),
            torch.no_grad(),
        ):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)


def _reason(errors: list[Exception]) -> str:
    """`the operation aten.frac.default`, or the first line of an error that names none."""
    texts = [text for error in errors for text in _chain(error)]
    for pattern in OPERATIONS:
        for text in texts:
            if operation := pattern.search(text):
                return f"the operation {operation[1].removesuffix('.default')}"
    return f"torch's exporters, by {type(errors[-1]).__name__}: {' '.join(str(errors[-1]).split())[:200]}"


def _chain(error: BaseException | None) -> Iterator[str]:
    """The texts of an error and its causes, the innermost first."""
    if error is not None:
        yield from _chain(error.__cause__)
        yield str(error)


def _add_metadata(path: Path, metadata: Mapping[str, str]) -> None:
    import onnx

    model = onnx.load(path)
    onnx.helper.set_model_props(model, dict(metadata))
    onnx.save(model, path)


def load(path: Path, threads: int) -> Callable[[Mapping[str, NDArray[Any]]], dict[str, NDArray[Any]]]:
    """A function that runs the file by onnxruntime on the CPU."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = threads, 3
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return lambda inputs: dict(zip(names, session.run(names, dict(inputs)), strict=True))
