"""Formats of exported models, one file each: the listing is the registry. `NAME.py` keeps the contract below.

Libraries are imported inside its functions, as they come with the extra `export` alone.
"""

import importlib
import importlib.util
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, cast

from pipeline import plugins
from pipeline.errors import UserError

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from pipeline.export.graph import Graph

    #: inputs by name → outputs by name
    Run = Callable[[Mapping[str, NDArray[Any]]], dict[str, NDArray[Any]]]


class Format(Protocol):
    """How a model is written as one file, and run from it."""

    FILE: str
    """The file's name."""

    LIBRARIES: tuple[str, ...]
    """Modules that it imports, beside torch."""

    RUNNER: str
    """Lines of run.py that define `run(inputs)`, by name from arrays to arrays; they end with its file's own name."""

    def write(self, graph: "Graph", given: "tuple[Tensor, ...]", path: Path, metadata: Mapping[str, str]) -> None:
        """Write the file with its metadata.

        Args:
            graph: in evaluation mode.
            given: example inputs; more than one image where the graph takes any batch.
            path: of the file.
            metadata: texts by name, kept inside the file.

        Raises:
            UserError: the graph has an operation that the format lacks; the text begins with the operation.
        """
        ...

    def load(self, path: Path, threads: int) -> "Run":
        """A function that runs the file on the CPU."""
        ...


def names() -> list[str]:
    """Names of all formats, sorted."""
    return sorted(path.stem for path in Path(__file__).parent.glob("*.py") if not path.stem.startswith("_"))


def load(name: str) -> Format:
    """The format; UserError if there is none of the name, or a library that it needs is missing."""
    if name not in names():
        raise UserError(f"--format: {plugins.unknown('format of exported models', name, names())}")
    module = cast("Format", importlib.import_module(f"{__name__}.{name}"))
    missing = [library for library in module.LIBRARIES if importlib.util.find_spec(library) is None]
    if missing:
        raise UserError(
            f"--format {name}: {', '.join(missing)} can't be imported. "
            "Run `uv pip install 'convline[export]'`, which installs what exporting needs."
        )
    return module
