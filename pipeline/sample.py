"""The sample that all stages use: one image with its annotations.

At rest a sample is a row of an Arrow file, read memory-mapped: images up to 1 MB are raw bytes, larger ones PNG.
"""

import dataclasses
import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from PIL import Image

from pipeline import images
from pipeline.geometry import boxes, rle
from pipeline.store import StoreError, read_json
from pipeline.terminal import escape

RAW_LIMIT_BYTES = 1_000_000
IGNORE = 255
SPLITS = ("train", "val", "test")


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """One image and its annotations; a missing field is None.

    image: H×W×3 uint8 RGB (a format may give the file instead, which prepare decodes) · label: index into
    classes, or a soft vector over them after mixing · boxes: N×4 float32 xyxy pixels, with labels N, masks N
    (compressed RLE at rest), crowd N, difficult N, keypoints N×K×3 float32 (x and y in the pixels of boxes; 0 not
    labelled, 1 hidden, 2 visible) · semantic: H×W uint8 ids, 255 = ignore · weight: H×W float32, the weight of a pixel
    besides its class's · proposals: P×4 float32 · size: original height and width;
    from a format, of the image that its annotations are for, and prepare compares · split: where the format
    prescribes one · source: the file and position that errors name.
    """

    id: str
    image: NDArray[np.uint8] | Path
    group: str | None = None
    split: str | None = None
    source: str | None = None
    size: tuple[int, int] | None = None
    label: int | NDArray[np.float32] | None = None
    boxes: NDArray[np.float32] | None = None
    labels: NDArray[np.int64] | None = None
    masks: Sequence[bytes] | None = None
    crowd: NDArray[np.bool_] | None = None
    difficult: NDArray[np.bool_] | None = None
    keypoints: NDArray[np.float32] | None = None
    semantic: NDArray[np.uint8] | None = None
    weight: NDArray[np.float32] | None = None
    proposals: NDArray[np.float32] | None = None

    @property
    def pixels(self) -> NDArray[np.uint8]:
        """The decoded image; TypeError while it is still a file."""
        if isinstance(self.image, Path):
            raise TypeError(f"{self.image}: not decoded yet")
        return self.image


@dataclass(frozen=True, slots=True)
class Classes:
    """Names of a format's classes (indexed by label and labels), label-map ids, and keypoints."""

    names: tuple[str, ...] = ()
    semantic: tuple[str, ...] = ()
    keypoints: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Fault:
    """A fault in the raw data: where, why, and the remedy. A warning does not stop prepare."""

    where: str
    reason: str
    warning: bool = False

    def __str__(self) -> str:
        return escape(f"{self.where}: {self.reason}")


