"""Write a trained model as a file that runs without convline and torch.

--out gets model.onnx, model.json, which describes it, and run.py, which runs it by onnxruntime on image files. Images
are given as pixels 0..255: normalization is inside. The file is kept only if its answers are those of the model, and
of its stored evaluation, on 32 test images. A model with an operation that the format lacks is refused.
"""

import dataclasses
import logging
from pathlib import Path
from typing import Annotated

import typer

from convline import names
from convline.frame import Json
from pipeline.terminal import json_line, output

log = logging.getLogger(__name__)


def command(
    job: Annotated[str, typer.Argument(metavar="JOB", help="A trained job.", autocompletion=names.jobs)],
    out: Annotated[Path, typer.Option(metavar="DIR", help="A new or empty folder for the files.")],
    format: Annotated[str, typer.Option(metavar="FORMAT", help="The file's format: onnx.")] = "onnx",
    json: Json = False,
) -> int:
    """Export the model."""
    from convline import version
    from pipeline.export import make

    made = make.export(Path.cwd(), job, out, version.text(), format)
    if json:
        output(json_line({**dataclasses.asdict(made), "out": str(made.out)}))
        return 0
    rows = f"; {made.rows[0]} of {made.rows[1]} rows agree with evaluate's" if made.rows else ""
    log.info(f"{job}: answers on {made.images} test images differ by at most {made.difference:.1g}{rows}")
    threads = "1 thread" if made.threads == 1 else f"{made.threads} threads"
    output(
        f"latency per image, batch 1, {threads}: {format} {made.latency_ms:.2f} ms, "
        f"PyTorch {made.torch_latency_ms:.2f} ms"
    )
    log.info(f"{made.out}: model.onnx, model.json and run.py; `python {made.out / 'run.py'} IMAGE` runs it")
    return 0
