"""VOC xml: pairing by name, splits by lists or folders, pixels from 1, and what is refused."""

import re
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from pipeline.errors import UserError
from pipeline.params import Dataset, Params
from pipeline.prepare.formats.voc import read
from pipeline.prepare.stage import run
from pipeline.sample import Classes, Fault, Sample

BOX = "<bndbox><xmin>1</xmin><ymin>2</ymin><xmax>9</xmax><ymax>8</ymax></bndbox>"
SIZE = "<size><width>9</width><height>8</height><depth>3</depth></size>"


def thing(name: str = "cat", box: str = BOX, more: str = "") -> str:
    return f"<object><name>{name}</name>{more}{box}</object>"


def lay(root: Path, name: str, *things: str, size: str = SIZE, image: str = "JPEGImages") -> None:
    for path in (root / "Annotations", root / image):
        path.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (9, 8)).save(root / image / f"{name}.png")
    text = f"<annotation><filename>elsewhere.jpg</filename>{size}{''.join(things)}</annotation>"
    (root / "Annotations" / f"{name}.xml").write_text(text, encoding="utf-8")


def lists(root: Path, **names: str) -> None:
    (root / "ImageSets/Main").mkdir(parents=True)
    for name, text in names.items():
        (root / "ImageSets/Main" / f"{name}.txt").write_text(text)


def listing(root: Path, **options: Any) -> tuple[Classes, list[Sample], list[str]]:
    classes, *items = read(root, **options)
    assert isinstance(classes, Classes)
    return (
        classes,
        [item for item in items if isinstance(item, Sample)],
        [str(i) for i in items if isinstance(i, Fault)],
    )


def test_boxes_count_from_one(tmp_path: Path) -> None:
    part = "<part><name>head</name><bndbox><xmin>3</xmin></bndbox></part>"
    lay(tmp_path, "a", thing(more=part), thing("dog", more="<difficult>1</difficult>"))
    lay(tmp_path, "b", size="<size><width>0</width><height>0</height></size>")
    classes, (first, second), faults = listing(tmp_path)
    assert (classes.names, faults) == (("cat", "dog"), [])
    assert first.boxes is not None
    assert first.boxes.tolist() == [[0, 1, 9, 8]] * 2
    assert first.labels is not None
    assert first.labels.tolist() == [0, 1]
    assert first.difficult is not None
    assert first.difficult.tolist() == [False, True]
    assert (first.id, first.size, first.split, first.masks) == ("JPEGImages/a.png", (8, 9), None, None)
    assert second.boxes is not None
    assert (second.boxes.shape, second.size) == ((0, 4), None)
    boxes = listing(tmp_path, first_pixel=0)[1][0].boxes
    assert boxes is not None
    assert boxes[0].tolist() == [1, 2, 9, 8]
    with pytest.raises(UserError, match="first_pixel"):
        list(read(tmp_path, first_pixel=2))


def test_zero_gives_the_counting_away(tmp_path: Path) -> None:
    lay(tmp_path, "a", thing(box=BOX.replace("<xmin>1", "<xmin>0")))
    assert "first_pixel: 0" in listing(tmp_path)[2][0]
    assert listing(tmp_path, first_pixel=0)[2] == []


def test_lists_give_the_splits(tmp_path: Path) -> None:
    for name in ("a", "b", "c", "d", "e f", "g"):
        lay(tmp_path, name, thing())
    lists(tmp_path, train="a\nb  1\n\n", val="c\r\n", trainval="a\nb\nc\ne f\n", test="d\n", cat_train="x -1\n")
    _, samples, faults = listing(tmp_path)
    found = {sample.id.removeprefix("JPEGImages/"): sample.split for sample in samples}
    assert found == {"a.png": "train", "b.png": "train", "c.png": "val", "d.png": "test", "e f.png": "train"}
    assert re.search(r"\b1 annotations\b.*ImageSets/Main.*Annotations/g\.xml", faults[0])


