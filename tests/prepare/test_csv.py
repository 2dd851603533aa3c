"""Tables of images: dialects, columns, one-hot classes, and faults with their line."""

import re
from itertools import chain, combinations, cycle
from pathlib import Path
from typing import Any

import pytest

from pipeline.errors import UserError
from pipeline.prepare.findings import grouped
from pipeline.prepare.formats.csv import read, recognise
from pipeline.prepare.formats.parts.doubt import Doubt
from pipeline.prepare.formats.parts.files import scan
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
    assert (classes, list(samples), list(faults)) == (("cat,\nbig",), ["a, b.png"], ["mine.csv:4 (none.png)"])


def test_split_and_group(tmp_path: Path) -> None:
    lay(tmp_path, "a.png", "b.png", mine="image,label,split,group\na.png,1,Valid,ann\nb.png,0,test,bob\n")
    samples = listing(tmp_path)[1]
    assert [(sample.split, sample.group) for sample in samples.values()] == [("val", "ann"), ("test", "bob")]


def test_names_start_beside_the_table_or_at_the_path(tmp_path: Path) -> None:
    (tmp_path / "lists").mkdir()
    lay(tmp_path, "images/a.png", "lists/b.png", "lists/c.JPG")
    (tmp_path / "lists" / "all.csv").write_text("image,label\nimages\\a.png,x\nb.png,y\nlists/c.JPG,y\n")
    assert labels(tmp_path) == {"images/a.png": "x", "lists/b.png": "y", "lists/c.JPG": "y"}
    faults = listing(tmp_path, folder="images")[2]
    assert set(faults) == {"lists/all.csv:3 (b.png)", "lists/all.csv:4 (lists/c.JPG)"}
    with pytest.raises(UserError, match="option folder: 'nowhere'"):
        listing(tmp_path, folder="nowhere")


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
    assert "several labels per image are not supported" in faults["mine.csv:2 (a, b)"]
    assert "no label" in faults["mine.csv:3 (2.png)"]
    assert "column 'a' has other values" in faults["mine.csv:4 (640)"]


FAULTS = {
    "c.png,cat": "no image file",
    "a.png,": "no label",
    "a.png,NaN": "no label",
    ",cat": "has no image",
    "../x.png,cat": "no image file",
    "/etc/passwd,cat": "no image file",
    "C:\\x.png,cat": "no image file",
    "a.png,cat,2": "3 cells for 2 columns",
    '"a.png"x,cat': "Correct its quotes",
    '"a.png,cat': "Correct its quotes",
}


@pytest.mark.parametrize("line", FAULTS)
def test_faults_carry_the_line(tmp_path: Path, line: str) -> None:
    lay(tmp_path, "root/a.png", "root/b.png", "x.png")
    lay(tmp_path / "root", mine=f"image,label\nb.png,cat\n{line}\n")
    _, samples, faults = listing(tmp_path / "root")
    ((where, reason),) = faults.items()
    assert (list(samples), where.split(" (")[0]) == (["b.png"], "mine.csv:3")
    assert FAULTS[line] in reason


def test_empty_and_wrong_cells_of_split_and_group(tmp_path: Path) -> None:
    lay(tmp_path, "a.png", "b.png", mine="image,label,split,group\na.png,1,dev,x\nb.png,1,train,\n")
    faults = listing(tmp_path)[2]
    assert "split 'dev' is not one of train, val" in faults["mine.csv:2"]
    assert "no group" in faults["mine.csv:3 (b.png)"]


def test_links_out_of_the_folder_are_no_images(tmp_path: Path) -> None:
    lay(tmp_path, "root/b.png", "x.png")
    lay(tmp_path / "root", mine="image,label\na.png,cat\nb.png,cat\n")
    (tmp_path / "root" / "a.png").symlink_to(tmp_path / "x.png")
    faults = listing(tmp_path / "root")[2]
    assert set(faults) == {"a.png", "mine.csv:2 (a.png)"}


def test_headers_and_tables(tmp_path: Path) -> None:
    assert "has no table" in listing(tmp_path)[2]["."]
    lay(tmp_path, "a.png", one="no,header\n", two="image\na.png\n", three="", four=b"image,label\n\xff,x")
    lay(tmp_path, five="Bild,Art\na.png,cat\n")
    faults = listing(tmp_path)[2]
    assert "no column is named image or" in faults["one.csv:1"]
    assert "the first line has no, header" in faults["one.csv:1"]
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
    assert warned == ["1 images ignored that no table lists, such as d.png"]


