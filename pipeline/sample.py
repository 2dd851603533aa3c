"""The sample that all stages use: one image with its annotations, and the table of what each of these is.

The table decides how an annotation is stored (pipeline/shards.py), resized (here), moved with the image's pixels
(pipeline/augment/), and dropped with its object. A new one of a known form is one row of it.
"""

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pipeline import images
from pipeline.geometry import boxes, rle
from pipeline.store import StoreError, read_json
from pipeline.terminal import escape

IGNORE = 255
SPLITS = ("train", "val", "test")
#: the key of a field's row in its metadata
ROW = "row"


class Form(Enum):
    """What a field holds, which decides what happens to it."""

    LABEL = "an index of the image, or a vector of probabilities"
    NUMBERS = "int64 per object"
    FLAGS = "bool per object"
    BOXES = "N×4 float32, xyxy in pixels"
    MASKS = "RLE per object"
    KEYPOINTS = "N×K×3 float32: x, y in pixels, visibility"
    IDS = "H×W uint8; pixels from outside the image are IGNORE"
    WEIGHTS = "H×W float32; pixels from outside the image are 0"


@dataclass(frozen=True, slots=True)
class Annotation:
    """A row of the table of fields.

    per_object: one entry per object, which is dropped with it; boxes and masks say where the objects are · stored: read
    by prepare and stored with the image, else computed in augment.
    """

    form: Form
    per_object: bool = False
    stored: bool = True


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """One image and its annotations; a missing field is None.

    image: H×W×3 uint8 RGB (a format may give the file or its bytes, which prepare decodes) · label: index into
    classes, or a soft vector over them after mixing · boxes: N×4 float32 xyxy pixels, with labels N, masks N
    (compressed RLE at rest), crowd N, difficult N, keypoints N×K×3 float32 (x and y in the pixels of boxes; 0 not
    labelled, 1 hidden, 2 visible) · semantic: H×W uint8 ids, 255 = ignore · weight: H×W float32, the weight of a pixel
    besides its class's · proposals: P×4 float32 · size: original height and width;
    from a format, of the image that its annotations are for, and prepare compares · split: where the format
    prescribes one · source: the file and position that errors name.
    """

    id: str
    image: NDArray[np.uint8] | Path | bytes
    group: str | None = None
    split: str | None = None
    source: str | None = None
    size: tuple[int, int] | None = None
    label: int | NDArray[np.float32] | None = field(default=None, metadata={ROW: Annotation(Form.LABEL)})
    boxes: NDArray[np.float32] | None = field(default=None, metadata={ROW: Annotation(Form.BOXES, per_object=True)})
    labels: NDArray[np.int64] | None = field(default=None, metadata={ROW: Annotation(Form.NUMBERS, per_object=True)})
    masks: Sequence[bytes] | None = field(default=None, metadata={ROW: Annotation(Form.MASKS, per_object=True)})
    crowd: NDArray[np.bool_] | None = field(default=None, metadata={ROW: Annotation(Form.FLAGS, per_object=True)})
    difficult: NDArray[np.bool_] | None = field(default=None, metadata={ROW: Annotation(Form.FLAGS, per_object=True)})
    keypoints: NDArray[np.float32] | None = field(
        default=None, metadata={ROW: Annotation(Form.KEYPOINTS, per_object=True)}
    )
    semantic: NDArray[np.uint8] | None = field(default=None, metadata={ROW: Annotation(Form.IDS)})
    weight: NDArray[np.float32] | None = field(default=None, metadata={ROW: Annotation(Form.WEIGHTS, stored=False)})
    proposals: NDArray[np.float32] | None = field(default=None, metadata={ROW: Annotation(Form.BOXES, stored=False)})

    @property
    def pixels(self) -> NDArray[np.uint8]:
        """The decoded image; TypeError while it is still a file or its bytes."""
        if not isinstance(self.image, np.ndarray):
            raise TypeError(f"{self.source}: not decoded yet")
        return self.image


FIELDS = tuple(item.name for item in dataclasses.fields(Sample))
#: annotation → what it is
TABLE: dict[str, Annotation] = {
    item.name: item.metadata[ROW] for item in dataclasses.fields(Sample) if ROW in item.metadata
}
#: annotations that prepare stores
STORED = tuple(name for name, row in TABLE.items() if row.stored)
#: fields with an entry per object
PER_OBJECT = tuple(name for name, row in TABLE.items() if row.per_object)
#: those among them that follow their object by its index alone
FOLLOWING = tuple(name for name in PER_OBJECT if TABLE[name].form not in (Form.BOXES, Form.MASKS))