def test_lists_that_disagree(tmp_path: Path) -> None:
    lay(tmp_path, "a", thing())
    lists(tmp_path, train="a\nghost\n", test="a\n")
    assert listing(tmp_path)[2] == [
        "ImageSets/Main/train.txt: line 1: 'a' is in ImageSets/Main/test.txt, too. Remove it from one of the two.",
        "ImageSets/Main/train.txt: line 2: 'ghost' has no annotation. Add ghost.xml or remove the line.",
    ]


def test_xml_beside_the_images(tmp_path: Path) -> None:
    for folder in ("train", "valid"):
        lay(tmp_path / folder, "a", thing(), image="Annotations")
        (tmp_path / folder / "Annotations").rename(tmp_path / "moved")
        for path in (tmp_path / "moved").iterdir():
            path.rename(tmp_path / folder / path.name)
        (tmp_path / "moved").rmdir()
    assert [(sample.id, sample.split) for sample in listing(tmp_path)[1]] == [
        ("train/a.png", "train"),
        ("valid/a.png", "val"),
    ]


def test_pairs_that_fail(tmp_path: Path) -> None:
    for name in ("a", "b", "c"):
        lay(tmp_path, name, thing())
    (tmp_path / "JPEGImages/a.png").unlink()
    (tmp_path / "Annotations/b.xml").unlink()
    Image.new("RGB", (9, 8)).save(tmp_path / "JPEGImages/c.jpg")
    assert listing(tmp_path)[2] == [
        "Annotations/a.xml: has no image of this name. Add the image or remove it.",
        "Annotations/c.xml: could belong to JPEGImages/c.jpg and JPEGImages/c.png. Rename one.",
        ".: 1 images ignored that have no xml, such as JPEGImages/b.png",
    ]


BOMB = '<!DOCTYPE a [<!ENTITY b "bbbb">]>'
REFUSED = {
    "doctype": (f"{BOMB}<annotation>&b;</annotation>", "DOCTYPE"),
    "outside entity": ('<!DOCTYPE a SYSTEM "file:///etc/passwd"><annotation/>', "DOCTYPE"),
    "cut": ("<annotation><obj", "not valid XML"),
    "foreign": ("<html/>", "the root is <html>"),
    "no name": (f"<annotation>{thing(' ')}</annotation>", "object 0: has no name"),
    "no area": (
        f"<annotation>{thing(box=BOX.replace('9', '0'))}</annotation>",
        r"\(cat\): bndbox xmin 1, ymin 2, xmax 0",
    ),
    "inverted": (f"<annotation>{thing(box=BOX.replace('9', '-1'))}</annotation>", "xmax must be at least xmin"),
    "no number": (f"<annotation>{thing(box=BOX.replace('9', 'nine'))}</annotation>", "xmax nine, ymax 8: not four"),
    "nan": (f"<annotation>{thing(box=BOX.replace('9', 'nan'))}</annotation>", "not four finite"),
    "no box": (f"<annotation>{thing(box='')}</annotation>", "has no bndbox"),
    "half a box": (f"<annotation>{thing(box='<bndbox/>')}</annotation>", "xmin None"),
    "difficult": (f"<annotation>{thing(more='<difficult>x</difficult>')}</annotation>", "difficult 'x'"),
    "size": ("<annotation><size><width>9.5</width><height>8</height></size></annotation>", "width '9.5'"),
}


@pytest.mark.parametrize("name", REFUSED)
@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_refused(name: str, encoding: str, tmp_path: Path) -> None:
    text, reason = REFUSED[name]
    lay(tmp_path, "a", thing())
    (tmp_path / "Annotations/a.xml").write_text(text, encoding=encoding)
    _, samples, faults = listing(tmp_path)
    assert samples == []
    with pytest.raises(AssertionError, match=reason):
        raise AssertionError("\n".join(faults))


def test_prepare_compares_the_size_with_the_file(tmp_path: Path) -> None:
    lay(tmp_path / "data/raw/mine", "a", thing(), size=SIZE.replace("9", "90"))
    with pytest.raises(UserError, match=r"JPEGImages/a\.png: .*90×8.* 9×8"):
        run(Params(datasets={"mine": Dataset(format="voc", path="data/raw/mine")}, jobs={}), tmp_path)
