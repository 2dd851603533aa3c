"""COCO json: what is read in either layout, and what is refused by file, entry and field."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from pipeline.errors import UserError
from pipeline.geometry import rle
from pipeline.images import decode
from pipeline.params import Dataset, Params
from pipeline.prepare.formats.coco import read, recognise
from pipeline.prepare.formats.parts.files import scan
from pipeline.prepare.stage import run
from pipeline.sample import IGNORE, Classes, Fault, Sample, facts
from pipeline.shards import split

SQUARE = [2, 1, 6, 1, 6, 4, 2, 4]
Json = dict[str, Any]


def picture(root: Path, name: str, width: int = 9, height: int = 8) -> None:
    (root / name).parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(len(name)).integers(0, 256, (height, width, 3), np.uint8)).save(root / name)


def content(**changes: Any) -> Json:
    """Two images, three annotations of two classes."""
    things = [
        {"id": 1, "image_id": 1, "category_id": 1, "bbox": [2, 1, 4, 3], "segmentation": [SQUARE], "iscrowd": 0},
        {"id": 2, "image_id": 1, "category_id": 7, "bbox": [0, 0, 9, 8], "iscrowd": 1},
        {"id": 3, "image_id": 1, "category_id": 7, "bbox": [0, 0, 9, 8]},
    ]
    things[1]["segmentation"] = {"counts": [0, 72], "size": [8, 9]}
    things[2]["segmentation"] = {"counts": "0X2", "size": [8, 9]}
    return {
        "images": [{"id": 1, "file_name": "a.png", "width": 9, "height": 8}, {"id": 2, "file_name": "b.png"}],
        "categories": [{"id": 7, "name": "dog"}, {"id": 1, "name": "cat"}],
        "annotations": things,
        **changes,
    }


def lay(root: Path, value: Json | str, name: str = "annotations/all.json") -> None:
    for image in ("a.png", "b.png"):
        picture(root, f"images/{image}")
    (root / name).parent.mkdir(parents=True, exist_ok=True)
    (root / name).write_text(value if isinstance(value, str) else json.dumps(value), encoding="utf-8")


def listing(root: Path, **options: Any) -> tuple[Classes, list[Sample], list[Fault]]:
    classes, *items = read(root, **options)
    assert isinstance(classes, Classes)
    return classes, [item for item in items if isinstance(item, Sample)], [i for i in items if isinstance(i, Fault)]


def test_label_maps_of_masks(tmp_path: Path) -> None:
    """A cat on a dog is void, a second dog on it is dog, and what nobody drew is background."""
    lay(tmp_path, content())
    classes, samples, _ = listing(tmp_path, semantic=True)
    assert (classes.names, classes.semantic) == (("cat", "dog"), ("background", "cat", "dog"))
    first, second = (item.semantic for item in samples)
    expected = np.full((8, 9), 2)
    expected[1:4, 2:6] = IGNORE
    np.testing.assert_array_equal(first, expected)
    assert second is not None
    assert not second.any()
    lay(tmp_path, content(annotations=content()["annotations"][:1]))
    cat = listing(tmp_path, semantic=True)[1][0].semantic
    np.testing.assert_array_equal(cat, np.where(expected == IGNORE, 1, 0))
    assert listing(tmp_path)[0].semantic == ()
    with pytest.raises(UserError, match=r"option semantic: .*found 2 classes and no masks"):
        listing(tmp_path, semantic=True, masks=False)


def test_boxes_masks_and_crowds(tmp_path: Path) -> None:
    lay(tmp_path, content())
    classes, samples, faults = listing(tmp_path)
    assert classes.names == ("cat", "dog")
    first, second = samples
    assert (first.id, first.size, first.split) == ("images/a.png", (8, 9), None)
    assert first.boxes is not None
    assert first.boxes.tolist() == [[2, 1, 6, 4], [0, 0, 9, 8], [0, 0, 9, 8]]
    assert first.labels is not None
    assert first.labels.tolist() == [0, 1, 1]
    assert first.crowd is not None
    assert first.crowd.tolist() == [False, True, False]
    assert first.masks is not None
    assert [rle.area(mask, (8, 9)) for mask in first.masks] == [12, 72, 72]
    assert second.boxes is not None
    assert (second.boxes.shape, second.masks) == ((0, 4), [])
    assert [str(fault) for fault in faults] == [
        "annotations/all.json: 1 image without annotations, kept without objects"
    ]


def test_boxes_alone(tmp_path: Path) -> None:
    value = content()
    del value["annotations"][0]["segmentation"]
    lay(tmp_path, value)
    assert "masks: false" in str(listing(tmp_path)[2][-1])
    _, samples, faults = listing(tmp_path, masks=False)
    assert [sample.masks for sample in samples] == [None, None]
    assert all(fault.warning for fault in faults)


def test_splits_of_roboflow(tmp_path: Path) -> None:
    for folder in ("train", "valid", "test"):
        head = [{"id": 0, "name": "animals", "supercategory": "none"}]
        categories = [*head, {"id": 1, "name": "cat", "supercategory": "animals"}, {"id": 7, "name": "dog"}]
        lay(tmp_path, content(categories=categories), f"{folder}/_annotations.coco.json")
        for image in ("a.png", "b.png"):
            picture(tmp_path, f"{folder}/{image}")
    classes, samples, faults = listing(tmp_path)
    assert classes.names == ("cat", "dog")
    assert [(sample.id, sample.split) for sample in samples[::2]] == [
        ("test/a.png", "test"),
        ("train/a.png", "train"),
        ("valid/a.png", "val"),
    ]
    assert re.search(r"\b2 images\b.*images/a\.png", str(faults[-1]))


def test_coco_s_own_layout(tmp_path: Path) -> None:
    for part in ("train", "val"):
        lay(tmp_path, content(), f"annotations/instances_{part}2017.json")
        for image in ("a.png", "b.png"):
            picture(tmp_path, f"pictures/{part}2017/{image}")
    (tmp_path / "annotations/captions_train2017.json").write_text("{}")
    _, samples, _ = listing(tmp_path)
    assert [(sample.id, sample.split) for sample in samples[1:3]] == [
        ("pictures/train2017/b.png", "train"),
        ("pictures/val2017/a.png", "val"),
    ]
    _, samples, _ = listing(tmp_path, annotations="*val2017.json", images="pictures/train2017")
    assert [sample.id for sample in samples] == ["pictures/train2017/a.png", "pictures/train2017/b.png"]
    assert "captions" in str(listing(tmp_path, annotations=["*.json"])[2][0])
    with pytest.raises(UserError, match="matches no json file"):
        list(read(tmp_path, annotations="nothing.json"))


ANNOTATION = content()["annotations"][0]


def thing(**changes: Any) -> Json:
    return content(annotations=[{**ANNOTATION, **changes}])


def pose(keypoints: Any, *names: list[str]) -> Json:
    """One cat, whose points are named; one list of names a category."""
    ears = list(names) or [["left_ear", "right_ear"], []]
    categories = zip(({"id": 1, "name": "cat"}, {"id": 7, "name": "dog"}), ears, strict=True)
    named = [{**category, **({"keypoints": given} if given else {})} for category, given in categories]
    return thing(keypoints=keypoints) | {"categories": named}


REFUSED: dict[str, tuple[Json | str, str]] = {
    "no json": ("{", r"all\.json: no valid JSON"),
    "key twice": (
        '{"images": [{"id": 4, "id": 5}]}',
        r"key 'id' is given twice in one object \(in the entry with id 5",
    ),
    "no list": ({"images": []}, "has no list 'categories'"),
    "deep": ("[" * 100_000, "nested too deeply"),
    "ids": (content(images=[{"file_name": "a.png"}]), "entry 0 of 'images': id None"),
    "image twice": (
        content(images=[{"id": 1, "file_name": "a.png"}, {"id": 1, "file_name": "b.png"}]),
        "'a.png' and 'b.png'",
    ),
    "no such image": (thing(image_id=9), "image_id 9"),
    "no such category": (thing(category_id="x"), "category_id 'x'"),
    "no category": (thing(category_id=None), "none of the 1 annotations has a category_id"),
    "traversal": (content(images=[{"id": 1, "file_name": "../../etc/x.png"}]), r"etc/x\.png'\): names no image"),
    "absolute": (content(images=[{"id": 1, "file_name": "/etc/x.png"}]), r"'/etc/x\.png'\): names no image"),
    "missing file": (
        content(images=[{"id": 1, "file_name": "c.png"}]),
        r"image 1 \(file_name 'c.png'\): names no image",
    ),
    "no name": (content(images=[{"id": 1, "file_name": None}]), "image 1: file_name None is not a path"),
    "one file twice": (
        content(images=[{"id": 1, "file_name": "a.png"}, {"id": 2, "file_name": "/home/me/a.png"}]),
        r"images 1 and 2 \(images/a.png\): two entries",
    ),
    "no annotation": (content(annotations=[]), r"all\.json: 2 images, but not one annotation"),
    "text for numbers": (thing(bbox=["1", "2", "wide", "3"]), r"bbox .*'wide'.* finite"),
    "rotated": (thing(bbox=[5, 4, 3, 2, 30]), "rotated boxes are not supported"),
    "rotated by CVAT": (thing(attributes={"occluded": False, "rotation": 30.0}), "rotated boxes are not supported"),
    "size": (
        content(images=[{"id": 1, "file_name": "a.png", "width": 10**6, "height": 10**6}]),
        "not a valid image size",
    ),
    "nan": (thing(bbox=[0, 0, float("nan"), 3]), r"annotation 1 \(images/a.png\): bbox .*nan.* finite"),
    "short box": (thing(bbox=[0, 0, 3]), "not four finite numbers"),
    "inverted box": (thing(bbox=[6, 4, -4, -3]), r"bbox \[6, 4, -4, -3\] has no area"),
    "empty box": (thing(bbox=[2, 2, 0, 3]), r"bbox \[2, 2, 0, 3\] has no area"),
    "crowd": (thing(iscrowd="yes"), "iscrowd 'yes'"),
    "polygon": (thing(segmentation=[[1, 2, 3, 4]]), "segmentation: polygon 0 has 4 numbers.*`masks: false`"),
    "polygon's nan": (thing(segmentation=[[1, 2, 3, 4, 5, float("inf")]]), "finite numbers"),
    "run of less than nothing": (thing(segmentation={"counts": [8, -1, 65], "size": [8, 9]}), "not an integer from 0"),
    "run lengths": (thing(segmentation={"counts": "04", "size": [8, 9]}), "cover 4 pixels, not 9×8"),
    "names of points": (content(categories=[{"id": 1, "name": "cat", "keypoints": ["a", "a"]}]), "different names"),
    "few points": (pose([1, 1, 2]), r"annotation 1 \(images/a.png\): keypoints .* 2 keypoints. Give 6 numbers"),
    "visibility": (pose([1, 1, 2, 3, 3, 4]), "visibility 4 is not 0, 1 or 2"),
    "points' nan": (pose([1, 1, 2, 3, float("nan"), 2]), "keypoints .*nan.* are not x, y and visibility"),
    "their size": (thing(segmentation={"counts": "0X2", "size": [9, 8]}), r"size \[9, 8\]"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused(name: str, tmp_path: Path) -> None:
    value, reason = REFUSED[name]
    lay(tmp_path, value)
    _, samples, faults = listing(tmp_path)
    told = [str(fault) for fault in faults if not fault.warning]
    with pytest.raises(AssertionError, match=reason):
        raise AssertionError("\n".join(told))
    assert "images/a.png" not in {sample.id for sample in samples} or any(fault.blocks for fault in faults)


def test_keypoints(tmp_path: Path) -> None:
    """A thing that is given none has none that is labelled; so have those of a category without."""
    value = pose([2, 1, 2, 5.5, 3, 1])
    value["annotations"] += [{**ANNOTATION, "id": 2}, {**ANNOTATION, "id": 3, "category_id": 7, "keypoints": [0] * 6}]
    lay(tmp_path, value)
    classes, (first, second), _ = listing(tmp_path)
    assert classes.keypoints == ("left_ear", "right_ear")
    assert first.keypoints is not None
    assert first.keypoints.tolist() == [[[2, 1, 2], [5.5, 3, 1]], [[0] * 3] * 2, [[0] * 3] * 2]
    assert second.keypoints is not None
    assert second.keypoints.shape == (0, 2, 3)
    classes, (first, _), _ = listing(tmp_path, keypoints=False)
    assert (classes.keypoints, first.keypoints) == ((), None)
    value["annotations"] = value["annotations"][1:2]
    lay(tmp_path, value)
    assert listing(tmp_path)[0].keypoints == ()  # names alone are no annotation


@pytest.mark.parametrize(
    ("names", "told"),
    [
        (([], []), "found no category"),
        ((["a", "b"], ["b", "a"]), r"category 1 \(a, b\) and .*category 7 \(b, a\)"),
    ],
)
def test_categories_must_name_keypoints_alike(names: Any, told: str, tmp_path: Path) -> None:
    lay(tmp_path, pose([2, 1, 2, 5, 3, 1], *names))
    with pytest.raises(UserError, match=f"{told}.*keypoints: false"):
        listing(tmp_path)
    assert listing(tmp_path, keypoints=False)[1]


def test_prepared_keypoints_have_their_names_and_the_size_of_the_image(tmp_path: Path) -> None:
    images = [{"id": number, "file_name": f"{number}.png"} for number in range(9)]
    things = [{**ANNOTATION, "id": number, "image_id": number, "keypoints": [4, 2, 2, 8, 6, 1]} for number in range(9)]
    lay(tmp_path / "data/raw/mine", pose(None) | {"images": images, "annotations": things})
    for number in range(9):
        picture(tmp_path / "data/raw/mine", f"images/{number}.png", 80 + number, 80)
    settings = Dataset(format="coco", path="data/raw/mine", max_side=40, options={"masks": False})
    run(Params(datasets={"mine": settings}, jobs={}), tmp_path)
    path = tmp_path / "data/prepared/mine"
    known, item = facts(path), split(path, "train")[0]
    assert (known.keypoints, "keypoints" in known.fields) == (("left_ear", "right_ear"), True)
    assert item.keypoints is not None
    assert item.size is not None
    height, width = item.pixels.shape[:2]
    expected = np.array([[4, 2, 2], [8, 6, 1]]) * [width / item.size[1], height / item.size[0], 1]
    np.testing.assert_allclose(item.keypoints[0], expected, rtol=1e-6)
    assert max(height, width) == 40


def test_one_name_in_two_folders(tmp_path: Path) -> None:
    lay(tmp_path, content())
    picture(tmp_path, "more/a.png")
    assert "could be images/a.png or more/a.png" in "\n".join(map(str, listing(tmp_path)[2]))
    assert len(listing(tmp_path, images="images")[1]) == 2


def test_a_flat_polygon_and_a_name_twice_are_accepted(tmp_path: Path) -> None:
    value = thing(segmentation=SQUARE)
    value["categories"].append({"id": 8, "name": "cat"})
    lay(tmp_path, value)
    classes, samples, faults = listing(tmp_path)
    assert classes.names == ("cat", "dog")
    assert samples[0].masks == [rle.encode(rle.from_polygons([SQUARE], 8, 9))]
    assert "categories 1 and 8 are both called 'cat'" in str(faults[0])


@pytest.mark.parametrize(
    ("taken", "classes"), [((1, 7), ("cat", "dog")), ((0, 1), ("animals", "cat", "dog"))], ids=["unused", "used"]
)
def test_a_category_0_that_only_heads_others_is_no_class(
    taken: tuple[int, int], classes: tuple[str, ...], tmp_path: Path
) -> None:
    things = [{**ANNOTATION, "id": number, "category_id": category} for number, category in enumerate(taken)]
    others = [{"id": 7, "name": "dog", "supercategory": "animals"}, {"id": 1, "name": "cat"}]
    lay(tmp_path, content(categories=[{"id": 0, "name": "animals"}, *others], annotations=things))
    found, samples, _ = listing(tmp_path)
    assert found.names == classes
    assert samples[0].labels is not None
    assert samples[0].labels.tolist() == ([0, 1])


def test_equal_shapes_in_every_way_of_writing_are_equal_masks(tmp_path: Path) -> None:
    """A polygon, its compressed run lengths and its plain ones, of things and of a crowd."""
    encoded = rle.encode_polygons([SQUARE], 8, 9)
    inside = rle.decode(encoded, 8, 9).T.ravel()
    turns = np.flatnonzero(np.diff(inside.astype(int))) + 1
    plain = np.diff([0, *turns, inside.size]).tolist()
    ways: list[Any] = [[SQUARE], {"counts": encoded.decode(), "size": [8, 9]}, {"counts": plain, "size": [8, 9]}]
    things = [
        {**ANNOTATION, "id": number, "bbox": [number, 1, 4, 3], "segmentation": way, "iscrowd": number % 2}
        for number, way in enumerate(ways * 2)
    ]
    lay(tmp_path, content(annotations=things))
    first = listing(tmp_path)[1][0]
    assert first.masks == [encoded] * 6
    assert first.crowd is not None
    assert first.crowd.tolist() == [False, True] * 3


def test_prepare_compares_the_size_with_the_file(tmp_path: Path) -> None:
    lay(tmp_path / "data/raw/mine", content(images=[{"id": 1, "file_name": "a.png", "width": 8, "height": 9}]))
    settings = Dataset(format="coco", path="data/raw/mine", options={"masks": False})
    with pytest.raises(UserError, match=r"images/a\.png: .*8×9.* 9×8"):
        run(Params(datasets={"mine": settings}, jobs={}), tmp_path)


def told(faults: list[Fault], *, warning: bool = False) -> str:
    return "\n".join(str(fault) for fault in faults if fault.warning == warning)


def boxes_of(items: list[Sample]) -> list[Any]:
    return [[] if item.boxes is None else item.boxes.tolist() for item in items]


def as_text(value: Any) -> Any:
    """Every number as text, as some tools write them."""
    if isinstance(value, dict):
        return {name: as_text(item) for name, item in value.items()}
    if isinstance(value, list):
        return [as_text(item) for item in value]
    return str(float(value)) if type(value) in {int, float} else value


def as_floats(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: as_floats(item) for name, item in value.items()}
    if isinstance(value, list):
        return [as_floats(item) for item in value]
    return float(value) if type(value) is int else value


@pytest.mark.parametrize("write", [as_text, as_floats])
def test_numbers_are_read_as_tools_write_them(write: Any, tmp_path: Path) -> None:
    plain, written = tmp_path / "plain", tmp_path / "written"
    lay(plain, pose([2, 1, 2, 5.5, 3, 1]) | {"annotations": pose([2, 1, 2, 5.5, 3, 1])["annotations"]})
    lay(written, write(pose([2, 1, 2, 5.5, 3, 1])))
    (_, wanted, _), (classes, samples, faults) = listing(plain), listing(written)
    assert classes.names == ("cat", "dog")
    assert not told(faults)
    for one, other in zip(wanted, samples, strict=True):
        assert (one.id, one.size, one.masks) == (other.id, other.size, other.masks)
        for name in ("boxes", "labels", "crowd", "keypoints"):
            np.testing.assert_array_equal(getattr(one, name), getattr(other, name))


def test_an_id_as_text_is_the_number_but_leading_zeros_count(tmp_path: Path) -> None:
    images = [{"id": 1, "file_name": "a.png"}, {"id": "01", "file_name": "b.png"}]
    objects = [{**ANNOTATION, "image_id": "1"}, {**ANNOTATION, "image_id": "01", "bbox": [0, 0, 2, 2]}]
    lay(tmp_path, content(images=images, annotations=objects))
    assert boxes_of(listing(tmp_path)[1]) == [[[2, 1, 6, 4]], [[0, 0, 2, 2]]]


def test_ids_of_annotations_are_not_needed(tmp_path: Path) -> None:
    without = {name: value for name, value in ANNOTATION.items() if name != "id"}
    lay(tmp_path, content(annotations=[without, {**without, "image_id": 2}]))
    assert len(listing(tmp_path)[1]) == 2
    lay(tmp_path, content(annotations=[ANNOTATION, {**ANNOTATION, "image_id": 2}]))
    _, samples, faults = listing(tmp_path)
    assert boxes_of(samples) == [[[2, 1, 6, 4]]] * 2
    assert "1 annotations have the id of another" in told(faults, warning=True)


@pytest.mark.parametrize("size", [(-1, -1), (0, 0), (None, 9), ("8.0", 9.0)])
def test_a_size_that_the_tool_did_not_know_is_that_of_the_file(size: tuple[Any, Any], tmp_path: Path) -> None:
    height, width = size
    lay(tmp_path, content(images=[{"id": 1, "file_name": "a.png", "width": width, "height": height}]))
    assert [sample.size for sample in listing(tmp_path)[1]] == [(8, 9)]


def test_a_missing_box_is_that_of_its_polygons(tmp_path: Path) -> None:
    lay(tmp_path, thing(bbox=[]))
    assert boxes_of(listing(tmp_path)[1])[0] == [[2, 1, 6, 4]]


def corner_set(root: Path, corners: list[tuple[int, int, int, int]], **options: Any) -> tuple[list[Any], list[Fault]]:
    """What is read of boxes that are written as corners, one an image of 9×8 pixels."""
    images = [{"id": number, "file_name": f"{number}.png"} for number in range(len(corners))]
    objects = [{"id": n, "image_id": n, "category_id": 1, "bbox": list(box)} for n, box in enumerate(corners)]
    lay(root, content(images=images, annotations=objects))
    for number in range(len(corners)):
        picture(root, f"images/{number}.png")
    _, samples, faults = listing(root, **options)
    return boxes_of(samples), faults


def test_boxes_as_corners_are_recognised_over_the_whole_set(tmp_path: Path) -> None:
    corners = [(number, 1, number + 3, 5) for number in range(6)]
    _, faults = corner_set(tmp_path, corners)
    (fault,) = [fault for fault in faults if fault.blocks]
    assert re.search(r"\b[1-6] of 6 boxes.*`boxes: corners`", fault.reason)
    boxes, faults = corner_set(tmp_path, corners, boxes="corners")
    assert boxes == [[list(box)] for box in corners]
    assert not told(faults)
    assert not any(fault.blocks for fault in corner_set(tmp_path, corners, boxes="size")[1])
    with pytest.raises(UserError, match="option boxes"):
        list(read(tmp_path, boxes="xyxy"))


@pytest.mark.parametrize(
    "boxes",
    [
        [(1, 1, 8, 7)] * 6,
        [(0, 0, 9, 8)] * 6,
        [(4, 4, 5, 4), (5, 1, 2, 2), (6, 6, 3, 2), (1, 0, 8, 8)],
        [(6, 1, 8, 2), (1, 1, 4, 4)],
    ],
    ids=["a pixel over the border", "whole images", "as they should be", "too few to say"],
)
def test_boxes_that_fit_as_they_are_raise_no_doubt(boxes: list[tuple[int, int, int, int]], tmp_path: Path) -> None:
    assert not any(fault.blocks for fault in corner_set(tmp_path, boxes)[1])


def test_one_image_in_two_files_is_refused_by_their_names(tmp_path: Path) -> None:
    for part in ("train", "val"):
        lay(tmp_path, content(), f"annotations/instances_{part}.json")
    _, samples, faults = listing(tmp_path)
    (fault,) = [fault for fault in faults if not fault.warning]
    assert (fault.blocks, samples) == (True, [])
    assert re.search(r"instances_train\.json: 2 images.*instances_val\.json.*images/a\.png", str(fault))


def test_a_repeated_entry_of_an_image_is_dropped(tmp_path: Path) -> None:
    lay(tmp_path, content(images=[{"id": 1, "file_name": "a.png"}] * 2))
    _, samples, faults = listing(tmp_path, masks=False)
    assert (len(samples), told(faults)) == (1, "")
    assert "1 entries of `images` repeat" in told(faults, warning=True)


def test_annotations_that_all_miss_their_images_can_t_be_skipped(tmp_path: Path) -> None:
    """Without them, all images would be background; one stray annotation concerns no image."""
    lay(tmp_path, content(annotations=[{**ANNOTATION, "image_id": 9}]))
    assert any(fault.blocks for fault in listing(tmp_path)[2])
    lay(tmp_path, content(annotations=[{**ANNOTATION, "id": 2, "image_id": 9}, ANNOTATION]))
    _, samples, faults = listing(tmp_path)
    assert (len(samples), [fault.blocks for fault in faults if not fault.warning]) == (2, [False])


@pytest.mark.parametrize(
    ("written", "warned"),
    [
        ("images\\{}", False),
        ("../images/{}", False),
        ("/home/me/images/{}", True),
        ("C:\\data\\images\\{}", True),
        ("/data/local-files/?d=images/{}", True),
    ],
)
def test_images_are_found_however_they_are_named(written: str, warned: bool, tmp_path: Path) -> None:
    images = [{"id": number, "file_name": written.format(name)} for number, name in ((1, "a.png"), (2, "b.png"))]
    lay(tmp_path, content(images=images))
    _, samples, faults = listing(tmp_path)
    assert [sample.id for sample in samples] == ["images/a.png", "images/b.png"]
    assert ("2 names were found" in told(faults, warning=True)) == warned


def test_images_in_the_root_and_a_pattern_of_folders(tmp_path: Path) -> None:
    lay(tmp_path / "root", content())
    for name in ("a.png", "b.png"):
        (tmp_path / "root/images" / name).rename(tmp_path / "root" / name)
        picture(tmp_path / "root", f"copies/{name}")
    assert [sample.id for sample in listing(tmp_path / "root")[1]] == ["a.png", "b.png"]
    assert [sample.id for sample in listing(tmp_path / "root", images=".")[1]] == ["a.png", "b.png"]
    assert [sample.id for sample in listing(tmp_path / "root", images="cop*")[1]] == ["copies/a.png", "copies/b.png"]
    with pytest.raises(UserError, match=r"option images: 'nowhere'.*copies"):
        listing(tmp_path / "root", images="nowhere")


def test_the_json_beside_its_images_in_a_folder_is_read(tmp_path: Path) -> None:
    lay(tmp_path, content(), "images/labels.json")
    (tmp_path / "images/notes.json").write_text("{}")
    assert recognise(scan(tmp_path)) == {}
    assert len(listing(tmp_path)[1]) == 2


@pytest.mark.parametrize("orientation", range(1, 9))
def test_annotations_of_stored_pixels_are_turned_with_them(orientation: int, tmp_path: Path) -> None:
    """The brightest pixels of the upright image are those of the box, and those of the mask."""
    pixels = np.zeros((8, 16, 3), np.uint8)
    pixels[1:3, 2:7] = 255
    exif = Image.Exif()
    exif[0x0112] = orientation
    lay(tmp_path, content())
    Image.fromarray(pixels).save(tmp_path / "images/a.jpg", exif=exif, quality=100, subsampling=0)
    entry = {**ANNOTATION, "bbox": [2, 1, 5, 2], "segmentation": [[2, 1, 7, 1, 7, 3, 2, 3]], "keypoints": [2.5, 1.5, 2]}
    lay(
        tmp_path,
        content(
            images=[{"id": 1, "file_name": "a.jpg", "width": 16, "height": 8}],
            categories=[{"id": 1, "name": "cat", "keypoints": ["tip"]}],
            annotations=[entry],
        ),
    )
    _, faults = listing(tmp_path)[1:]
    assert any("`orientation: stored`" in fault.reason for fault in faults if fault.blocks) == (orientation > 4)
    (item,) = listing(tmp_path, orientation="stored")[1]
    upright = decode(tmp_path / "images/a.jpg")[..., 0] > 128
    assert item.size == upright.shape
    rows, columns = np.nonzero(upright)
    assert boxes_of([item])[0] == [[columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]]
    assert item.masks is not None
    np.testing.assert_array_equal(rle.decode(item.masks[0], *item.size), upright)
    assert item.keypoints is not None
    x, y, _ = item.keypoints[0, 0]
    assert upright[int(y), int(x)]
