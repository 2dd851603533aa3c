"""What is written is what is read."""

import io
import pickle
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipeline import images
from pipeline.augment.policy import Policy
from pipeline.augment.warp import warped
from pipeline.geometry import rle
from pipeline.sample import FIELDS, PER_OBJECT, RESIZE, STORED, TABLE, Facts, Form, Sample, facts, resized
from pipeline.shards import SCHEMA, Shards, copy_rows, split, to_row, write_rows, write_shard
from pipeline.store import write_json

RANDOM = np.random.default_rng(0)
#: fields that augment stages or prepare settles, and the stored form of others
NOT_STORED = {"split", "weight", "proposals"}


def picture(height: int = 6, width: int = 5) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    return RANDOM.integers(0, 256, (height, width, 3), dtype=np.uint8)


FULL = Sample(
    id="a",
    image=picture(),
    group="g",
    source="data/raw/a.png",
    size=(60, 50),
    label=3,
    boxes=np.array([[0, 0.5, 2, 3], [1, 1, 4, 5.25]], np.float32),
    labels=np.array([1, 0]),
    masks=[b"rle", b"\x00\xff"],
    crowd=np.array([True, False]),
    difficult=np.array([False, True]),
    keypoints=np.array([[[0, 1, 2], [2, 3, 1], [0, 0, 0]], [[1.5, 1, 2], [4, 5, 2], [3, 2, 1]]], np.float32),
    semantic=np.array([[0, 255], [7, 1]], np.uint8),
)
NEGATIVE = Sample(
    "none",
    picture(),
    boxes=np.zeros((0, 4), np.float32),
    labels=np.zeros(0, np.int64),
    masks=[],
    keypoints=np.zeros((0, 3, 3), np.float32),
)
SOFT = Sample("soft", picture(), label=np.array([0.25, 0.75], np.float32))
BARE = Sample("bare", picture(3, 2))


def test_every_field_comes_back(tmp_path: Path) -> None:
    assert set(FIELDS) - NOT_STORED <= set(SCHEMA.names)
    originals = [FULL, NEGATIVE, SOFT, BARE]
    assert write_shard(tmp_path / "train-00000.arrow", originals, rows_per_batch=3) == 4
    for original, read in zip(originals, split(tmp_path, "train"), strict=True):
        for name in set(FIELDS) - {"size"}:
            before, after = getattr(original, name), getattr(read, name)
            assert type(before) is type(after), name
            np.testing.assert_array_equal(after, before, err_msg=name)
            if isinstance(before, np.ndarray):
                assert (after.dtype, after.shape) == (before.dtype, before.shape), name
        assert read.size == (original.size or original.pixels.shape[:2])


def test_an_image_without_a_file_is_stored_without_loss(tmp_path: Path) -> None:
    gray = np.repeat(picture()[..., :1], 3, axis=2)
    write_shard(
        tmp_path / "a.arrow", [FULL, Sample("gray", gray), Sample("plain", np.full((600, 600, 3), 77, np.uint8))]
    )
    shards = Shards([tmp_path / "a.arrow"])
    np.testing.assert_array_equal(shards[0].pixels, FULL.pixels)
    np.testing.assert_array_equal(shards[1].pixels, gray)
    assert len(shards.column("image")[2]) < 10_000
    with pytest.raises(ValueError, match="read-only"):
        shards[0].pixels[0, 0, 0] = 1


