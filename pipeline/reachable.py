"""All definitions that some roots use, directly or through others.

- A name is resolved in its module and through imports. A module that is used as a value counts whole.
- A class counts with its bases and all its methods. An object is made by code that counts, which names its class, so
  no method of any object is missed, whoever calls it.
- A plug-in is loaded by name. Of a plug-in among the roots counts what is written as an attribute or as a text anywhere
  in code that counts: `task.collate`, `plugins.constant("models", name, "STAGES")`.
- What a module does when it is imported counts with each definition in it; of a user's, also where it is imported.
- What stands under `if isinstance(x, C)` counts where C does.
"""

import functools
from collections.abc import Iterable
from dataclasses import dataclass, field

from pipeline import definitions
from pipeline.definitions import BODY, STAR, Definition, Folders, Module

#: the module that loads plug-ins, and reads some of their members itself
LOADER = "pipeline.plugins"
#: modules that do nothing when they are imported (tests/test_house.py)
QUIET = "pipeline."
#: functions that may find any definition of the module that calls them
DYNAMIC = ("globals", "vars", "dir", "eval", "exec")
#: bases of classes to which objects of other classes may belong
STRUCTURAL = ("Protocol", "ABC")
#: libraries whose objects only code that names the library makes; those of others are everywhere
RARE = ("albumentations",)
#: what a resolved name of a library begins with
LIBRARY = "library:"


@dataclass(frozen=True)
class Reachable:
    """Each definition `module:name` with its digest, and the names of the libraries that they refer to."""

    code: tuple[tuple[str, str], ...]
    libraries: tuple[str, ...]


@functools.cache
def reach(code: Folders, roots: tuple[str, ...], outside: frozenset[str]) -> Reachable:
    """What the roots use, in the code of some folders; computed once per process.

    Args:
        code: the folders.
        roots: definitions as `module:name`, and plug-ins as `module`.
        outside: modules and definitions that do not count unless they are roots.
    """
    search = _Search(code, outside, [name for name in roots if ":" not in name])
    for name in roots:
        search.add(name if ":" in name else f"{name}:{BODY}", is_root=True)
    for definition in _module(code, LOADER).definitions.values():
        search.note(definition.words)
    search.run()
    digests = tuple((name, _definition(code, name).digest) for name in sorted(search.counted))
    return Reachable(digests, tuple(sorted(search.libraries)))


def is_part(name: str, outside: Iterable[str]) -> bool:
    """Whether a definition is one of these modules and definitions, or a part of one."""
    module, _, inner = name.partition(":")
    above = [inner[:end] for end, letter in enumerate(f"{inner}.") if letter == "."]
    return module in outside or any(f"{module}:{part}" in outside for part in above)


@dataclass
class _Search:
    """The definitions that were reached so far, and those whose references are still to be followed."""

    code: Folders
    outside: frozenset[str]
    plug_ins: list[str]
    counted: set[str] = field(default_factory=set)
    libraries: set[str] = field(default_factory=set)
    words: set[str] = field(default_factory=set)
    waiting: list[str] = field(default_factory=list)
    guarded: set[tuple[str, tuple[str, ...]]] = field(default_factory=set)

    def run(self) -> None:
        """Follow references until nothing new is reached."""
        while self.waiting or self._release():
            while self.waiting:
                self._follow(self.waiting.pop())

    def add(self, name: str, *, is_root: bool = False) -> None:
        """Count a definition `module:name`, a whole module, or a library."""
        if name.startswith(LIBRARY):
            self.libraries.add(name.removeprefix(LIBRARY))
        elif name not in self.counted:
            for part in _parts(self.code, name):
                if part not in self.counted and (is_root or not is_part(part, self.outside)):
                    self.counted.add(part)
                    self.waiting.append(part)

    def _follow(self, name: str) -> None:
        for target, guards in _targets(self.code, name):
            if guards:
                self.guarded.add((target, guards))
            else:
                self.add(target)
        self.note(_definition(self.code, name).words)

    def note(self, words: frozenset[str]) -> None:
        """Count the members of plug-ins that are called so."""
        new_words = words - self.words
        self.words |= new_words
        for plug_in in self.plug_ins:
            module = _module(self.code, plug_in)
            for word in new_words & (module.definitions.keys() | module.imports.keys()):
                target = _resolve(self.code, f"{plug_in}:", word)
                if ":" in target:  # a module that the plug-in imports is no member of it
                    self.add(target)

    def _release(self) -> bool:
        """Count guarded references whose class is counted by now; whether there is one."""
        released = {item for item in self.guarded if any(map(self._has_instances, item[1]))}
        self.guarded -= released
        for target, _ in released:
            self.add(target)
        return bool(self.waiting)

    def _has_instances(self, name: str) -> bool:
        """Whether code that counts may make an instance of this class; unknown classes have some."""
        if name.startswith(LIBRARY):
            library = name.removeprefix(LIBRARY)
            return library not in RARE or library in self.libraries
        if ":" not in name or name in self.counted:
            return True
        tested = _definition(self.code, name)
        bases = (reference.name.rpartition(".")[2] for reference in tested.references)
        return not tested.is_class or any(
            base in STRUCTURAL for base in bases
        )  # another name of a class, or of several