def of_form(*forms: Form) -> list[str]:
    """The annotations of some forms, without the boxes and masks that say where objects are."""
    return [name for name, row in TABLE.items() if row.form in forms and (not row.per_object or name in FOLLOWING)]


@dataclass(frozen=True, slots=True)
class Classes:
    """Names of a format's classes (indexed by label and labels), label-map ids, and keypoints."""

    names: tuple[str, ...] = ()
    semantic: tuple[str, ...] = ()
    keypoints: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Fault:
    """A fault in the raw data: where, why, and the remedy.

    A warning does not stop prepare. A fault that `blocks` concerns the whole dataset: `on_bad: skip` can't pass it, as
    what is left would be wrong (labels that count from 1, an image with several labels).
    """

    where: str
    reason: str
    warning: bool = False
    blocks: bool = False

    def __str__(self) -> str:
        return escape(f"{self.where}: {self.reason}")


@dataclass(frozen=True, slots=True)
class Facts:
    """dataset.json: facts of a dataset that later stages need without opening its shards.

    counts: samples by split · class_counts: train samples by class · fields: Sample fields that every sample
    has · mean, std: of the train pixels in 0..1, by number of channels (`"1"`, `"3"`) · keypoints: their
    names · max_side: maximum longer side of stored images in pixels, if they have one · bits, first_page: how files
    were read that could be read in several ways, stored only where it was asked for.
    """

    format: str
    classes: tuple[str, ...]
    semantic_classes: tuple[str, ...]
    counts: dict[str, int]
    class_counts: tuple[int, ...]
    fields: tuple[str, ...]
    mean: dict[str, list[float]]
    std: dict[str, list[float]]
    warnings: tuple[str, ...] = ()
    skipped: tuple[str, ...] = ()
    keypoints: tuple[str, ...] = ()
    max_side: int | None = None
    bits: int | Literal["range"] | None = None
    first_page: bool = False


def facts(path: Path) -> Facts:
    """Read dataset.json of a prepared dataset."""
    stored = read_json(path / "dataset.json")
    if stored is None:
        raise StoreError(f"{path / 'dataset.json'}: missing. Run `make repro`, which prepares the dataset first.")
    values: dict[str, Any] = {key: tuple(item) if isinstance(item, list) else item for key, item in stored.items()}
    try:
        return Facts(**values)
    except TypeError as error:
        what = "an earlier version wrote it. Run `make repro`, which prepares the dataset anew"
        raise StoreError(f"{path / 'dataset.json'}: {what}.") from error


def resized(sample: Sample, height: int, width: int) -> Sample:
    """The sample scaled to height×width with all its annotations; unchanged if it has that size.

    Label map and masks take the nearest pixel, so an object much smaller than a new pixel can lose its mask.
    """
    old = sample.pixels.shape[:2]
    if old == (height, width):
        return sample
    changes: dict[str, Any] = {"image": images.resize(sample.pixels, height, width)}
    for name, row in TABLE.items():
        value, resize = getattr(sample, name), RESIZE.get(row.form)
        if value is not None and resize is not None:
            changes[name] = resize(value, old, (height, width))
    return dataclasses.replace(sample, **changes)


Shape = tuple[int, ...]


def _scale_boxes(values: NDArray[np.float32], old: Shape, new: Shape) -> NDArray[np.float32]:
    return boxes.scale(values, new[0] / old[0], new[1] / old[1])


def _scale_keypoints(values: NDArray[np.float32], old: Shape, new: Shape) -> NDArray[np.float32]:
    return values * np.array([new[1] / old[1], new[0] / old[0], 1], np.float32)


def _resize_masks(masks: Sequence[bytes], old: Shape, new: Shape) -> list[bytes]:
    return [rle.resize(mask, (old[0], old[1]), (new[0], new[1])) for mask in masks]


def _resize_ids(values: NDArray[np.uint8], _old: Shape, new: Shape) -> NDArray[np.uint8]:
    return images.resize(values, new[0], new[1], smooth=False)


def _resize_weights(values: NDArray[np.float32], _old: Shape, new: Shape) -> NDArray[np.float32]:
    resized = Image.fromarray(values).resize((new[1], new[0]), Image.Resampling.BILINEAR)
    return np.asarray(resized, np.float32)


RESIZE: dict[Form, Callable[[Any, Shape, Shape], Any]] = {
    Form.BOXES: _scale_boxes,
    Form.KEYPOINTS: _scale_keypoints,
    Form.MASKS: _resize_masks,
    Form.IDS: _resize_ids,
    Form.WEIGHTS: _resize_weights,
}
