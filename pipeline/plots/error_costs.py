"""The figure of what each kind of a detector's errors costs (metrics/detection_errors.py)."""

from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from pipeline.learners.base import Settings
from pipeline.metrics import coco_ap, detection_errors
from pipeline.plots.figures import bars_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TITLE = "What AP50 would gain without errors of a kind"


def figures(
    table: pa.Table, settings: Settings, prefix: str = "box_", *, detections: int = coco_ap.LIMITS[-1]
) -> dict[str, "Figure"]:
    """By name: one bar a kind; none without true objects.

    prefix: `box_` or `mask_`, of whose matches the errors in rows are · detections: limit per image and class.
    """
    costs = detection_errors.costs(table, len(settings.classes), f"{prefix}matches", detections)
    values = np.array(list(costs.values()))
    return {} if np.isnan(values).any() else {"cost-of-errors": bars_figure(values, list(costs), TITLE)}
