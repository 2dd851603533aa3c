"""Samples at rest: rows of Arrow files, read memory-mapped, and by index.

An image is stored encoded: by the bytes that came, or by a PNG where it has no file or its bytes can't be kept
(`images.open_bytes`). It is decoded when its sample is read.
"""

import itertools
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipeline import images
from pipeline.sample import TABLE, Form, Sample


def _listed(values: NDArray[Any]) -> list[Any]:
    return list(values.tolist())


def _numbers(values: list[int]) -> NDArray[np.int64]:
    return np.asarray(values, np.int64)


def _flags(values: list[bool]) -> NDArray[np.bool_]:
    return np.asarray(values, np.bool_)


def _corners(boxes: NDArray[np.float32]) -> list[list[float]]:
    return list(boxes.reshape(-1, 4).tolist())


def _boxes(values: list[list[float]]) -> NDArray[np.float32]:
    return np.asarray(values, np.float32).reshape(-1, 4)


def _by_keypoint(keypoints: NDArray[np.float32]) -> list[list[float]]:
    """K lists of 3N numbers, so that K is known without objects, too."""
    return [values.ravel().tolist() for values in np.moveaxis(keypoints, 1, 0)]


def _keypoints(values: list[list[float]]) -> NDArray[np.float32]:
    return np.moveaxis(np.asarray(values, np.float32).reshape(len(values), -1, 3), 0, 1)


def _ids(values: bytes) -> NDArray[np.uint8]:
    return images.decode_stored(values, gray=True)


#: Arrow's types, what is written, and what is read, of all forms that prepare stores but a label, which has two columns
TYPES: dict[Form, pa.DataType] = {
    Form.NUMBERS: pa.list_(pa.int64()),
    Form.FLAGS: pa.list_(pa.bool_()),
    Form.BOXES: pa.list_(pa.list_(pa.float32(), 4)),
    Form.MASKS: pa.list_(pa.binary()),
    Form.KEYPOINTS: pa.list_(pa.list_(pa.float32())),
    Form.IDS: pa.large_binary(),
}
WRITE: dict[Form, Callable[[Any], Any]] = {
    Form.NUMBERS: _listed,
    Form.FLAGS: _listed,
    Form.BOXES: _corners,
    Form.MASKS: list,
    Form.KEYPOINTS: _by_keypoint,
    Form.IDS: images.encode_png,
}
READ: dict[Form, Callable[[Any], Any]] = {
    Form.NUMBERS: _numbers,
    Form.FLAGS: _flags,
    Form.BOXES: _boxes,
    Form.MASKS: list,
    Form.KEYPOINTS: _keypoints,
    Form.IDS: _ids,
}
#: the columns of their own names
COLUMNS = {name: row.form for name, row in TABLE.items() if row.stored and row.form is not Form.LABEL}
SCHEMA = pa.schema(
    [
        ("id", pa.string()),
        ("group", pa.string()),
        ("source", pa.string()),
        ("height", pa.int32()),
        ("width", pa.int32()),
        ("image", pa.large_binary()),
        ("size", pa.list_(pa.int32(), 2)),
        ("label", pa.int64()),
        ("soft", pa.list_(pa.float32())),
        *((name, TYPES[form]) for name, form in COLUMNS.items()),
    ]
)


def to_row(sample: Sample, data: bytes | None = None) -> dict[str, Any]:
    """The Arrow row of a decoded sample; data: the bytes that decode to its pixels, if its image has such."""
    height, width = sample.pixels.shape[:2]
    soft = isinstance(sample.label, np.ndarray)
    annotations = {name: getattr(sample, name) for name in COLUMNS}
    return {
        "id": sample.id,
        "group": sample.group,
        "source": sample.source,
        "height": height,
        "width": width,
        "image": images.encode(sample.pixels) if data is None else data,
        "size": sample.size or (height, width),
        "label": None if soft or sample.label is None else sample.label,
        "soft": sample.label if soft else None,
        **{name: None if value is None else WRITE[COLUMNS[name]](value) for name, value in annotations.items()},
    }


