"""`convline predict MODEL PATH…`: what a trained model says of images, as `evaluate` would have shown them to it.

An image is read upright and as RGB, and scaled to the dataset's `max_side` before it is to the network's size, as
prepare and evaluate do. Answers are those of the task's served models, boxes and masks in pixels of the image.
"""

import argparse
import hashlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO

import numpy as np
from numpy.typing import NDArray

from pipeline import checkpoint, images, plugins, registered, store
from pipeline.errors import UserError
from pipeline.evaluate.predict import predictor
from pipeline.learners.base import Settings
from pipeline.sample import Sample, resized
from pipeline.terminal import json_line, shown, tell

ANSWERS = "predictions.jsonl"
#: bytes of a picture's name: file systems take 255, and while it is written it has ten more
MAX_NAME = 240
#: the name of an image, and the image or the reason why there is none
Given = Iterator[tuple[str, Sample | images.ImageError]]


def run(arguments: argparse.Namespace, root: Path) -> int:
    """Answer every image; the exit code is 1 where one could not be read."""
    folder = find(root, arguments.model)
    given = opened(arguments.paths) if arguments.paths else None
    store.verify(folder)
    learner, description = checkpoint.load(folder)
    task = plugins.load("tasks", description["task"])
    if given is None and task.NEEDS:
        raise UserError(f"{arguments.model}: a model for {description['task']} is asked about images. Name some.")
    given = given or chosen(arguments.number, arguments.seed, learner.settings)
    ask = predictor(learner, description["task"])
    out, lines = _open(arguments.out)
    told = failed = 0
    for name, item in given:
        told += 1
        if isinstance(item, images.ImageError):
            failed += 1
            tell(shown(f"{name}: {item}"), error=True)
            _write(lines, {"image": name, "error": str(item)})
            continue
        stored = resized(item, *images.bounded(item.pixels, learner.settings.max_side))
        (prediction,) = ask([stored])
        answer = {"image": name, **task.answer(item, prediction, learner.settings)}
        if out is not None:
            drawn = task.draw(Sample(stored.id, stored.image), prediction, learner.settings)
            answer |= _keep(out, name, drawn)
        _write(lines, answer)
    if out is not None:
        lines.close()
        tell(f"{told - failed} of {told} images answered by {arguments.model}: {out / ANSWERS} and a picture each")
    return 1 if failed else 0


def find(root: Path, name: str) -> Path:
    """Where the model of a job lies, or the champion of a registered model, whatever is in the roster now."""
    folder, entries = root / "models" / name, registered.entries(root)
    if folder.is_dir():
        return folder
    marks = registered.jobs(root)
    if name in entries:
        job, mark = entries[name]["champion"]["job"], entries[name]["champion"]["fingerprint"]
        what = f"the champion of {name}, {job},"
        if not mark:
            raise UserError(f"{what} is no model of this project: {entries[name]['decision']['text']}.")
    elif name in marks:
        job, mark, what = name, marks[name], f"the registered model of {name}"
    else:
        there = {path.name for path in (root / "models").glob("*") if path.is_dir()} | set(entries) | set(marks)
        raise UserError(f"{plugins.unknown('model', name, there)} `make repro` trains the roster.")
    found = registered.folder(root, job, mark)
    if found is None:
        remedy = f"`dvc pull` it, or put {job} into the roster and `make repro`, which trains it again."
        raise UserError(f"{what} is neither in models/ nor in .work/ or mlruns/. {remedy}")
    return found


def opened(paths: list[Path]) -> Given:
    """Images of files and folders, by their names below the folder that all have in common; UserError for none."""
    files = []
    for path in paths:
        found = sorted(file for file in path.rglob("*") if file.suffix.lower() in images.SUFFIXES and file.is_file())
        if not path.exists() or (path.is_dir() and not found):
            what = "holds no image" if path.exists() else "no such file or folder"
            raise UserError(
                f"{shown(path)}: {what}. Name images ({', '.join(sorted(images.SUFFIXES))}) or folders of them."
            )
        files += found if path.is_dir() else [path]
    common = os.path.commonpath([path if path.is_dir() else path.parent for path in paths])
    return ((str(file.relative_to(common)), _decoded(file)) for file in dict.fromkeys(files))


def _decoded(file: Path) -> Sample | images.ImageError:
    try:
        return Sample(str(file), images.decode(file), label=0)  # batches of classifiers want a label, whichever
    except images.ImageError as error:
        return error


def chosen(number: int, seed: int, settings: Settings) -> Given:
    """Images of noise, which choose what a generating model makes: its own noise is a function of an image's bytes."""
    if number < 1:
        raise UserError(f"--number: {number} is less than 1. Say how many images to generate.")
    draw = np.random.default_rng(seed)
    shape = (settings.size, settings.size, 3)
    return ((f"{seed}-{at:04d}", Sample(str(at), draw.integers(0, 256, shape, dtype=np.uint8))) for at in range(number))


def _open(out: Path | None) -> tuple[Path | None, TextIO]:
    if out is None:
        return None, sys.stdout
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UserError(f"--out: {out} is not an empty folder, and nothing shall be overwritten. Name another.")
    out.mkdir(parents=True, exist_ok=True)
    return out, (out / ANSWERS).open("w", encoding="utf-8")


def _keep(out: Path, name: str, drawn: NDArray[np.uint8]) -> dict[str, str]:
    """Write an image's picture under its name, or a shortened one, which the answer then tells."""
    path = out / f"{name}.png"
    fits = len(os.fsencode(path.name)) <= MAX_NAME
    if not fits:
        start = os.fsencode(path.name)[: MAX_NAME // 2].decode(errors="ignore")
        path = path.with_name(f"{start}-{hashlib.sha256(os.fsencode(name)).hexdigest()[:16]}.png")
    store.write_bytes(path, images.encode_png(drawn))
    return {} if fits else {"picture": str(path.relative_to(out))}


def _write(lines: TextIO, record: dict[str, Any]) -> None:
    lines.write(json_line(record, ascii_only=lines.encoding.lower() != "utf-8") + "\n")
