"""Published data sets as they are found, with their thousands of objects and their real faults.

The repository does not hold them: `CONVLINE_SETS=FOLDER pytest -m large` reads those that lie in FOLDER.
What every format does with real pictures is tested without them, in test_small_data.py.
"""

import os
from pathlib import Path
from typing import Any

import pytest

from pipeline.params import Dataset, Params
from pipeline.prepare import stage
from pipeline.prepare.formats import idx, mask_png
from pipeline.sample import Classes, Facts, Sample, facts
from pipeline.shards import split

pytestmark = pytest.mark.large


def folder(name: str) -> Path:
    return Path(os.environ["CONVLINE_SETS"]) / name


def prepared(name: str, root: Path, **settings: Any) -> tuple[Path, Facts]:
    (root / "raw").symlink_to(folder(name))
    stage.run(Params(datasets={name: Dataset(path="raw", **settings)}, jobs={}), root)
    path = root / "data/prepared" / name
    return path, facts(path)


def objects(path: Path) -> int:
    return sum(len(labels) for labels in split(path, "train").column("labels"))


def test_bccd_has_two_boxes_without_area(tmp_path: Path) -> None:
    path, of_set = prepared("bccd", tmp_path, format="voc", on_bad="skip")
    assert of_set.classes == ("Platelets", "RBC", "WBC")
    assert of_set.counts == {"train": 204, "val": 86, "test": 72}
    assert [note.split(":")[0] for note in of_set.skipped] == [
        f"raw/Annotations/BloodImage_{number}.xml" for number in ("00338", "00343")
    ]
    assert not any(any(difficult) for difficult in split(path, "train").column("difficult"))


def test_mushrooms_has_thousands_of_masks(tmp_path: Path) -> None:
    path, of_set = prepared("mushrooms", tmp_path, format="coco")
    assert (of_set.classes, of_set.fields) == (("Mushroom",), ("boxes", "labels", "masks", "crowd"))
    assert of_set.counts == {"train": 78, "val": 6, "test": 3}
    assert objects(path) == 10_335
    assert of_set.skipped == ()


def test_milk_jug_names_folders_of_another_machine(tmp_path: Path) -> None:
    path, of_set = prepared("milk-jug", tmp_path, format="yolo")
    assert (of_set.classes, of_set.fields) == (("milk-jug",), ("boxes", "labels"))
    assert of_set.counts == {"train": 200, "val": 38, "test": 18}
    assert objects(path) == 872


def test_lums_road_names_its_classes() -> None:
    items = mask_png.read(folder("lums-road"))
    assert next(items) == Classes(semantic=("background", "obstacle", "road", "sidewalk", "speedbreaker"))
    first = next(item for item in items if isinstance(item, Sample))
    assert first.semantic is not None
    assert (first.split, first.semantic.shape) == ("test", (640, 640))


def test_fashion_mnist_begins_with_an_ankle_boot() -> None:
    items = idx.read(folder("fashion-mnist"))
    first = next(item for item in items if isinstance(item, Sample) and item.split == "test")
    assert (first.id, first.label, first.pixels.shape) == ("t10k/00000", 9, (28, 28, 3))
