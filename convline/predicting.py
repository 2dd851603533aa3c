"""Predictions of a trained model on image files, which are prepared as in `evaluate`: what `convline predict` does.

An image is read upright and as RGB, scaled to the dataset's `max_side`, and fitted to the network's input, as prepare
and evaluate do. Answers are those of the task's served models; boxes and masks are in pixels of the image.
"""

import hashlib
import logging
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, TextIO

import numpy as np
from numpy.typing import NDArray

from pipeline import checkpoint, device, images, plugins, registered, store
from pipeline.errors import UserError
from pipeline.evaluate.predict import BatchPredictor, in_batches, predictor
from pipeline.learners.base import Settings
from pipeline.sample import Sample
from pipeline.terminal import escape, json_line

log = logging.getLogger(__name__)

ANSWERS = "predictions.jsonl"
#: bytes of a picture's name: file systems allow 255, and the temporary name is ten longer
MAX_NAME = 240
#: an image's name, and the image or the reason why it can't be read
NamedImages = Iterator[tuple[str, Sample | images.ImageError]]


def predict(
    root: Path, model: str, paths: Sequence[Path] = (), *, out: Path | None = None, number: int = 16, seed: int = 0
) -> bool:
    """Answer every image by a JSON line on standard output, or into the folder `out`; whether all could be read."""
    folder = model_folder(root, model)
    files = image_files(paths) if paths else None
    store.verify(folder)
    chosen = device.choose()
    learner, description = checkpoint.load(folder, chosen)
    task = plugins.load("tasks", description["task"])
    if files is None and task.NEEDS:
        raise UserError(f"{model}: a model for {description['task']} needs images. Name some.")
    reading = images.Reading(learner.settings.bits, learner.settings.first_page)
    if files is None:
        inputs = noise_images(number, seed, learner.settings)
    else:
        inputs = ((name, _decoded(file, reading)) for name, file in files)
    ask = predictor(learner, description["task"])
    lines = _open_answers(out)
    total = failed = undrawn = 0
    for name, item, prediction in _predicted(ask, inputs):
        total += 1
        if isinstance(item, images.ImageError):
            failed += 1
            log.warning(escape(f"{name}: {item}"))
            _write(lines, {"image": name, "error": str(item)})
            continue
        answer = {"image": name, **task.answer(item, prediction, learner.settings)}
        if out is not None:
            drawn = task.draw(Sample(item.id, item.image), prediction, learner.settings)
            picture = _write_picture(out, name, drawn)
            answer |= picture
            undrawn += "picture_error" in picture
        _write(lines, answer)
    if out is not None:
        lines.close()
        pictures = f"a picture of {total - failed - undrawn}" if undrawn else "a picture each"
        answered = f"{total - failed} of {total} images answered by {model} on {device.title(chosen)}"
        log.info(f"{answered}: {out / ANSWERS} and {pictures}")
    return not failed and not undrawn


def _predicted(ask: BatchPredictor, inputs: NamedImages) -> Iterator[tuple[str, Sample | images.ImageError, Any]]:
    """Images in their order, each with its prediction, which is made in batches; None for what can't be read."""
    for batch in in_batches(inputs, _pixels):
        readable = [item for _, item in batch if isinstance(item, Sample)]
        predictions = iter(ask(readable) if readable else ())
        for name, item in batch:
            yield name, item, next(predictions) if isinstance(item, Sample) else None


def _pixels(named: tuple[str, Sample | images.ImageError]) -> int:
    _, item = named
    return int(item.pixels[..., 0].size) if isinstance(item, Sample) else 0


