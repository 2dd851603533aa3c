"""Masks as people have them: levels, smoothed edges, objects' numbers, alpha, and the folders and tables of tools."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from pipeline.errors import UserError
from pipeline.prepare.formats.mask_png import read, recognise
from pipeline.prepare.formats.parts.doubt import Doubt
from pipeline.prepare.formats.parts.files import scan
from pipeline.sample import IGNORE, Classes, Fault, Sample
from tests.helpers.folders import SIDE, picture

Mask = NDArray[Any]


def squares(*values: int) -> Mask:
    """A mask of 0 with a square of each value."""
    mask = np.zeros((SIDE, SIDE), np.uint16 if max(values) > IGNORE else np.uint8)
    for number, value in enumerate(values):
        mask[2 + 6 * number : 7 + 6 * number, 4:20] = value
    return mask


def colored(mask: Mask, colors: dict[int, tuple[int, ...]]) -> Mask:
    pixels = np.zeros((*mask.shape, len(next(iter(colors.values())))), np.uint8)
    for value, color in colors.items():
        pixels[mask == value] = color
    return pixels


def smoothed(mask: Mask) -> Mask:
    size = (SIDE, SIDE)
    wide = Image.fromarray(mask).resize((2 * SIDE, 2 * SIDE), Image.Resampling.BICUBIC)
    return np.asarray(wide.resize(size, Image.Resampling.BICUBIC))


def lay(
    root: Path,
    draw: Callable[[int], Mask],
    image: str = "images/{}.png",
    mask: str = "masks/{}.png",
    count: int = 6,
    **save: Any,
) -> None:
    """Images and masks at these paths, where {} is the number that `draw` gets."""
    for number in range(count):
        picture(root / image.format(number), number)
        path = root / mask.format(number)
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(draw(number)).save(path, **save)


def listing(root: Path, **options: Any) -> tuple[tuple[str, ...], list[Sample], list[Fault]]:
    classes, *items = read(root, **options)
    assert isinstance(classes, Classes)
    samples = [item for item in items if isinstance(item, Sample)]
    return classes.semantic, samples, [item for item in items if isinstance(item, Fault)]


def ids(samples: list[Sample]) -> set[int]:
    return {int(value) for sample in samples if sample.semantic is not None for value in np.unique(sample.semantic)}


def options_of(root: Path) -> dict[str, Any]:
    options = recognise(scan(root))
    assert isinstance(options, dict)
    return options


@pytest.mark.parametrize(
    ("values", "classes", "levels"),
    [
        ((127, 255), ["background", "class-127", "class-255"], [0, 127, 255]),
        ((85, 170, 255), ["background", "class-85", "class-170", "class-255"], [0, 85, 170, 255]),
        ((64, 128), ["background", "class-64", "class-128"], [0, 64, 128]),
        ((1, 255), ["background", "class-1"], None),
        ((15, 20, 255), ["background", "class-15", "class-20"], [0, 15, 20]),
        ((65_535,), ["background", "class-65535"], [0, 65_535]),
    ],
)
def test_255_is_a_class_unless_the_others_are_small_ids(
    values: tuple[int, ...], classes: list[str], levels: list[int] | None, tmp_path: Path
) -> None:
    lay(tmp_path, lambda _: squares(*values))
    options = options_of(tmp_path)
    assert options == {"classes": classes} | ({"values": levels} if levels else {})
    _, samples, faults = listing(tmp_path, **options)
    assert faults == []
    assert ids(samples) - {IGNORE} == set(range(len(classes)))


def test_levels_that_are_ignored_though_they_could_be_a_class_are_reported(tmp_path: Path) -> None:
    lay(tmp_path, lambda _: squares(127, 255))
    (warning,) = listing(tmp_path, classes=["ground", "bolt"], values=[0, 127])[2]
    assert "6 masks have pixels that are of 255" in warning.reason
    assert listing(tmp_path, classes=["ground", "bolt"], values=[0, 127], ignore_others=True)[2] == []


def test_smoothed_edges_are_no_classes_and_a_threshold_reads_them(tmp_path: Path) -> None:
    lay(tmp_path, lambda number: smoothed(squares(255, 255) if number % 2 else squares(255)))
    answer = recognise(scan(tmp_path))
    assert isinstance(answer, Doubt)
    assert answer.options is not None
    assert "threshold: 128" in answer.reason
    names, samples, faults = listing(tmp_path, **answer.options)
    assert (names, faults, ids(samples)) == (("background", "object"), [], {0, 1})
    assert samples[0].semantic is not None
    np.testing.assert_array_equal(samples[0].semantic, squares(1))
    for wrong in ({"threshold": "half"}, {"threshold": 128, "classes": ["a"]}, {"threshold": 1, "values": [0, 1]}):
        with pytest.raises(UserError, match="threshold"):
            listing(tmp_path, **wrong)


def test_smoothed_edges_of_several_classes(tmp_path: Path) -> None:
    mask = np.zeros((SIDE, SIDE), np.uint8)
    mask[2:14, 4:24], mask[18:30, 4:24] = 120, 255
    lay(tmp_path, lambda _: smoothed(mask))
    answer = recognise(scan(tmp_path))
    assert isinstance(answer, Doubt)
    assert answer.options is not None
    assert answer.options["values"] == [0, 120, 255]
    assert answer.options["ignore_others"] is True


def test_jpeg_masks_are_refused_at_once_and_read_by_a_threshold(tmp_path: Path) -> None:
    lay(tmp_path, lambda _: squares(255), mask="masks/{}.jpg")
    options = options_of(tmp_path)
    with pytest.raises(UserError, match=r"masks/0\.jpg: JPEG changes values.*threshold: 128"):
        listing(tmp_path, **options)
    _, samples, faults = listing(tmp_path, **options, threshold=128)
    assert faults == []
    assert samples[0].semantic is not None
    np.testing.assert_array_equal(samples[0].semantic, squares(1))


def test_a_jpeg_saved_again_as_png(tmp_path: Path) -> None:
    lay(tmp_path, lambda _: squares(255, 255), mask="jpeg/{}.jpg", quality=40)
    for number in range(6):
        (tmp_path / "masks").mkdir(exist_ok=True)
        Image.open(tmp_path / f"jpeg/{number}.jpg").save(tmp_path / f"masks/{number}.png")
        (tmp_path / f"jpeg/{number}.jpg").unlink()
    answer = recognise(scan(tmp_path))
    assert isinstance(answer, Doubt)
    assert answer.options == {"threshold": 128}


@pytest.mark.parametrize(
    "draw", [lambda number: squares(300 + number, 7), lambda number: squares(*range(1, 2 + number % 5))]
)
def test_numbers_of_objects_are_no_classes(draw: Callable[[int], Mask], tmp_path: Path) -> None:
    lay(tmp_path, draw)
    assert recognise(scan(tmp_path)) == {}
    with pytest.raises(UserError, match=r"numbers of single objects.*Export class ids"):
        listing(tmp_path)
    values = [0, *range(1, 8), *range(300, 306)]
    names = [f"class-{value}" for value in values]
    assert [fault.reason for fault in listing(tmp_path, classes=names, values=values)[2]] == []


def test_what_alpha_alone_says_is_refused(tmp_path: Path) -> None:
    lay(tmp_path, lambda _: colored(squares(1), {0: (0, 0, 0, 0), 1: (0, 0, 0, 255)}))
    faults = listing(tmp_path, classes=["ground", "bolt"])[2]
    assert len(faults) == 6
    assert all("[0, 0, 0] is opaque" in fault.reason for fault in faults)


def test_transparent_ground_is_no_matter(tmp_path: Path) -> None:
    lay(tmp_path, lambda _: colored(squares(1), {0: (0, 0, 0, 0), 1: (250, 50, 83, 255)}))
    options = options_of(tmp_path)
    assert options["values"] == [[0, 0, 0], [250, 50, 83]]
    _, samples, faults = listing(tmp_path, **options)
    assert (faults, ids(samples)) == ([], {0, 1})


def test_fractions_are_no_ids(tmp_path: Path) -> None:
    lay(tmp_path, lambda _: squares(1).astype(np.float32) / 2, mask="masks/{}.tif")
    assert all("fractions" in fault.reason for fault in listing(tmp_path, classes=["ground", "bolt"])[2])
    _, samples, faults = listing(tmp_path, threshold=0.5)
    assert (faults, ids(samples)) == ([], {0, 1})


@pytest.mark.parametrize(
    ("image", "mask", "options"),
    [
        ("img_dir/train/{}.jpg", "ann_dir/train/{}.png", {"images": "img_dir", "masks": "ann_dir"}),
        ("train/{}.png", "trainannot/{}.png", {"masks": "*annot"}),
        ("train/{}.png", "train_labels/{}_L.png", {"masks": "*_labels", "mask_ending": "_L"}),
        ("train/{}.jpg", "train_masks/{}_mask.gif", {"masks": "*_masks"}),
        ("training/image_2/{}.png", "training/semantic/{}.png", {"images": "image_2", "masks": "semantic"}),
    ],
)
def test_folders_of_common_data_sets(image: str, mask: str, options: dict[str, str], tmp_path: Path) -> None:
    lay(tmp_path, lambda _: squares(1, 2), image, mask)
    answer = options_of(tmp_path)
    assert answer == {**options, "classes": ["background", "class-1", "class-2"]}
    _, samples, faults = listing(tmp_path, **answer)
    assert (faults, len(samples), {sample.split for sample in samples}) == ([], 6, {"train"})


def test_camvid_s_three_splits(tmp_path: Path) -> None:
    for split in ("train", "val", "test"):
        lay(tmp_path, lambda _: squares(1, 2), f"{split}/{split}{{}}.png", f"{split}annot/{split}{{}}.png", 2)
    _, samples, faults = listing(tmp_path, **options_of(tmp_path))
    assert faults == []
    assert [sample.split for sample in samples] == ["test"] * 2 + ["train"] * 2 + ["val"] * 2


COLORS: dict[int, tuple[int, ...]] = {0: (0, 0, 0), 1: (250, 50, 83)}


def cvat(root: Path) -> None:
    """CVAT's "Segmentation mask 1.1": colors, single objects beside them, and a table of names."""
    for folder in ("SegmentationClass", "SegmentationObject"):
        lay(root, lambda _: colored(squares(1), COLORS), "JPEGImages/{}.jpg", f"{folder}/{{}}.png")
    table = "# label:color_rgb:parts:actions\nbackground:0,0,0::\nbolt:250,50,83::\nnut:1,2,3::\n"
    (root / "labelmap.txt").write_text(table)
    (root / "ImageSets/Segmentation").mkdir(parents=True)
    (root / "ImageSets/Segmentation/default.txt").write_text("\n".join(map(str, range(6))))