def warnings(root: Path, **options: Any) -> str:
    return "\n".join(str(item) for item in read(root, **options) if isinstance(item, Fault) and item.warning)


def blockers(root: Path, **options: Any) -> list[str]:
    return [str(item) for item in read(root, **options) if isinstance(item, Fault) and item.blocks]


def table_of(rows: list[tuple[str, str]], header: str = "image,label") -> str:
    return "\n".join([header, *(",".join(row) for row in rows)]) + "\n"


def subsets(words: str) -> list[tuple[str, ...]]:
    """Two words or more."""
    return [some for size in (2, 3, 4) for some in combinations(words.split(), size)]


NUMBERED = [f"a{number}.png" for number in range(36)]


@pytest.mark.parametrize(
    ("written", "warned"),
    [
        ("C:\\Users\\me\\data\\imgs\\{}.png", "by their ends"),
        ("/home/me/imgs/{}.png", "by their ends"),
        ("imgs\\{}.png", ""),
        ("IMGS/{}.PNG", "case"),
        ("imgs/{}", ""),
        ("{}", ""),
        ("{}.png.png", "suffix"),
    ],
)
def test_images_are_found_however_they_are_named(tmp_path: Path, written: str, warned: str) -> None:
    rows = [(written.format(name.removesuffix(".png")), "cat") for name in NUMBERED]
    lay(tmp_path, *(f"imgs/{name}" for name in NUMBERED), mine=table_of(rows))
    assert set(labels(tmp_path)) == {f"imgs/{name}" for name in NUMBERED}
    assert (f"36 names were found {warned}" if warned == "by their ends" else warned) in warnings(tmp_path)
    assert bool(warnings(tmp_path)) == bool(warned)


#: tables that a person may take for one of classes, with what is said of them and whether `as_classes` reads them
NOT_CLASSES: dict[str, tuple[str, str, bool]] = {
    "several rows": (
        table_of([(name, label) for name in NUMBERED for label in ("cat", "dog")]),
        "36 images have several labels, such as a0.png with 'cat' and 'dog' .*not supported",
        False,
    ),
    "several words": (
        table_of([(name, ["cat", "dog", "cat dog"][at % 3]) for at, name in enumerate(NUMBERED)]),
        "1 labels .*'cat dog': several labels per image are not supported",
        True,
    ),
    "several marks": (
        table_of([(name, ["cat|dog", "dog|bird", "cat|dog|bird", "fox"][at % 4]) for at, name in enumerate(NUMBERED)]),
        "several labels per image are not supported",
        True,
    ),
    "lists": (
        table_of([(name, ["\"['cat', 'dog']\"", "['dog']"][at % 2]) for at, name in enumerate(NUMBERED)]),
        "several labels per image are not supported",
        True,
    ),
    "weather": (
        table_of(
            list(
                zip(
                    NUMBERED,
                    chain(map(" ".join, subsets("clear haze primary road water")), cycle(["haze"])),
                    strict=False,
                )
            ),
            "image_name,tags",
        ),
        "several labels per image are not supported",
        True,
    ),
    "boxes": (
        table_of(
            [(name, "48,32,bolt,5,6,20,18") for name in NUMBERED], "filename,width,height,class,xmin,ymin,xmax,ymax"
        ),
        "boxes in its columns xmin, ymin, xmax, ymax; csv reads labels .*COCO, VOC or YOLO",
        True,
    ),
    "Open Images": (
        table_of(
            [(name, "verification,cat,1,.1,.2,.1,.3") for name in NUMBERED],
            "ImageID,Source,Label,Confidence,XMin,XMax,YMin,YMax",
        ),
        "boxes in its columns XMin, YMin, XMax, YMax",
        True,
    ),
    "ages": (
        table_of([(name, f"{20 + at * 1.37:.2f}") for at, name in enumerate(NUMBERED)]),
        "36 different numbers of 36 images .*regression is not supported",
        True,
    ),
    "years": (
        table_of([(name, str(1950 + at)) for at, name in enumerate(NUMBERED)]),
        "regression is not supported",
        True,
    ),
    "no header": (
        table_of([("nut", f"5,6,15,12,{name},48,32") for name in NUMBERED[1:]], "nut,5,6,15,12,a0.png,48,32"),
        "no header, and its lines look like boxes: nut, 5, .*COCO, VOC or YOLO",
        False,
    ),
    "no header and more": (
        table_of([(name, "cat,train,x") for name in NUMBERED[1:]], "a0.png,cat,train,x"),
        "no header: the first line is that of the image a0.png.*image,label",
        False,
    ),
    "one-hot": (
        table_of([(name, "1,1,0") for name in NUMBERED], "filename,cat,dog,bird"),
        "several labels per image are not supported",
        False,
    ),
}


