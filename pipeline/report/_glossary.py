"""One sentence about each metric, for readers who meet it for the first time; it comes with the task's file."""

import re

from pipeline import plugins
from pipeline.metric_names import renamed

#: of columns that are no scores of a task
COSTS = {
    "parameters": "number of trainable parameters",
    "multiply-adds": "multiply-add operations per image",
    "latency": "median time from image to prediction for one image, with its quartiles, on the processor named below "
    "the table; not measured while other programs used it",
    "training": "wall-clock time of the whole training",
}
#: prefix of a metric → the similarity that it uses in place of box IoU
SIMILARITIES = {"mask_": "mask IoU", "keypoint_": "object keypoint similarity (OKS)"}


def meanings() -> dict[str, str]:
    """The sentences of all tasks' MEANINGS by name, then those about costs."""
    by_task = [plugins.constant("tasks", task, "MEANINGS") or {} for task in plugins.names("tasks")]
    return {name: sentence for each in (*by_task, COSTS) for name, sentence in each.items()}


def meaning(metric: str) -> str | None:
    """The sentence for a metric: `FID[lenet5]` is looked up as `FID`, `box_AR300` as `box_AR`.

    `mask_AP75` is looked up as `box_AP75`, with another similarity.
    """
    name = renamed(metric).split("[")[0]
    for prefix, similarity in SIMILARITIES.items():
        if name.startswith(prefix):
            sentence = meaning(f"box_{name.removeprefix(prefix)}")
            return sentence and f"{sentence}; with {similarity} in place of box IoU"
    sentences = meanings()
    return sentences.get(name) or sentences.get(re.sub(r"^box_AR\d+$", "box_AR", name))