Columns = dict[str, pa.Array]


def columns(batch: pa.RecordBatch) -> Columns:
    """The columns of a batch that have a value, by name."""
    pairs = zip(batch.schema.names, batch.columns, strict=True)
    return {name: column for name, column in pairs if column.null_count < len(column)}


def from_row(given: Columns, index: int, image: images.Pixels | None = None) -> Sample:
    """The sample in a row of these columns, decoded, unless the pixels of its image are given."""
    row = {name: column[index].as_py() for name, column in given.items() if name != "image"}
    if image is None:
        image = images.decode_stored(given["image"][index].as_buffer())
    soft = row.get("soft")
    return Sample(
        id=row["id"],
        image=image,
        group=row.get("group"),
        source=row.get("source"),
        size=tuple(row["size"]),
        label=row.get("label") if soft is None else np.asarray(soft, np.float32),
        **{name: READ[form](row[name]) for name, form in COLUMNS.items() if row.get(name) is not None},
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
    batches: list[pa.RecordBatch] = field(default_factory=list, repr=False)
    _starts: NDArray[np.int64] = field(default_factory=lambda: np.zeros(1, np.int64), repr=False)
    _columns: dict[int, Columns] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        for path in self.paths:
            reader = pa.ipc.open_file(pa.memory_map(str(path)))
            self.batches += [reader.get_batch(index) for index in range(reader.num_record_batches)]
        self._starts = np.cumsum([0] + [batch.num_rows for batch in self.batches])

    def __reduce__(self) -> tuple[type["Shards"], tuple[list[Path]]]:
        return Shards, (self.paths,)

    def __len__(self) -> int:
        return int(self._starts[-1])

    def __getitem__(self, index: Any) -> Any:
        return self.sample(index)

    def sample(self, index: int, image: images.Pixels | None = None) -> Sample:
        """A sample, whose image is decoded unless its pixels are given."""
        batch, position = self._position(index)
        if batch not in self._columns:
            self._columns[batch] = columns(self.batches[batch])
        return from_row(self._columns[batch], position, image)

    def blank(self, index: int) -> Sample:
        """A sample with its annotations and a black image of its size: nothing is decoded."""
        batch, position = self._position(index)
        height, width = (self.batches[batch].column(name)[position].as_py() for name in ("height", "width"))
        return self.sample(index, images.blank(height, width))

    def row(self, index: int) -> pa.RecordBatch:
        """The stored row as a batch of one: a view, nothing is copied."""
        batch, position = self._position(index)
        return self.batches[batch].slice(position, 1)

    def _position(self, index: int) -> tuple[int, int]:
        """The number of the batch that has the sample, and its row there."""
        if not 0 <= index < len(self):
            raise IndexError(index)
        batch = int(np.searchsorted(self._starts, index, side="right")) - 1
        return batch, int(index - self._starts[batch])

    def column(self, name: str) -> list[Any]:
        """One field of every sample, without touching the images."""
        return [value for batch in self.batches for value in batch.column(name).to_pylist()]


def arrow_column(stored: Shards, name: str) -> pa.ChunkedArray:
    """One field of every sample as Arrow's own array: a view, nothing is copied."""
    return pa.chunked_array([batch.column(name) for batch in stored.batches], SCHEMA.field(name).type)


def copy_rows(source: Shards, indices: Sequence[int], path: Path, *, rows_per_batch: int = 64) -> None:
    """Write some rows of `source` as one Arrow file, byte for byte: no image is decoded."""
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, SCHEMA) as writer:
        for start in range(0, len(indices), rows_per_batch):
            rows = [source.row(index) for index in indices[start : start + rows_per_batch]]
            writer.write_batch(pa.concat_batches(rows))


def split(path: Path, name: str) -> Shards:
    """A split of a prepared dataset (`train`, `val`, `test`) or the staged `copies` of an augmented one."""
    return Shards(sorted(path.glob(f"{name}-*.arrow")))
