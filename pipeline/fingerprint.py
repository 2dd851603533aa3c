"""The fingerprint of a result: one digest of the settings, data, definitions and library versions that decide it.

Definitions (pipeline/definitions.py) are followed from the roots that the caller names (pipeline/roots.py):

- A name is resolved in its module and through imports. A module that is used as a value counts whole.
- A class counts with its bases and all its methods. An object is made by code that counts, which names its class, so
  no method of any object is missed, whoever calls it.
- A plug-in is loaded by name. Of a plug-in that the caller names counts what is written as an attribute or as a text
  anywhere in code that counts: `task.collate`, `plugins.constant("models", name, "STAGES")`.
- What stands under `if isinstance(x, C)` counts where C does.
- What is in OUTSIDE does not count, and so neither does what nothing else uses.
"""

import functools
from collections.abc import Iterable
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from pipeline import definitions, plugins
from pipeline.definitions import BODY, Definition, Folders, Reference
from pipeline.store import digest

ROOT = Path(__file__).parent.parent
#: modules and definitions that decide no result, and why; none of them changes pixels, targets, losses or weights.
#: What a caller names as a root counts all the same.
OUTSIDE = {
    "pipeline.errors": "the class of errors that people read",
    "pipeline.store": "writes and reads files; their contents count by digest",
    "pipeline.plugins": "finds plug-ins by name; what it finds counts",
    "pipeline.params": "the types of settings; their values count",
    "pipeline.pretrained_weights": "downloads; a file counts by its digest, and the normalization as a root",
    "pipeline.learners.feature_extractor:load_inception": "the published extractor, a root of the jobs that name it",
    "pipeline.train.job_state": "progress",
    "pipeline.train.history": "writes the curves",
    "pipeline.train.record": "writes what decided a model",
    "pipeline.train.loop:Trainer._progress": "progress",
    "pipeline.train.loop:Trainer._snapshot": "writes the picture of an epoch",
    "pipeline.learners.adversarial:Sampler.snapshot": "draws the picture of an epoch, by random numbers of its own",
    "pipeline.train.loader:_start_worker": "sets the number of threads",
}
#: libraries that count where code that counts refers to them: module → distribution
LIBRARIES = {
    "torch": "torch",
    "torchvision": "torchvision",
    "timm": "timm",
    "segmentation_models_pytorch": "segmentation-models-pytorch",
    "albumentations": "albumentations",
    "cv2": "opencv-python-headless",
}
#: bases of classes to which objects of other classes may belong
STRUCTURAL = ("Protocol", "ABC")


def inputs(roots: Iterable[str], **parts: Any) -> dict[str, Any]:
    """All that decides a result; its digest is the fingerprint.

    Args:
        roots: definitions as `module:name`, and plug-ins as `module`.
        parts: settings and digests of data, as JSON values.

    Returns:
        `code`: definition → digest, `libraries`: name → version, and the parts.
    """
    counted = reach(folders(), tuple(sorted(set(roots))))
    return {"code": dict(counted.code), "libraries": {name: minor(name) for name in counted.libraries}, **parts}


def compute_fingerprint(roots: Iterable[str], **parts: Any) -> str:
    """sha256 over `inputs`."""
    return digest(inputs(roots, **parts))


def folders() -> Folders:
    """Where our code and the user's own plug-ins are read."""
    own = getattr(plugins, "OWN", ROOT / "plugins")
    return (("pipeline", ROOT), ("plugins", Path(own).parent))


def minor(library: str) -> str:
    """`2.15` of version 2.15.0; a patch release changes no result."""
    try:
        return ".".join(version(LIBRARIES[library]).split(".")[:2])
    except PackageNotFoundError:
        return "none"


@dataclass(frozen=True)
class Counted:
    """What counts: each definition `module:name` with its digest, and the names of libraries."""

    code: tuple[tuple[str, str], ...]
    libraries: tuple[str, ...]


@functools.cache
def reach(code: Folders, roots: tuple[str, ...]) -> Counted:
    """All that counts for some roots; computed once per process."""
    search = _Search(code, [name for name in roots if ":" not in name])
    for name in roots:
        search.add(name if ":" in name else f"{name}:{BODY}", is_root=True)
    search.run()
    digests = tuple((name, search.definition(name).digest) for name in sorted(search.counted))
    return Counted(digests, tuple(sorted(search.libraries)))


