"""Derived fields at rest, and joined again to the samples that they belong to.

`data/augmented/<dataset>-<name>/<split>-00000.arrow` has a row for each sample of the split, in its order: the id, the
array's shape, and its float32 values, packed because most of a weight map is 0.
"""

import dataclasses
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipeline import plugins, sample
from pipeline.sample import Sample, Shards
from pipeline.store import StoreError

SCHEMA = pa.schema([("id", pa.string()), ("shape", pa.list_(pa.int32())), ("values", pa.binary())])


def write(path: Path, stored: Shards, compute: Callable[[Sample], NDArray[np.float32]]) -> None:
    """What `compute` makes of each sample, as one Arrow file."""

    def row(item: Sample) -> dict[str, Any]:
        values = compute(item)
        return {"id": item.id, "shape": values.shape, "values": zlib.compress(values.tobytes(), 1)}

    sample.write_rows(path, SCHEMA, map(row, stored))


@dataclass
class Joined(Sequence[Sample]):
    """Samples, each with a derived field from its own file, both read by index."""

    stored: Sequence[Sample]
    values: Shards
    field: str

    def __len__(self) -> int:
        return len(self.stored)

    def __getitem__(self, index: Any) -> Any:
        item, row = self.stored[index], self.values.row(index).to_pylist()[0]
        if row["id"] != item.id:
            paths = ", ".join(map(str, self.values.paths))
            raise StoreError(f"{paths}: row {index} is of {row['id']}, not of {item.id}. Run `make repro`.")
        values = np.frombuffer(zlib.decompress(row["values"]), np.float32).reshape(row["shape"])
        return dataclasses.replace(item, **{self.field: values})


def joined(stored: Sequence[Sample], split: str, folders: dict[str, Path]) -> Sequence[Sample]:
    """The samples of a split with the derived fields that lie in `folders`, by name."""
    for name, folder in folders.items():
        stored = Joined(stored, sample.split(folder, split), plugins.constant("augment.derived", name, "FIELD"))
    return stored
