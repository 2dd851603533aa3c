"""Derived fields at rest, and their join with the samples.

`data/augmented/<dataset>-<name>/<split>-*.arrow` have one row per sample of the split, in its order: the id, the
array's shape, and its float32 values, compressed because most of a weight map is 0. `options.json` has the options.
"""

import dataclasses
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipeline import plugins, shards, store
from pipeline.sample import Sample
from pipeline.shards import Shards
from pipeline.store import StoreError

SCHEMA = pa.schema([("id", pa.string()), ("shape", pa.list_(pa.int32())), ("values", pa.binary())])
OPTIONS = "options.json"
#: images per file, which one process computes
PART_IMAGES = 100


@dataclass(frozen=True)
class Part:
    """Some samples of a split by index, the name of the derived field, and the file that its values are written to."""

    stored: Shards
    indices: range
    name: str
    options: dict[str, Any]
    path: Path


def parts(stored: Shards, split: str, name: str, options: dict[str, Any], folder: Path) -> list[Part]:
    """A split in parts that can be computed in any order by any process."""
    starts = range(0, max(1, len(stored)), PART_IMAGES)
    ranges = [range(start, min(start + PART_IMAGES, len(stored))) for start in starts]
    return [
        Part(stored, indices, name, options, folder / f"{split}-{number:05d}.arrow")
        for number, indices in enumerate(ranges)
    ]


def make(part: Part) -> int:
    """Compute and write one part; returns the number of its samples."""
    compute = plugins.load("augment.derived", part.name).build(**part.options)
    return write(part.path, (part.stored[index] for index in part.indices), compute)


def write(path: Path, stored: Iterable[Sample], compute: Callable[[Sample], NDArray[np.float32]]) -> int:
    """Write the array that `compute` returns for each sample, as one Arrow file; returns their number."""

    def row(item: Sample) -> dict[str, Any]:
        values = compute(item)
        return {"id": item.id, "shape": values.shape, "values": zlib.compress(values.tobytes(), 1)}

    return shards.write_rows(path, SCHEMA, map(row, stored))


def options(folders: Mapping[str, Path]) -> dict[str, dict[str, Any]]:
    """The options with which the fields in `folders` were made, by name."""
    return {name: store.read_json(folder / OPTIONS, {}) for name, folder in folders.items()}


@dataclass
class Joined(Sequence[Sample]):
    """Samples joined with a derived field from other files, both read by index."""

    stored: "Shards | Joined"
    values: Shards
    field: str

    def __len__(self) -> int:
        return len(self.stored)

    def __getitem__(self, index: Any) -> Any:
        return self._with_field(self.stored[index], index)

    def blank(self, index: int) -> Sample:
        """A sample with its annotations and a black image of its size: nothing is decoded."""
        return self._with_field(self.stored.blank(index), index)

    def _with_field(self, item: Sample, index: int) -> Sample:
        row = self.values.row(index).to_pylist()[0]
        if row["id"] != item.id:
            paths = ", ".join(map(str, self.values.paths))
            raise StoreError(
                f"{paths}: row {index} has id {row['id']}, but the sample has {item.id}. Run `make repro`."
            )
        values: Any = np.frombuffer(zlib.decompress(row["values"]), np.float32).reshape(row["shape"])
        return dataclasses.replace(item, **{self.field: values})


def joined(stored: Shards, split: str, folders: Mapping[str, Path]) -> Shards | Joined:
    """The samples of a split, joined with the derived fields in `folders` (by name) that have this split."""
    samples: Shards | Joined = stored
    for name, folder in folders.items():
        field, splits = (plugins.constant("augment.derived", name, key) for key in ("FIELD", "SPLITS"))
        if split in splits:
            samples = Joined(samples, shards.split(folder, split), field)
    return samples
