"""Each format knows its own folder, none another's, and a missing piece is left to the format to name."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from pipeline import plugins
from pipeline.prepare.formats.parts.files import scan
from pipeline.sample import Fault
from tests.helpers import folders
from tests.helpers.folders import FOLDERS

KIND = "prepare.formats"
FORMATS = [name for name in plugins.names(KIND) if plugins.options(KIND, name, "recognise") is not None]


def recognised(path: Path) -> dict[str, Any]:
    tree = scan(path)
    found = {name: plugins.load(KIND, name).recognise(tree) for name in FORMATS}
    return {name: options for name, options in found.items() if options is not None}


@pytest.mark.parametrize("name", FORMATS)
def test_a_folder_without_its_files_is_nobodys(name: str, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("nothing")
    (tmp_path / "more.json").write_text('{"a": 1}')
    (tmp_path / "more.xml").write_text("<html/>")
    (tmp_path / "more.csv").write_text("a,b\n1,2\n")
    (tmp_path / "more.yaml").write_text("a: 1\n")
    for at in range(3):
        folders.picture(tmp_path / f"{at}.png", at)
    assert plugins.load(KIND, name).recognise(scan(tmp_path)) is None


@pytest.mark.parametrize("name", FOLDERS)
def test_its_own_format_knows_it_and_no_other(name: str, tmp_path: Path) -> None:
    FOLDERS[name](tmp_path)
    assert list(recognised(tmp_path)) == [name]


@pytest.mark.parametrize(
    ("name", "missing"),
    [("idx", "train-labels-idx1-ubyte"), ("yolo", "data.yaml"), ("image_folder", "val/dog/1.png"), ("voc", "x.xml")],
)
def test_one_missing_file_hides_no_format(name: str, missing: str, tmp_path: Path) -> None:
    FOLDERS[name](tmp_path)
    lost = next((tmp_path / "Annotations").iterdir()) if missing == "x.xml" else tmp_path / missing
    lost.unlink()
    assert list(recognised(tmp_path)) == [name]
    assert any(isinstance(item, Fault) for item in plugins.load(KIND, name).read(tmp_path))


def test_two_formats_that_read_a_folder_are_both_named(tmp_path: Path) -> None:
    folders.image_folder(tmp_path)
    names = sorted(path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*.png"))
    (tmp_path / "labels.csv").write_text("\n".join(["file,label", *(f"{name},x" for name in names)]))
    assert sorted(recognised(tmp_path)) == ["csv", "image_folder"]


def test_of_several_tables_the_one_that_lists_images_is_named(tmp_path: Path) -> None:
    folders.csv(tmp_path)
    (tmp_path / "prices.csv").write_text("day,price\n1,2\n")
    assert recognised(tmp_path) == {"csv": {"table": "labels.csv"}}


def test_a_yaml_of_another_name_becomes_an_option(tmp_path: Path) -> None:
    folders.yolo(tmp_path)
    (tmp_path / "data.yaml").rename(tmp_path / "cats.yaml")
    assert recognised(tmp_path) == {"yolo": {"data": "cats.yaml"}}


def draw_masks(root: Path, colors: list[Any]) -> None:
    for path in (root / "masks").rglob("*.png"):
        ids = np.asarray(Image.open(path))
        Image.fromarray(np.array(colors, np.uint8)[ids]).save(path)


@pytest.mark.parametrize(
    ("colors", "options"),
    [
        ([0, 1, 2], {"classes": ["background", "class-1", "class-2"]}),
        ([0, 1, 255], {"classes": ["background", "class-1"]}),
        ([0, 0, 255], {"classes": ["background", "class-255"], "values": [0, 255]}),
        ([3, 7, 9], {"classes": ["class-3", "class-7", "class-9"], "values": [3, 7, 9]}),
        (
            [[0, 0, 0], [255, 0, 0], [0, 0, 9]],
            {
                "classes": ["background", "colour-000009", "colour-ff0000"],
                "values": [[0, 0, 0], [0, 0, 9], [255, 0, 0]],
            },
        ),
    ],
)
def test_masks_without_names_are_named_by_what_they_hold(
    colors: list[Any], options: dict[str, Any], tmp_path: Path
) -> None:
    folders.mask_png(tmp_path)
    draw_masks(tmp_path, colors)
    assert recognised(tmp_path) == {"mask_png": options}
    items = list(plugins.load(KIND, "mask_png").read(tmp_path, **options))
    assert not [item for item in items if isinstance(item, Fault)]


def test_folders_of_other_usual_names_become_options(tmp_path: Path) -> None:
    folders.mask_png(tmp_path)
    (tmp_path / "masks").rename(tmp_path / "labels")
    (tmp_path / "_classes.csv").write_text("Pixel Value, Class\n0, a\n1, b\n2, c\n")
    assert recognised(tmp_path) == {"mask_png": {"masks": "labels"}}


def test_many_values_are_no_classes(tmp_path: Path) -> None:
    folders.mask_png(tmp_path)
    for path in (tmp_path / "masks").rglob("*.png"):
        Image.fromarray(np.arange(folders.SIDE**2, dtype=np.uint8).reshape(folders.SIDE, -1)).save(path)
    assert recognised(tmp_path) == {"mask_png": {}}
