"""What tools write as VOC: encodings, words for difficult, other names of images, lists, shapes other than boxes."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.errors import UserError
from pipeline.prepare.formats.parts.files import scan
from pipeline.prepare.formats.voc import read, recognise
from pipeline.sample import Classes, Fault, Sample
from tests.helpers.folders import picture

BOX = "<bndbox><xmin>5</xmin><ymin>6</ymin><xmax>20</xmax><ymax>18</ymax></bndbox>"


def item(name: str = "bolt", box: str = BOX, difficult: str = "<difficult>0</difficult>") -> str:
    return f"<object><name>{name}</name>{difficult}{box}</object>"


def lay(
    root: Path, xml: str, objects: str, *, image: str = "JPEGImages/{}.png", head: str = "", encoding: str = "utf-8"
) -> None:
    """Four images with an xml each; {} is the number of the image."""
    for number in range(4):
        name = image.format(number)
        picture(root / name, number)
        path = root / xml.format(number)
        path.parent.mkdir(parents=True, exist_ok=True)
        filename = f"<folder>elsewhere</folder><filename>{Path(name).name}</filename><path>C:\\x\\y.jpg</path>"
        path.write_bytes(f"{head}<annotation>{filename}{objects}</annotation>".encode(encoding))


def listing(root: Path, **options: Any) -> tuple[tuple[str, ...], list[Sample], list[Fault]]:
    classes, *items = read(root, **options)
    assert isinstance(classes, Classes)
    samples = [item for item in items if isinstance(item, Sample)]
    return classes.names, samples, [item for item in items if isinstance(item, Fault)]


def declared(encoding: str) -> str:
    return f'<?xml version="1.0" encoding="{encoding}"?>\n'


@pytest.mark.parametrize(
    ("head", "encoding", "name"),
    [
        (declared("gbk"), "gbk", "螺栓"),
        (declared("GB2312"), "gb2312", "螺栓"),
        (declared("Shift_JIS"), "shift_jis", "ボルト"),
        (declared("euc-kr"), "euc-kr", "볼트"),
        (declared("windows-1252"), "cp1252", "Schräubchen"),
        (declared("iso-8859-1"), "latin-1", "Schräubchen"),
        (declared("utf-16"), "utf-16", "螺栓"),
        (declared("utf-16"), "utf-8", "螺栓"),
        (declared("utf-8"), "utf-8-sig", "螺栓"),
        ("", "utf-16", "螺栓"),
    ],
)
def test_an_xml_is_read_as_it_declares(head: str, encoding: str, name: str, tmp_path: Path) -> None:
    lay(tmp_path, "Annotations/{}.xml", item(name), head=head, encoding=encoding)
    assert recognise(scan(tmp_path)) == {}
    names, samples, faults = listing(tmp_path)
    assert (names, len(samples), faults) == ((name,), 4, [])


@pytest.mark.parametrize(
    ("head", "reason"),
    [("", "not UTF-8"), (declared("utf-8"), "not UTF-8"), (declared("x-mine"), "unknown encoding, x-mine")],
)
def test_an_undeclared_encoding_is_refused_with_the_way_to_declare_it(head: str, reason: str, tmp_path: Path) -> None:
    lay(tmp_path, "Annotations/{}.xml", item("螺栓"), head=head, encoding="gbk")
    assert recognise(scan(tmp_path)) == {}
    _, samples, faults = listing(tmp_path)
    assert samples == []
    assert all(reason in fault.reason and "UTF-8" in fault.reason for fault in faults[:4])


@pytest.mark.parametrize(
    ("difficult", "value"),
    [
        ("", False),
        ("<difficult/>", False),
        ("<difficult>Unspecified</difficult>", False),
        ("<difficult>0.0</difficult>", False),
        ("<difficult> True </difficult>", True),
        ("<difficult>1</difficult>", True),
    ],
)
def test_words_for_difficult(difficult: str, value: bool, tmp_path: Path) -> None:
    lay(tmp_path, "Annotations/{}.xml", item(difficult=difficult))
    _, samples, faults = listing(tmp_path)
    assert faults == []
    assert {tuple(sample.difficult.tolist()) for sample in samples if sample.difficult is not None} == {(value,)}


@pytest.mark.parametrize(("shape", "tool"), [("robndbox", "roLabelImg"), ("polygon", "LabelMe")])
def test_shapes_other_than_boxes_are_reported_in_one_line(shape: str, tool: str, tmp_path: Path) -> None:
    lay(tmp_path, "Annotations/{}.xml", item(box=f"<{shape}><cx>20</cx></{shape}>"))
    assert recognise(scan(tmp_path)) == {}
    with pytest.raises(UserError, match=f"{tmp_path}: .*{shape.removeprefix('robnd')}.*{tool}.*Export"):
        listing(tmp_path)
    (tmp_path / "Annotations/0.xml").write_text(f"<annotation>{item()}</annotation>")
    _, samples, faults = listing(tmp_path)
    assert len(samples) == 1
    assert len({fault.reason for fault in faults if "object 0 (bolt)" in fault.where}) == 1


def test_a_box_of_one_pixel(tmp_path: Path) -> None:
    """The last pixel counts in VOC, so that xmin = xmax is one pixel wide; corners that count from 0 have no area."""
    lay(tmp_path, "Annotations/{}.xml", item(box=BOX.replace("20", "5")))
    _, samples, faults = listing(tmp_path)
    assert len(samples) == 4
    for sample in samples:
        np.testing.assert_array_equal(sample.boxes, [[4, 5, 5, 18]])
    (warning,) = faults
    assert "4 boxes are one pixel wide" in warning.reason
    assert all("must exceed" in fault.reason for fault in listing(tmp_path, first_pixel=0)[2][:4])
    (tmp_path / "Annotations/0.xml").write_text(
        f"<annotation>{item(box=BOX.replace('20', '5').replace('18', '6'))}</annotation>"
    )
    (fault,) = [fault for fault in listing(tmp_path)[2] if not fault.warning]
    assert "a single pixel" in fault.reason


@pytest.mark.parametrize(
    "line", ["{}", "{}.png", "{}.JPG", "JPEGImages/{}.png", "C:\\VOC\\{}.xml", "/x/{}.png /y/masks/{}.png", "{} 1"]
)
def test_lists_with_carriage_returns_suffixes_and_blank_lines(line: str, tmp_path: Path) -> None:
    lay(tmp_path, "Annotations/{}.xml", item())
    folder = tmp_path / "ImageSets/Main"
    folder.mkdir(parents=True)
    for name, numbers in {"Train": (0, 1), "validation": (2,), "test": (3,)}.items():
        text = "".join(f"{line.replace('{}', str(number))}\r\n" for number in numbers)
        (folder / f"{name}.txt").write_bytes(f"{text}\r\n  \r\n".encode("utf-8-sig"))
    _, samples, faults = listing(tmp_path)
    assert faults == []
    assert [sample.split for sample in samples] == ["train", "train", "val", "test"]


def test_images_of_the_same_names_in_several_folders(tmp_path: Path) -> None:
    for split in ("train", "val"):
        lay(tmp_path, f"{split}/annotations/{{}}.xml", item(), image=f"{split}/images/{{}}.png")
    _, samples, faults = listing(tmp_path)
    assert faults == []
    assert sorted((str(sample.id), str(sample.split)) for sample in samples) == sorted(
        (f"{split}/images/{number}.png", split) for split in ("train", "val") for number in range(4)
    )


def test_an_image_of_another_name_is_the_one_that_filename_says(tmp_path: Path) -> None:
    lay(tmp_path, "Annotations/{}.xml", item(), image="JPEGImages/IMG_{}.png")
    _, samples, faults = listing(tmp_path)
    assert [fault for fault in faults if not fault.warning] == []
    assert [sample.id for sample in samples] == [f"JPEGImages/IMG_{number}.png" for number in range(4)]


def test_sizes_as_decimals(tmp_path: Path) -> None:
    lay(tmp_path, "Annotations/{}.xml", f"<size><width>32.0</width><height> 32 </height></size>{item()}")
    _, samples, faults = listing(tmp_path)
    assert faults == []
    assert {sample.size for sample in samples} == {(32, 32)}