def test_cvat_s_segmentation_mask(tmp_path: Path) -> None:
    cvat(tmp_path)
    options = options_of(tmp_path)
    assert options == {"images": "JPEGImages", "masks": "SegmentationClass"}
    names, samples, faults = listing(tmp_path, **options)
    assert names == ("background", "bolt", "nut")
    assert [fault for fault in faults if not fault.warning] == []
    assert (len(samples), ids(samples)) == (6, {0, 1})
    (tmp_path / "labelmap.txt").write_text("bolt:red::\n")
    with pytest.raises(UserError, match=r"labelmap\.txt"):
        listing(tmp_path, **options)


def test_cvat_s_lists_give_the_splits(tmp_path: Path) -> None:
    cvat(tmp_path)
    folder = tmp_path / "ImageSets/Segmentation"
    (folder / "default.txt").unlink()
    for name, numbers in {"Train": (0, 1, 2), "Validation": (3,), "Test": (4, 5)}.items():
        (folder / f"{name}.txt").write_text("\n".join(map(str, numbers)))
    options = options_of(tmp_path)
    assert options["lists"] == "Segmentation"
    assert [sample.split for sample in listing(tmp_path, **options)[1]] == ["train"] * 3 + ["val"] + ["test"] * 2


@pytest.mark.parametrize(
    ("file", "text", "colors"),
    [
        ("class_dict.csv", "name,r,g,b\nground,0,0,0\nbolt,250,50,83\n", COLORS),
        ("label_colors.txt", "0 0 0\t\tground\n250 50 83\tbolt\n", COLORS),
        ("class_names.txt", "__ignore__\nground\nbolt\n", None),
    ],
)
def test_tables_of_names(file: str, text: str, colors: dict[int, tuple[int, ...]] | None, tmp_path: Path) -> None:
    lay(tmp_path, lambda _: colored(squares(1), colors) if colors else squares(1))
    (tmp_path / file).write_text(text)
    assert options_of(tmp_path) == {}
    names, samples, faults = listing(tmp_path)
    assert (names, faults, ids(samples)) == (("ground", "bolt"), [], {0, 1})


