"""The pictures of an evaluation: example predictions, the worst mistakes, a training's epochs, a task's figures."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from pipeline import images, store

TILE = 256
#: pictures of a training side by side
EPOCHS = 6


def draw(
    path: Path, task: Any, stored: Any, predictions: Mapping[int, Any], table: pa.Table, settings: Any, number: int
) -> None:
    """Write example predictions and the worst mistakes, `number` of each, or as many as there are."""
    spread, severity = images.spread(len(stored), number), table["severity"].to_numpy()
    worst = np.argsort(-severity, kind="stable")[: min(number, int((severity > 0).sum()))]
    for name, chosen in (("examples", spread), ("failures", worst)):
        pictures = [task.draw(stored[int(index)], predictions[int(index)], settings) for index in chosen]
        if pictures:
            side = min(max(max(picture.shape[:2]) for picture in pictures), TILE)
            sheet = images.grid(pictures, 6 if side <= TILE / 2 else 4, side=side)
            store.write_bytes(path / f"{name}.png", images.encode_png(sheet))


def epochs(pictures: dict[int, Path]) -> dict[str, Any]:
    """The pictures that a learner made during training: a few side by side, from the first epoch to the last."""
    if not pictures:
        return {}
    from matplotlib.figure import Figure

    by_epoch = [*pictures.items()]
    chosen = [by_epoch[index] for index in images.spread(len(by_epoch), EPOCHS)]
    sheets = [(epoch, images.decode(path)) for epoch, path in chosen]
    lines = -(-len(sheets) // 3)
    height, width = sheets[0][1].shape[:2]
    figure = Figure(figsize=(9, 3 * height / width * lines + 0.4), layout="constrained")
    for axes, (epoch, sheet) in zip(figure.subplots(lines, 3, squeeze=False).flat, sheets, strict=False):
        axes.imshow(sheet)
        axes.set_title(f"epoch {epoch}", fontsize=8)
    for axes in figure.axes:
        axes.set_axis_off()
    return {"epochs": figure}


def save(path: Path, figures: dict[str, Any]) -> None:
    """Write figures by name as PNG files; equal figures give equal bytes."""
    for name, figure in figures.items():
        figure.savefig(path / f"figure-{name}.png", dpi=110, metadata={"Software": None})