def outside(name: str) -> bool:
    """Whether a definition or module is in OUTSIDE, by itself or as a part."""
    module, _, inner = name.partition(":")
    above = [inner[:end] for end, letter in enumerate(f"{inner}.") if letter == "."]
    return module in OUTSIDE or any(f"{module}:{part}" in OUTSIDE for part in above)


@dataclass
class _Search:
    """The definitions that were reached so far, and those whose references are still to be followed."""

    code: Folders
    plug_ins: list[str]
    counted: set[str] = field(default_factory=set)
    libraries: set[str] = field(default_factory=set)
    words: set[str] = field(default_factory=set)
    waiting: list[str] = field(default_factory=list)
    guarded: list[tuple[str, Reference]] = field(default_factory=list)

    def run(self) -> None:
        """Follow references until nothing new is reached."""
        while self.waiting or self._release():
            while self.waiting:
                self._follow(self.waiting.pop())

    def definition(self, name: str) -> Definition:
        """The definition `module:name`."""
        module, _, inner = name.partition(":")
        return self._module(module).definitions[inner]

    def _module(self, name: str) -> definitions.Module:
        return definitions.read(self.code, name) or definitions.Module()

    def add(self, name: str, *, is_root: bool = False) -> None:
        """Count a definition `module:name`, a whole module, or a `library:`."""
        if name.startswith("library:"):
            self.libraries |= {name.removeprefix("library:")} & LIBRARIES.keys()
            return
        module_name, _, inner = name.partition(":")
        module = self._module(module_name)
        wanted = [inner, *module.methods(inner), BODY] if inner else list(module.definitions)
        for item in (f"{module_name}:{other}" for other in wanted if other in module.definitions):
            if item not in self.counted and (is_root or not outside(item)):
                self.counted.add(item)
                self.waiting.append(item)

    def _follow(self, name: str) -> None:
        definition = self.definition(name)
        for reference in definition.references:
            if reference.guards:
                self.guarded.append((name, reference))
            else:
                self.add(self._resolve(name, reference.name))
        new_words = definition.words - self.words
        self.words |= new_words
        for plug_in in self.plug_ins:
            self._add_members(plug_in, new_words)

    def _add_members(self, plug_in: str, words: Iterable[str]) -> None:
        module = self._module(plug_in)
        for word in words & (module.definitions.keys() | module.imports.keys()):
            target = self._resolve(f"{plug_in}:", word)
            if ":" in target:  # a module that the plug-in imports is no member of it
                self.add(target)

    def _release(self) -> bool:
        """Count guarded references whose class is counted by now; whether there is one."""
        still_guarded = []
        for name, reference in self.guarded:
            if any(self._has_instances(self._resolve(name, guard)) for guard in reference.guards):
                self.add(self._resolve(name, reference.name))
            else:
                still_guarded.append((name, reference))
        self.guarded = still_guarded
        return bool(self.waiting)

    def _has_instances(self, name: str) -> bool:
        """Whether code that counts may make an instance of this class; unknown classes have some."""
        library = name.removeprefix("library:")
        if library != name:
            return library not in LIBRARIES or library in self.libraries
        if ":" not in name or name in self.counted:
            return True
        bases = (reference.name.rpartition(".")[2] for reference in self.definition(name).references)
        return any(base in STRUCTURAL for base in bases)

    def _resolve(self, within: str, dotted: str) -> str:
        """What a dotted name means within a definition: `module:name`, `module`, `library:name`, or nothing."""
        module_name, _, inner = within.partition(":")
        module, (first, _, rest) = self._module(module_name), dotted.partition(".")
        local = module.definitions[inner].imports if inner else {}
        if first not in local and first in module.definitions:
            return f"{module_name}:{first}"
        target = local.get(first) or module.imports.get(first)
        return "" if target is None else self._absolute(f"{target}.{rest}" if rest else target)

    def _absolute(self, dotted: str) -> str:
        """What a dotted name that begins with a package means; the whole module if the module has no such member."""
        parts = dotted.split(".")
        if parts[0] not in dict(self.code):
            return f"library:{parts[0]}"
        for end in range(len(parts), 0, -1):
            module = ".".join(parts[:end])
            if definitions.read(self.code, module) is not None:
                return (self._resolve(f"{module}:", ".".join(parts[end:])) or module) if parts[end:] else module
        return ""