def test_voc_s_border_in_color_is_ignored_and_another_dataset_s_is_a_class(tmp_path: Path) -> None:
    for folder, bolt in (("voc", (128, 0, 0)), ("own", (200, 10, 10))):
        colors = {0: (0, 0, 0), 1: bolt, 2: (224, 224, 192)}
        lay(tmp_path / folder, lambda _, colors=colors: colored(squares(1, 2), colors))  # type: ignore[misc]
    own, voc = (options_of(tmp_path / folder) for folder in ("own", "voc"))
    assert (len(own["classes"]), len(voc["classes"])) == (3, 2)
    assert voc["ignore"] == [224, 224, 192]
    assert ids(listing(tmp_path / "voc", **voc)[1]) == {0, 1, IGNORE}


def test_images_without_a_mask_are_background_by_an_option(tmp_path: Path) -> None:
    lay(tmp_path, lambda _: squares(1))
    for number in (10, 11):
        picture(tmp_path / f"images/{number}.png", number)
    (tmp_path / "Lists").mkdir()
    (tmp_path / "Lists/train.txt").write_text("0\n1\n10\n")
    faults = [fault for fault in listing(tmp_path, classes=["ground", "bolt"])[2] if not fault.warning]
    assert len(faults) == 2
    assert all("without_mask" in fault.reason for fault in faults)
    _, samples, faults = listing(tmp_path, classes=["ground", "bolt"], without_mask="ground")
    assert [fault for fault in faults if not fault.warning] == []
    assert (len(samples), ids(samples[6:])) == (8, {0})
    _, samples, faults = listing(tmp_path, classes=["ground", "bolt"], without_mask="ground", lists="Lists")
    assert [fault for fault in faults if not fault.warning] == []
    assert [(sample.id, sample.split) for sample in samples] == [
        (f"images/{number}.png", "train") for number in (0, 1, 10)
    ]
    with pytest.raises(UserError, match="without_mask: 'sky'"):
        listing(tmp_path, classes=["ground", "bolt"], without_mask="sky")


def test_masks_named_after_tasks_are_nobody_s(tmp_path: Path) -> None:
    lay(tmp_path, lambda _: squares(255), mask="masks/task-{}-annotation-1-by-1-tag-bolt-0.png")
    assert recognise(scan(tmp_path)) is None