def test_the_bytes_that_came_are_stored(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    Image.fromarray(picture(30, 20)).save(buffer, "JPEG")
    pixels = images.decode(buffer.getvalue())
    rows = [to_row(Sample("a", pixels), buffer.getvalue())]
    write_rows(tmp_path / "a.arrow", SCHEMA, rows)
    shards = Shards([tmp_path / "a.arrow"])
    assert shards.column("image") == [buffer.getvalue()]
    np.testing.assert_array_equal(shards[0].pixels, pixels)


def test_shards_join_files_and_pickle_as_paths(tmp_path: Path) -> None:
    for number in range(3):
        samples = [Sample(f"{number}-{index}", picture()) for index in range(number + 1)]
        write_shard(tmp_path / f"val-{number:05d}.arrow", samples, rows_per_batch=2)
    shards = split(tmp_path, "val")
    ids = ["0-0", "1-0", "1-1", "2-0", "2-1", "2-2"]
    assert [sample.id for sample in shards] == shards.column("id") == ids
    assert len(pickle.dumps(shards)) < 1000
    assert [sample.id for sample in pickle.loads(pickle.dumps(shards))] == ids
    assert len(split(tmp_path, "test")) == 0


def test_rows_are_copied_byte_for_byte(tmp_path: Path) -> None:
    write_shard(tmp_path / "a.arrow", [FULL, BARE, NEGATIVE, SOFT], rows_per_batch=2)
    for name in ("b", "c"):
        copy_rows(Shards([tmp_path / "a.arrow"]), [3, 0, 2], tmp_path / f"{name}.arrow", rows_per_batch=2)
    copied = Shards([tmp_path / "b.arrow"])
    assert [sample.id for sample in copied] == ["soft", "a", "none"]
    np.testing.assert_array_equal(copied[1].boxes, FULL.boxes)
    np.testing.assert_array_equal(copied[1].pixels, FULL.pixels)
    assert (tmp_path / "b.arrow").read_bytes() == (tmp_path / "c.arrow").read_bytes()


def test_facts_come_back(tmp_path: Path) -> None:
    known = Facts("digits", ("a", "b"), (), {"train": 1}, (1, 0), ("label",), {"1": [0.5]}, {"1": [0.1]}, ("w",))
    write_json(tmp_path / "dataset.json", {name: getattr(known, name) for name in Facts.__dataclass_fields__})
    assert facts(tmp_path) == known


def test_all_that_lies_in_an_image_is_scaled_with_it() -> None:
    left = np.zeros((6, 8), np.uint8)
    left[:, :4] = 1
    whole = Sample(
        "a",
        picture(6, 8),
        boxes=np.array([[0, 0, 4, 6]], np.float32),
        labels=np.array([0]),
        masks=[rle.encode(left)],
        semantic=left,
        weight=np.full((6, 8), 2.5, np.float32),
        proposals=np.array([[2, 3, 8, 6], [0, 0, 8, 6]], np.float32),
    )
    assert resized(whole, 6, 8) is whole
    scaled = resized(whole, 12, 4)
    assert scaled.pixels.shape == (12, 4, 3)
    assert scaled.boxes is not None
    assert scaled.boxes.tolist() == [[0, 0, 2, 12]]
    assert scaled.proposals is not None
    assert scaled.proposals.tolist() == [[1, 6, 4, 12], [0, 0, 4, 12]]
    assert scaled.masks is not None
    np.testing.assert_array_equal(rle.decode(scaled.masks[0], 12, 4), scaled.semantic)
    assert scaled.semantic is not None
    assert scaled.semantic.tolist() == [[1, 1, 0, 0]] * 12
    np.testing.assert_array_equal(scaled.weight, np.full((12, 4), 2.5, np.float32))
    assert scaled.labels is whole.labels
    bare = resized(BARE, 4, 4)
    assert {name for name in FIELDS if getattr(bare, name) is not None} == {"id", "image"}


def test_the_table_says_for_each_annotation_what_it_is() -> None:
    assert set(TABLE) == set(FIELDS) - {"id", "image", "group", "split", "source", "size"}
    assert {"label", "soft", *STORED} <= set(SCHEMA.names)
    of_no_place = {Form.LABEL, Form.NUMBERS, Form.FLAGS}
    assert set(Form) - of_no_place == set(RESIZE)
    assert {row.form for row in TABLE.values()} == set(Form)


@pytest.mark.parametrize("name", PER_OBJECT)
def test_what_is_of_an_object_is_dropped_with_it(name: str) -> None:
    """The second of two objects leaves the image, whether it is moved by a warp or by albumentations."""
    left = np.zeros((20, 30), np.bool_)
    left[5:15, 2:12] = True
    objects = [left, left[:, ::-1]]
    full = Sample(
        "two",
        picture(20, 30),
        boxes=np.array([[2, 5, 12, 15], [18, 5, 28, 15]], np.float32),
        labels=np.array([1, 0]),
        masks=[rle.encode(each) for each in objects],
        crowd=np.array([True, False]),
        difficult=np.array([True, False]),
        keypoints=np.array([[[4, 6, 2]], [[20, 6, 2]]], np.float32),
    )
    shift = warped(full, np.array([[1, 0, 15], [0, 1, 0], [0, 0, 1.0]]))
    shifts = Policy([{"albumentations": {"name": "Affine", "translate_px": {"x": [15, 15], "y": [0, 0]}, "p": 1.0}}])
    for result in (shift, shifts(full, 0)):
        first, kept = getattr(full, name)[0], getattr(result, name)
        assert len(kept) == 1
        if TABLE[name].form in (Form.NUMBERS, Form.FLAGS):
            assert kept[0] == first
        if TABLE[name].form in (Form.BOXES, Form.KEYPOINTS):
            np.testing.assert_allclose(np.asarray(kept[0]).ravel()[0], np.asarray(first).ravel()[0] + 15, atol=1)