@dataclass(frozen=True, slots=True)
class Facts:
    """dataset.json: facts of a dataset that later stages need without opening its shards.

    counts: samples by split · class_counts: train samples by class · fields: Sample fields that every sample
    has · mean, std: of the train pixels in 0..1, by number of channels (`"1"`, `"3"`) · keypoints: their
    names · max_side: maximum longer side of stored images, in pixels.
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
    max_side: int = 1024


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


SCHEMA = pa.schema(
    [
        ("id", pa.string()),
        ("group", pa.string()),
        ("source", pa.string()),
        ("height", pa.int32()),
        ("width", pa.int32()),
        ("encoded", pa.bool_()),
        ("image", pa.binary()),
        ("size", pa.list_(pa.int32(), 2)),
        ("label", pa.int64()),
        ("soft", pa.list_(pa.float32())),
        ("boxes", pa.list_(pa.list_(pa.float32(), 4))),
        ("labels", pa.list_(pa.int64())),
        ("masks", pa.list_(pa.binary())),
        ("crowd", pa.list_(pa.bool_())),
        ("difficult", pa.list_(pa.bool_())),
        ("keypoints", pa.list_(pa.list_(pa.float32()))),
        ("semantic", pa.binary()),
    ]
)


def to_row(sample: Sample) -> dict[str, Any]:
    """The Arrow row of a decoded sample."""
    pixels = sample.pixels
    height, width = pixels.shape[:2]
    encoded = pixels.nbytes > RAW_LIMIT_BYTES
    soft = isinstance(sample.label, np.ndarray)
    return {
        "id": sample.id,
        "group": sample.group,
        "source": sample.source,
        "height": height,
        "width": width,
        "encoded": encoded,
        "image": images.encode_png(pixels) if encoded else pixels.tobytes(),
        "size": sample.size or (height, width),
        "label": None if soft or sample.label is None else sample.label,
        "soft": sample.label if soft else None,
        "boxes": None if sample.boxes is None else sample.boxes.reshape(-1, 4).tolist(),
        "labels": _listed(sample.labels),
        "masks": None if sample.masks is None else list(sample.masks),
        "crowd": _listed(sample.crowd),
        "difficult": _listed(sample.difficult),
        "keypoints": None if sample.keypoints is None else _by_point(sample.keypoints),
        "semantic": None if sample.semantic is None else images.encode_png(sample.semantic),
    }


def _listed(values: NDArray[Any] | None) -> list[Any] | None:
    return None if values is None else values.tolist()


def _by_point(keypoints: NDArray[np.float32]) -> list[list[float]]:
    """K lists of 3N numbers, so that K is known without objects, too."""
    return [values.ravel().tolist() for values in np.moveaxis(keypoints, 1, 0)]


def _array(row: dict[str, Any], name: str, dtype: Any) -> NDArray[Any] | None:
    return None if row[name] is None else np.asarray(row[name], dtype=dtype)


def from_row(batch: pa.RecordBatch, index: int) -> Sample:
    """The sample in a row; its raw pixels are a read-only view of the memory map."""
    row = {name: batch.column(name)[index].as_py() for name in SCHEMA.names if name != "image"}
    buffer = batch.column("image")[index].as_buffer()
    if row["encoded"]:
        pixels = images.decode_stored(buffer)
    else:
        pixels = np.frombuffer(buffer, np.uint8).reshape(row["height"], row["width"], 3)
    corners, keypoints = _array(row, "boxes", np.float32), _array(row, "keypoints", np.float32)
    return Sample(
        id=row["id"],
        image=pixels,
        group=row["group"],
        source=row["source"],
        size=tuple(row["size"]),
        label=row["label"] if row["soft"] is None else np.asarray(row["soft"], np.float32),
        boxes=None if corners is None else corners.reshape(-1, 4),
        labels=_array(row, "labels", np.int64),
        masks=row["masks"],
        crowd=_array(row, "crowd", np.bool_),
        difficult=_array(row, "difficult", np.bool_),
        keypoints=None if keypoints is None else np.moveaxis(keypoints.reshape(len(keypoints), -1, 3), 0, 1),
        semantic=None if row["semantic"] is None else images.decode_stored(row["semantic"], gray=True),
    )


def write_shard(path: Path, samples: Iterable[Sample], *, rows_per_batch: int = 64) -> int:
    """Write samples as one Arrow file; returns their number."""
    return write_rows(path, SCHEMA, map(to_row, samples), rows_per_batch=rows_per_batch)


def write_rows(path: Path, schema: pa.Schema, rows: Iterable[dict[str, Any]], *, rows_per_batch: int = 64) -> int:
    """Write rows as one Arrow file that Shards can read; returns their number."""
    count, waiting = 0, iter(rows)
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, schema) as writer:
        while batch := list(itertools.islice(waiting, rows_per_batch)):
            writer.write_batch(pa.RecordBatch.from_pylist(batch, schema=schema))
            count += len(batch)
    return count


@dataclass
class Shards(Sequence[Sample]):
    """Samples of Arrow files, read memory-mapped and by index; pickles as its paths."""

    paths: list[Path]
    _batches: list[pa.RecordBatch] = field(default_factory=list, repr=False)
    _starts: NDArray[np.int64] = field(default_factory=lambda: np.zeros(1, np.int64), repr=False)

    def __post_init__(self) -> None:
        for path in self.paths:
            reader = pa.ipc.open_file(pa.memory_map(str(path)))
            self._batches += [reader.get_batch(index) for index in range(reader.num_record_batches)]
        self._starts = np.cumsum([0] + [batch.num_rows for batch in self._batches])

    def __reduce__(self) -> tuple[type["Shards"], tuple[list[Path]]]:
        return Shards, (self.paths,)

    def __len__(self) -> int:
        return int(self._starts[-1])

    def __getitem__(self, index: Any) -> Any:
        return from_row(self.row(index), 0)

    def row(self, index: int) -> pa.RecordBatch:
        """The stored row as a batch of one: a view, nothing is copied."""
        if not 0 <= index < len(self):
            raise IndexError(index)
        batch = int(np.searchsorted(self._starts, index, side="right")) - 1
        return self._batches[batch].slice(int(index - self._starts[batch]), 1)

    def column(self, name: str) -> list[Any]:
        """One field of every sample, without touching the images."""
        return [value for batch in self._batches for value in batch.column(name).to_pylist()]


def resized(sample: Sample, height: int, width: int) -> Sample:
    """The sample scaled to height×width with all its annotations; unchanged if it has that size.

    Label map and masks take the nearest pixel, so an object much smaller than a new pixel can lose its mask.
    """
    old = sample.pixels.shape[:2]
    if old == (height, width):
        return sample
    changes: dict[str, Any] = {"image": images.resize(sample.pixels, height, width)}
    for name in ("boxes", "proposals"):
        values = getattr(sample, name)
        if values is not None:
            changes[name] = boxes.scale(values, height / old[0], width / old[1])
    if sample.keypoints is not None:
        factors = np.array([width / old[1], height / old[0], 1], np.float32)
        changes["keypoints"] = sample.keypoints * factors
    if sample.masks is not None:
        changes["masks"] = [rle.resize(mask, old, (height, width)) for mask in sample.masks]
    if sample.semantic is not None:
        changes["semantic"] = images.resize(sample.semantic, height, width, smooth=False)
    if sample.weight is not None:
        weight = Image.fromarray(sample.weight).resize((width, height), Image.Resampling.BILINEAR)
        changes["weight"] = np.asarray(weight, np.float32)
    return dataclasses.replace(sample, **changes)


def copy_rows(source: Shards, indices: Sequence[int], path: Path, *, rows_per_batch: int = 64) -> None:
    """Write some rows of `source` as one Arrow file, byte for byte: no image is decoded."""
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, SCHEMA) as writer:
        for start in range(0, len(indices), rows_per_batch):
            rows = [source.row(index) for index in indices[start : start + rows_per_batch]]
            writer.write_batch(pa.concat_batches(rows))


def split(path: Path, name: str) -> Shards:
    """A split of a prepared dataset (`train`, `val`, `test`) or the staged `copies` of an augmented one."""
    return Shards(sorted(path.glob(f"{name}-*.arrow")))


FIELDS = tuple(item.name for item in dataclasses.fields(Sample))
