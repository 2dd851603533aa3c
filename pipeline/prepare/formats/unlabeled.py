"""unlabeled: images without labels, in one folder or many, for generation, which needs none.

Folders `train`, `val` and `test` directly below the path (or other keys of SPLITS) give the split, if all images lie in
such folders.
"""

from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from pipeline.images import SUFFIXES
from pipeline.prepare.formats.parts.doubt import Doubt
from pipeline.prepare.formats.parts.files import Tree, ignored, listed, scan
from pipeline.prepare.formats.parts.folder_names import SPLITS, is_role
from pipeline.sample import Classes, Fault, Sample

#: suffixes of files that may hold labels, and beginnings of names of those that don't
LABELS = frozenset({".csv", ".json", ".tsv", ".txt", ".xml", ".yaml", ".yml"})
PROSE = ("readme", "license", "licence")


def read(path: Path | None) -> Iterator[Classes | Sample | Fault]:
    """Every image of a folder."""
    tree = scan(path)
    files = _images(tree)
    splits = {name: SPLITS.get(name.parts[0].lower()) for name in files if len(name.parts) > 1}
    split_by_folder = len(splits) == len(files) and None not in splits.values()
    yield Classes()
    yield from tree.faults
    if not files:
        yield Fault(".", f"holds no image ({', '.join(sorted(SUFFIXES))}). Put images into it.")
    yield from ignored(tree, [name for name in tree.files if name.suffix.lower() not in SUFFIXES])
    for name in files:
        split = splits[name] if split_by_folder else None
        yield Sample(id=str(name), image=tree.root / name, split=split, source=str(name))


def recognise(tree: Tree) -> Doubt | None:
    """A Doubt, if nothing in the folder can be a label: no file of a table or annotation, and not two class folders."""
    files = _images(tree)
    texts = [name for name in tree.files if name.suffix.lower() in LABELS]
    if not files or not all(name.name.lower().startswith(PROSE) for name in texts):
        return None
    classes = {folder for name in files for folder in name.parts[:-1] if folder.lower() not in SPLITS}
    holders = sorted({name.parent for name in files})
    if len({name for name in classes if not is_role(name)}) > 1 or len({name for name in classes if is_role(name)}) > 1:
        return None
    where = "in no folder of a class" if holders == [PurePosixPath()] else f"in {listed(holders)} alone"
    return Doubt(
        f"{len(files):,} images {where}, and nothing that labels them. To classify them, put them into one folder per "
        "class, two or more. Only generation needs no labels."
    )


def _images(tree: Tree) -> list[PurePosixPath]:
    return [name for name in tree.files if name.suffix.lower() in SUFFIXES]
