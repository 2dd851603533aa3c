"""Tables of images: dialects, columns, one-hot classes, and faults with their line."""

from pathlib import Path
from typing import Any

import pytest

from pipeline.errors import UserError
from pipeline.prepare.formats.csv import read
from pipeline.sample import Classes, Fault, Sample


def lay(root: Path, *names: str, **tables: str | bytes) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"not decoded here")
    for name, text in tables.items():
        path = root / f"{name}.csv"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())


def listing(root: Path, **options: Any) -> tuple[tuple[str, ...], dict[str, Sample], dict[str, str]]:
    classes, *items = read(root, **options)
    assert isinstance(classes, Classes)
    faults = {item.where: item.reason for item in items if isinstance(item, Fault) and not item.warning}
    return classes.names, {item.id: item for item in items if isinstance(item, Sample)}, faults


def labels(root: Path, **options: Any) -> dict[str, str]:
    classes, samples, faults = listing(root, **options)
    assert faults == {}
    return {name: classes[int(str(sample.label))] for name, sample in samples.items()}


@pytest.mark.parametrize(
    "text",
    [
        "image,label\na.png,cat\nb.png,dog\n",
        "Filename;Class\r\na.png;cat\r\n\r\nb.png;dog",
        "﻿path\tcategory\na.png\tcat\nb.png\tdog",
        'file_name, width, label\n"a.png", 3, "cat"\n./b.png, 4, dog\n',
        "label|image_id\ncat|a\ndog|b\n",
    ],
)
def test_dialects(tmp_path: Path, text: str) -> None:
    lay(tmp_path, "a.png", "b.png", mine=text)
    assert labels(tmp_path) == {"a.png": "cat", "b.png": "dog"}


def test_quoted_commas_and_lines_count_right(tmp_path: Path) -> None:
    lay(tmp_path, "a, b.png", mine='image,label\n"a, b.png","cat,\nbig"\nnone.png,dog\n')
    classes, samples, faults = listing(tmp_path)
    assert (classes, list(samples), list(faults)) == (("cat,\nbig",), ["a, b.png"], ["mine.csv:4"])


def test_split_and_group(tmp_path: Path) -> None:
    lay(tmp_path, "a.png", "b.png", mine="image,label,split,group\na.png,1,Valid,ann\nb.png,0,test,bob\n")
    samples = listing(tmp_path)[1]
    assert [(sample.split, sample.group) for sample in samples.values()] == [("val", "ann"), ("test", "bob")]


def test_names_start_beside_the_table_or_at_the_path(tmp_path: Path) -> None:
    (tmp_path / "lists").mkdir()
    lay(tmp_path, "images/a.png", "lists/b.png", "lists/c.JPG")
    (tmp_path / "lists" / "all.csv").write_text("image,label\nimages\\a.png,x\nb.png,y\nlists/c.JPG,y\n")
    assert labels(tmp_path) == {"images/a.png": "x", "lists/b.png": "y", "lists/c.JPG": "y"}
    assert set(listing(tmp_path, folder="images")[2]) == {"lists/all.csv:2", "lists/all.csv:3", "lists/all.csv:4"}


def test_roboflow_one_hot(tmp_path: Path) -> None:
    for split in ("train", "valid", "test"):
        lay(tmp_path / split, "1.jpg", "2.jpg", _classes="filename, bus, car\n1.jpg, 0, 1\n2.jpg, 1, 0\n")
    classes, samples, faults = listing(tmp_path)
    assert (classes, faults) == (("bus", "car"), {})
    assert {name: (sample.split, sample.label) for name, sample in samples.items()} == {
        **{f"train/{n}.jpg": ("train", 2 - n) for n in (1, 2)},
        **{f"valid/{n}.jpg": ("val", 2 - n) for n in (1, 2)},
        **{f"test/{n}.jpg": ("test", 2 - n) for n in (1, 2)},
    }


