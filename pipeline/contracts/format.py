"""The contract of a format: a file of pipeline/prepare/formats/ or plugins/formats/.

An example is `pipeline/prepare/formats/image_folder.py`; `convline new format NAME` writes one.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from pipeline.contracts.members import optional

if TYPE_CHECKING:
    from pipeline.prepare.formats.parts.doubt import Doubt
    from pipeline.prepare.formats.parts.files import Tree
    from pipeline.sample import Classes, Fault, Sample


class Format(Protocol):
    """How raw files are read. A format neither decodes image files nor prints; prepare does."""

    ARCHIVES: bool = False
    """Whether it reads zips and tars itself; for other formats one that holds the data set is unpacked meanwhile."""

    def read(self, path: Path | None, **options: Any) -> "Iterator[Classes | Sample | Fault]":
        """Classes first, then samples and faults, in an order that is the same on every machine.

        Args:
            path: the dataset's folder; None where params.yaml gives none.
            **options: keyword-only arguments with a default; `datasets.NAME.options` in params.yaml sets them.

        Returns:
            Ids, sources and positions of faults are relative to `path`. Boxes are xyxy in pixels of the image.

        Raises:
            UserError: the folder is missing, or nothing can be read from it.
        """
        ...

    @optional
    def recognise(self, tree: "Tree") -> "dict[str, Any] | Doubt | None":
        """The options with which a folder can be read, {} if none are needed; None if it has another format.

        `convline add` asks every format that has this function. Where something speaks against the format, return a
        Doubt with the reason: `add` then reads the folder only with `--format`.
        """
        ...
