"""The pictures of an evaluation: example predictions, the worst mistakes, a training's epochs, a task's figures."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from pipeline import images, store

TILE = 256
#: pictures of a training side by side
EPOCHS = 6


def draw(path: Path, task: Any, stored: Any, predictions: list[Any], table: pa.Table, known: Any, number: int) -> None:
    """Example predictions, and the worst mistakes."""
    count = min(number, len(stored))
    spread = images.spread(len(stored), number)
    worst = np.argsort(-table["severity"].to_numpy(), kind="stable")[:count]
    for name, chosen in (("examples", spread), ("failures", worst)):
        pictures = [task.draw(stored[int(index)], predictions[int(index)], known) for index in chosen]
        if pictures:
            side = min(max(max(picture.shape[:2]) for picture in pictures), TILE)
            sheet = images.grid(pictures, 6 if side <= TILE / 2 else 4, side=side)
            store.write_bytes(path / f"{name}.png", images.encode_png(sheet))


def epochs(pictures: dict[int, Path]) -> dict[str, Any]:
    """What a learner showed while it was trained: a few pictures side by side, from the first epoch to the last."""
    if not pictures:
        return {}
    from matplotlib.figure import Figure

    drawn = [*pictures.items()]
    chosen = [drawn[place] for place in images.spread(len(drawn), EPOCHS)]
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
    """Figures by name, as PNG files of equal bytes."""
    for name, figure in figures.items():
        figure.savefig(path / f"figure-{name}.png", dpi=110, metadata={"Software": None})