def test_one_hot_faults(tmp_path: Path) -> None:
    lay(tmp_path, "1.png", "2.png", "3.png", mine="image,a,b\n1.png,1,1\n2.png,0,0\n3.png,640,1\n")
    faults = listing(tmp_path)[2]
    assert "several classes: a, b" in faults["mine.csv:2"]
    assert "no label" in faults["mine.csv:3"]
    assert "column 'a' has '640'" in faults["mine.csv:4"]


FAULTS = {
    "c.png,cat": "no such image",
    "a.png,": "no label",
    "a.png,NaN": "no label",
    ",cat": "has no image",
    "../x.png,cat": "outside the dataset's folder",
    "/etc/passwd,cat": "outside the dataset's folder",
    "C:\\x.png,cat": "outside the dataset's folder",
    "a.png,cat,2": "3 cells for 2 columns",
    "b.png,dog": "b.png is listed in mine.csv:2, too",
    '"a.png"x,cat': "Correct its quotes",
    '"a.png,cat': "Correct its quotes",
}


@pytest.mark.parametrize("line", FAULTS)
def test_faults_carry_the_line(tmp_path: Path, line: str) -> None:
    lay(tmp_path, "root/a.png", "root/b.png", "x.png")
    lay(tmp_path / "root", mine=f"image,label\nb.png,cat\n{line}\n")
    _, samples, faults = listing(tmp_path / "root")
    assert (list(samples), list(faults)) == (["b.png"], ["mine.csv:3"])
    assert FAULTS[line] in faults["mine.csv:3"]


def test_empty_and_wrong_cells_of_split_and_group(tmp_path: Path) -> None:
    lay(tmp_path, "a.png", "b.png", mine="image,label,split,group\na.png,1,dev,x\nb.png,1,train,\n")
    faults = listing(tmp_path)[2]
    assert "split 'dev' is not one of train, val" in faults["mine.csv:2"]
    assert "no group" in faults["mine.csv:3"]


def test_links_out_of_the_folder_are_no_images(tmp_path: Path) -> None:
    lay(tmp_path, "root/b.png", "x.png")
    lay(tmp_path / "root", mine="image,label\na.png,cat\nb.png,cat\n")
    (tmp_path / "root" / "a.png").symlink_to(tmp_path / "x.png")
    faults = listing(tmp_path / "root")[2]
    assert set(faults) == {"a.png", "mine.csv:2"}


def test_headers_and_tables(tmp_path: Path) -> None:
    assert "has no table" in listing(tmp_path)[2]["."]
    lay(tmp_path, "a.png", one="a.png,cat\n", two="image\na.png\n", three="", four=b"image,label\n\xff,x")
    lay(tmp_path, five="Bild,Art\na.png,cat\n")
    faults = listing(tmp_path)[2]
    assert "no column is named image or" in faults["one.csv:1"]
    assert "the first line has a.png, cat" in faults["one.csv:1"]
    assert "no column has labels" in faults["two.csv:1"]
    assert "has none" in faults["three.csv:1"]
    assert "UTF-8" in faults["four.csv"]
    assert labels(tmp_path, table="five.csv", image="bild", label="Art") == {"a.png": "cat"}
    assert "named motif" in listing(tmp_path, table="five.csv", image="Bild", label="motif")[2]["five.csv:1"]
    with pytest.raises(UserError, match="option table"):
        list(read(tmp_path, table="../five.csv"))
    with pytest.raises(UserError, match="option label"):
        list(read(tmp_path, label=3))  # type: ignore[arg-type]


def test_numbers_are_classes_by_size_and_the_rest_is_counted(tmp_path: Path) -> None:
    lay(tmp_path, "a.png", "b.png", "c.png", "d.png", mine="image,label\na.png,10\nb.png,9\nc.png,x\n")
    assert listing(tmp_path)[0] == ("9", "10", "x")
    warned = [item.reason for item in read(tmp_path) if isinstance(item, Fault)]
    assert warned == ["1 other files ignored: d.png"]