@functools.cache
def _parts(code: Folders, name: str) -> tuple[str, ...]:
    """All definitions that count with one, or with a whole module, and what its imports run."""
    module_name, _, inner = name.partition(":")
    module = _module(code, module_name)
    names = [inner, *module.methods(inner), BODY] if inner else list(module.definitions)
    parts = [f"{module_name}:{other}" for other in names if other in module.definitions]
    imports = [module.imports, *(_definition(code, part).imports for part in parts)]
    for imported in _imported(code, (module_name, *(target for each in imports for target in each.values()))):
        parts += [f"{imported}:{BODY}"] if BODY in _module(code, imported).definitions else []
    for origin in (target for key, target in module.imports.items() if key.startswith(STAR)):
        parts += [f"{origin}:{other}" for other in _module(code, origin).definitions]
    return tuple(parts)


@functools.cache
def _imported(code: Folders, targets: tuple[str, ...]) -> tuple[str, ...]:
    """All modules of a user that importing these modules, or members of modules, runs."""
    reached, waiting = list[str](), [target for target in targets if not target.startswith(QUIET)]
    while waiting:
        parts = waiting.pop().split(".")
        for part in (".".join(parts[:end]) for end in range(1, len(parts) + 1)):
            if part not in reached and definitions.read(code, part) is not None:
                reached.append(part)
                imports = _module(code, part).imports.values()
                waiting += [target for target in imports if not target.startswith(QUIET)]
    return tuple(reached)


@functools.cache
def _targets(code: Folders, name: str) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """What a definition refers to, resolved, each with the resolved classes that guard it."""
    references = _definition(code, name).references
    resolved = (
        (_resolve(code, name, item.name), tuple(_resolve(code, name, guard) for guard in item.guards))
        for item in references
    )
    targets = dict.fromkeys(pair for pair in resolved if pair[0])
    if any(item.name in DYNAMIC for item in references):
        targets[name.partition(":")[0], ()] = None
    return tuple(targets)


def _resolve(code: Folders, within: str, dotted: str) -> str:
    """What a dotted name means within a definition: `module:name`, `module`, `library:name`, or nothing."""
    module_name, _, inner = within.partition(":")
    module, (first, _, rest) = _module(code, module_name), dotted.partition(".")
    local = module.definitions[inner].imports if inner else {}
    if first not in local and first in module.definitions:
        return f"{module_name}:{first}"
    target = local.get(first) or module.imports.get(first)
    return "" if target is None else _absolute(code, f"{target}.{rest}" if rest else target)


def _absolute(code: Folders, dotted: str) -> str:
    """What a dotted name that begins with a package means; the whole module if the module has no such member."""
    parts = dotted.split(".")
    if parts[0] not in dict(code):
        return f"{LIBRARY}{parts[0]}"
    for end in range(len(parts), 0, -1):
        module = ".".join(parts[:end])
        if definitions.read(code, module) is not None:
            return (_resolve(code, f"{module}:", ".".join(parts[end:])) or module) if parts[end:] else module
    return ""


def _definition(code: Folders, name: str) -> Definition:
    module, _, inner = name.partition(":")
    return _module(code, module).definitions[inner]


def _module(code: Folders, name: str) -> Module:
    return definitions.read(code, name) or Module()