@pytest.mark.parametrize("name", NOT_CLASSES)
def test_what_are_no_classes_is_one_clear_refusal(name: str, tmp_path: Path) -> None:
    text, reason, is_readable = NOT_CLASSES[name]
    lay(tmp_path, *NUMBERED, mine=text)
    lines = grouped([item for item in read(tmp_path) if isinstance(item, Fault) and item.blocks])
    assert len(lines) == 1
    assert re.search(reason, lines[0])
    doubt = recognise(scan(tmp_path))
    assert isinstance(doubt, Doubt)
    assert re.search(reason, doubt.reason)
    assert (doubt.options is not None) == is_readable
    if doubt.options is not None:
        assert "`as_classes: true`" in lines[0]
        assert not blockers(tmp_path, **doubt.options)
        assert set(labels(tmp_path, **doubt.options)) == set(NUMBERED)


#: labels that look odd, but are classes
CLASSES = {
    "words": ["polar bear", "brown bear", "bear", "cat"],
    "synonyms": ["tench, Tinca tinca", "goldfish, Carassius auratus"],
    "mixtures": [f"{state} {fruit}" for state in ("healthy", "rotten") for fruit in ("apple", "plum", "bell pepper")],
    "numbers": ["0", "1", "2", "10"],
    "doses": ["0.5", "1.0", "1.5"],
}


@pytest.mark.parametrize("name", CLASSES)
def test_odd_names_of_classes_raise_no_doubt(name: str, tmp_path: Path) -> None:
    names = CLASSES[name]
    lay(
        tmp_path,
        *NUMBERED,
        mine=table_of([(image, f'"{names[at % len(names)]}"') for at, image in enumerate(NUMBERED)]),
    )
    assert recognise(scan(tmp_path)) == {}
    assert set(labels(tmp_path).values()) == set(names)


def test_two_columns_without_a_header_are_read(tmp_path: Path) -> None:
    lay(tmp_path, "a.png", "b.png", mine="cat,a.png\ndog,b.png\n")
    assert labels(tmp_path) == {"a.png": "cat", "b.png": "dog"}
    assert "mine.csv:1: has no header; column 2 has the images" in warnings(tmp_path)


@pytest.mark.parametrize("encoding", ["utf-16", "utf-8-sig"])
def test_a_table_as_excel_saves_it(tmp_path: Path, encoding: str) -> None:
    lay(tmp_path, "ä.png", "b.png", mine="Image Name\tClass\r\nä.png\tMöwe\r\nb.png\tdog\r\n".encode(encoding))
    assert labels(tmp_path) == {"ä.png": "Möwe", "b.png": "dog"}


def test_one_hot_as_pandas_writes_it(tmp_path: Path) -> None:
    lay(tmp_path, "a.png", "b.png", mine=",filename,cat,dog\n0,a.png,1.0,0.0\n7,b.png,False,True\n")
    assert labels(tmp_path) == {"a.png": "cat", "b.png": "dog"}


def test_kaggle_s_layout(tmp_path: Path) -> None:
    names = [f"train/t{number}.jpg" for number in range(6)]
    rows = [(Path(name).stem, "cat") for name in names]
    submission = table_of([("u0", "0"), ("u1", "0")], "id,label")
    lay(tmp_path, *names, "test/u0.jpg", "test/u1.jpg", train=table_of(rows, "id,label"), sample_submission=submission)
    assert recognise(scan(tmp_path)) == {}
    assert set(labels(tmp_path)) == set(names)
    assert "2 images ignored that no table lists, such as test/u0.jpg" in warnings(tmp_path)
    assert "sample_submission.csv" in warnings(tmp_path)
    assert set(labels(tmp_path, table="sample_submission.csv")) == {"test/u0.jpg", "test/u1.jpg"}


def test_repeated_lines_are_dropped_and_contradictions_refused(tmp_path: Path) -> None:
    lay(tmp_path, "a.png", "b.png", mine="image,label,split\na.png,x,train\na.png,x,train\nb.png,y,val\nb.png,y,test\n")
    classes, samples, faults = listing(tmp_path)
    assert (classes, set(samples)) == (("x", "y"), {"a.png", "b.png"})
    assert "1 lines repeat" in warnings(tmp_path)
    assert "b.png is listed in mine.csv:4, too" in faults["mine.csv:5"]
