"""What the project ships in params.yaml: entries that params/ needs, and comments that an old file words otherwise."""

import functools
from typing import Any

from pipeline import safe_yaml

SCHEMA = "# yaml-language-server: $schema=params.schema.json\n"
#: entries of params.yaml that jobs and sets of params/ refer to (tests/convline/test_upgrading.py compares them)
ENTRIES = """
datasets:
  digits: {format: digits}
  single: {format: single}
  scenes:
    format: scenes
    derived: {proposals: {mode: fast, least: 8}, border_weights: {w0: 1.0, sigma: 2.0}}
augmentation:
  light:
    online: [shift: {limit: 0.08}, rotation: {degrees: 10}, scale: {limit: 0.1}]
jobs:
  linear:
    task: classification
    architecture: linear
    dataset: digits
    channels: 1
    size: 8
    epochs: 20
    lr: 0.05
    weight_decay: 0.0001
  lenet5:
    task: classification
    architecture: lenet5
    dataset: digits
    augmentation: light
    channels: 1
    size: 32
    epochs: 24
    batch: 32
    lr: 0.02
    warmup: 1
    weight_decay: 0.0005
"""
#: comments of version 0.1 that are no longer true, and what they say now
COMMENTS = {
    """\
# What to run: core (a job or two of every task but keypoint_detection, minutes on two cores), all (every job), studies
# (every study), or a list of these words and of names of jobs and studies.
""": "# What to run: names of jobs, data sets, studies and sets, or all. params/ has more jobs and studies.\n",
    """\
# Where images come from. Your own: put the folder under data/raw/, `dvc add` it, name it here.
""": "# Where images come from. `convline add FOLDER` adds yours.\n",
    """\
# A job is one architecture on one task on one dataset. core: part of the core roster.
""": "# A job is one architecture on one task on one data set.\n",
    """\
# A study puts a question to variants of one job (`base`), each trained from several seeds, and tests the paper's claim
# on the same test images. Small networks on small images: what is tested is the idea. `make studies` runs them.
""": "# Your own studies; those of the papers are in params/.\n",
}


@functools.cache
def entries() -> dict[tuple[str, str], Any]:
    """The entries by section and name."""
    sections = safe_yaml.load(ENTRIES)
    return {(section, name): entry for section, entries in sections.items() for name, entry in entries.items()}


def has_schema(text: str) -> bool:
    """Whether the first line names the schema, as in all files since it is there."""
    return text.startswith(SCHEMA.partition("=")[0])


def with_comments(text: str) -> str:
    """The text with today's comments, and the schema in its first line."""
    for old, new in COMMENTS.items():
        text = text.replace(old, new)
    return text if has_schema(text) else SCHEMA + text
