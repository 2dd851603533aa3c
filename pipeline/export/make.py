"""Exports a job's model: written, compared with the model on test images, and only then kept."""

import logging
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow.parquet as pq
import torch
from torch import Tensor

from pipeline import checkpoint, images, params, plugins, shards, store
from pipeline.augment.fit import restore
from pipeline.errors import UserError
from pipeline.evaluate.predict import BatchPredictor, Input
from pipeline.export import comparison, formats, graph, metadata
from pipeline.sample import Sample

if TYPE_CHECKING:
    from pipeline.export.formats import Format, Run

log = logging.getLogger(__name__)

#: test images on which answers are compared, and those of a batch
IMAGES, BATCH = 32, 8
#: images of the example by which a graph of any batch is followed
EXAMPLE = 2
#: runs whose median is the latency, after some that warm up
RUNS, WARM_UP = 20, 3
SCRIPTS = Path(__file__).parent / "scripts"


@dataclass(frozen=True, slots=True)
class Export:
    """What was exported: the folder, the largest difference of its answers, and milliseconds per image.

    rows: how many rows of how many agree with evaluate's; None where there are none to compare with.
    """

    out: Path
    images: int
    difference: float
    rows: tuple[int, int] | None
    latency_ms: float
    torch_latency_ms: float
    threads: int


def export(root: Path, name: str, out: Path, version: str, format_name: str = "onnx") -> Export:
    """Write a job's model, its description and a script that runs it into the folder `out`, which must be new or empty.

    Raises:
        UserError: there is no such model; it can't be exported, with the operation that stops it; or its answers
            differ. Nothing is left behind.
    """
    to = formats.load(format_name)
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UserError(f"--out: {out} is not an empty folder, and its files would be overwritten. Name another.")
    folder, settings = _model_folder(root, name), params.read(root / params.FILE)
    if name not in settings.jobs:
        raise UserError(f"{name}: it is no job of {params.FILE}, which says on whose test images answers are compared.")
    learner, description = checkpoint.load(folder)
    model = graph.of(learner, name)
    predictor = BatchPredictor(learner, description["task"])
    samples = _test_samples(root / "data/prepared" / settings.jobs[name].dataset)
    inputs = [predictor.load(item) for item in samples]
    pixels, _ = plugins.load("tasks", description["task"]).collate([item.sample for item in inputs], learner.settings)
    example = model.given(pixels[:1].expand(EXAMPLE, -1, -1, -1).clone() if model.any_batch else pixels[:1])
    values = metadata.describe(name, description, model, settings, version)
    out.parent.mkdir(parents=True, exist_ok=True)
    with store.temporary(out) as made:
        try:
            to.write(model, example, made / to.FILE, metadata.texts(values))
        except UserError as error:
            raise UserError(f"{name}: {error} stops its export as {format_name}. Nothing was written.") from error
        threads = torch.get_num_threads()
        run = to.load(made / to.FILE, threads)
        checked = _check(root, name, description["task"], model, run, pixels, inputs, samples)
        latency, torch_latency = _latencies(model, run, model.given(pixels[:1]))
        store.write_json(made / "model.json", values)
        script = "noise" if "noise" in values["inputs"] else "images"
        store.write_bytes(made / "run.py", _script(script, to).encode())
        made.chmod(0o755)
        store.replace(made, out)
    return Export(out, len(samples), *checked, latency, torch_latency, threads)


def _model_folder(root: Path, name: str) -> Path:
    folder = root / "models" / name
    if not folder.is_dir():
        names = [path.name for path in (root / "models").glob("*") if path.is_dir()]
        raise UserError(f"{plugins.unknown('trained job', name, names)} `convline run {name}` trains it.")
    store.verify(folder)
    return folder


def _test_samples(prepared: Path) -> list[Sample]:
    """Some test images, evenly spread."""
    stored = shards.split(prepared, "test")
    if not len(stored):
        raise UserError(f"{prepared}: no test images, on which answers are compared. Run `make repro`, or `dvc pull`.")
    return [stored[int(index)] for index in images.spread(len(stored), min(IMAGES, len(stored)))]


def _check(
    root: Path,
    name: str,
    task_name: str,
    model: graph.Graph,
    run: "Run",
    pixels: Tensor,
    inputs: list[Input],
    samples: list[Sample],
) -> tuple[float, tuple[int, int] | None]:
    """The largest difference between the file's answers and the model's, and how many rows agree with evaluate's."""
    largest, predictions = 0.0, list[Any]()
    for batch in pixels.split(BATCH if model.any_batch else 1):
        given = model.given(batch)
        with torch.inference_mode():
            ours = {port.name: value.numpy() for port, value in zip(model.outputs, model(*given), strict=True)}
        theirs = run(_by_name(model, given))
        largest = max(largest, comparison.difference(ours, theirs, unordered=model.unordered))
        predictions += model.predictions(theirs)
    if largest > comparison.TOLERANCE:
        raise UserError(
            f"{name}: the exported file's answers differ from the model's by up to {largest:.2g} of an output's "
            f"largest value, which is more than {comparison.TOLERANCE:g}. It is not kept; ask the model itself."
        )
    task = plugins.load("tasks", task_name)
    stored = _stored_rows(root, name) if model.has_rows else {}
    pairs = []
    for item, given_input, prediction in zip(samples, inputs, predictions, strict=True):
        if item.id in stored:
            restored = restore(task, prediction, given_input.placement)
            pairs.append((task.rows(item, restored), stored[item.id]))
    if not pairs:
        return largest, None
    agree, farthest = comparison.agreeing(*zip(*pairs, strict=True))
    if agree < comparison.ROWS_AGREE * len(pairs):
        raise UserError(
            f"{name}: only {agree} of {len(pairs)} rows of the exported file's answers agree with those that evaluate "
            f"stored; the largest difference is {farthest:.2g}. It is not kept; run `convline run {name}` to evaluate "
            "the model again."
        )
    return largest, (agree, len(pairs))


def _stored_rows(root: Path, name: str) -> dict[str, dict[str, Any]]:
    """evaluate's rows of the test images by id, if they are of this very model."""
    folder = root / "evaluations" / name
    protocol = store.read_json(folder / "protocol.json", {})
    if protocol.get("model") != store.content_digest(root / "models" / name):
        log.info(f"{name}: evaluate has no rows of this model, so answers are compared with the model's alone")
        return {}
    return {row["id"]: row for row in pq.read_table(folder / "test.parquet").to_pylist()}


def _by_name(model: graph.Graph, given: tuple[Tensor, ...]) -> graph.Arrays:
    return {port.name: value.numpy() for port, value in zip(model.inputs, given, strict=True)}


def _latencies(model: graph.Graph, run: "Run", given: tuple[Tensor, ...]) -> tuple[float, float]:
    """Milliseconds for one image, by the file and by the model."""
    arrays = _by_name(model, given)
    with torch.inference_mode():
        return _median_ms(lambda: run(arrays)), _median_ms(lambda: model(*given))


def _median_ms(call: Callable[[], Any]) -> float:
    times = []
    for _ in range(WARM_UP + RUNS):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return 1000 * statistics.median(times[WARM_UP:])


def _script(name: str, to: "Format") -> str:
    text = (SCRIPTS / f"{name}.py.txt").read_text(encoding="utf-8")
    return text.replace("# RUNNER\n", to.RUNNER.strip("\n") + "\n")