def model_folder(root: Path, name: str) -> Path:
    """The folder of a job's model, or of a registered model's champion, also of jobs that left the roster."""
    job_folder, entries = root / "models" / name, registered.entries(root)
    if job_folder.is_dir():
        return job_folder
    fingerprints = registered.jobs(root)
    if name in entries:
        holder = entries[name]["champion"]
        if holder is None:
            raise UserError(f"{name} has no champion: {entries[name]['decision']['text']}. Name one of its jobs.")
        job, fingerprint = holder["job"], holder["fingerprint"]
        what = f"the champion of {name}, {job},"
        if not fingerprint:
            raise UserError(f"{what} is no model of this project: {entries[name]['decision']['text']}.")
    elif name in fingerprints:
        job, fingerprint, what = name, fingerprints[name], f"the registered model of {name}"
    else:
        names = {path.name for path in (root / "models").glob("*") if path.is_dir()} | set(entries) | set(fingerprints)
        raise UserError(f"{plugins.unknown('model', name, names)} `make repro` trains the roster.")
    folder = registered.folder(root, job, fingerprint)
    if folder is None:
        remedy = f"`dvc pull` it, or put {job} into the roster and `make repro`, which trains it again."
        raise UserError(f"{what} is neither in models/ nor in .work/ or mlruns/. {remedy}")
    return folder


def image_files(paths: Sequence[Path]) -> list[tuple[str, Path]]:
    """Images of files and folders, named by their path below the common folder; UserError if there are none."""
    files = []
    for path in paths:
        inside = sorted(file for file in path.rglob("*") if file.suffix.lower() in images.SUFFIXES and file.is_file())
        if not path.exists() or (path.is_dir() and not inside):
            what = "holds no image" if path.exists() else "no such file or folder"
            raise UserError(
                f"{escape(path)}: {what}. Name images ({', '.join(sorted(images.SUFFIXES))}) or folders of them."
            )
        files += inside if path.is_dir() else [path]
    common = os.path.commonpath([path if path.is_dir() else path.parent for path in paths])
    return [(str(file.relative_to(common)), file) for file in dict.fromkeys(files)]


def _decoded(file: Path, reading: images.Reading) -> Sample | images.ImageError:
    try:
        # batches of classifiers need a label, whichever
        return Sample(str(file), images.decode(file, reading), label=0)
    except images.ImageError as error:
        return error


def noise_images(number: int, seed: int, settings: Settings) -> NamedImages:
    """Images of noise for a generating model, which derives its own noise from an image's bytes."""
    if number < 1:
        raise UserError(f"--number: {number} is less than 1. Give the number of images to generate.")
    generator = np.random.default_rng(seed)
    shape = (settings.size, settings.size, 3)
    return (
        (f"{seed}-{at:04d}", Sample(str(at), generator.integers(0, 256, shape, dtype=np.uint8))) for at in range(number)
    )


def _open_answers(out: Path | None) -> TextIO:
    if out is None:
        return sys.stdout
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UserError(f"--out: {out} is not an empty folder, and its files would be overwritten. Name another.")
    out.mkdir(parents=True, exist_ok=True)
    return (out / ANSWERS).open("w", encoding="utf-8")


def _write_picture(out: Path, name: str, drawn: NDArray[np.uint8]) -> dict[str, str]:
    """Write an image's picture under its name, or a shortened one, which the answer then contains, or why it failed."""
    path = out / f"{name}.png"
    fits = len(os.fsencode(path.name)) <= MAX_NAME
    if not fits:
        start = os.fsencode(path.name)[: MAX_NAME // 2].decode(errors="ignore")
        path = path.with_name(f"{start}-{hashlib.sha256(os.fsencode(name)).hexdigest()[:16]}.png")
    try:
        store.write_bytes(path, images.encode_png(drawn))
    except OSError as error:
        reason = f"its picture can't be written: {error.strerror or error}"
        log.warning(escape(f"{name}: {reason}"))
        return {"picture_error": reason}
    return {} if fits else {"picture": str(path.relative_to(out))}


def _write(lines: TextIO, record: dict[str, Any]) -> None:
    lines.write(json_line(record, ascii_only=lines.encoding.lower() != "utf-8") + "\n")
