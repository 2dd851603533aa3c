"""What is annotated is drawn in place."""

import dataclasses

import numpy as np
import pytest

from pipeline.augment import annotated
from pipeline.sample import IGNORE, Facts, Sample
from tests.helpers.marks import NUMBER, SIDE, SQUARE, marked

CLASSES = tuple(f"class {number}" for number in range(NUMBER + 1))
FACTS = Facts("scenes", CLASSES, CLASSES, {}, (), (), {}, {})
BARE = Sample("x", marked().pixels)


def tile(**fields: object) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    return annotated.render(dataclasses.replace(BARE, **fields), FACTS)  # type: ignore[arg-type]


def test_a_box_and_a_contour_lie_where_the_object_is() -> None:
    shown, scale = marked(with_masks=True), annotated.SIDE / SIDE
    left, top, right, bottom = (round(value * scale) for value in SQUARE)
    paint = annotated.color(NUMBER)
    for fields in ({"boxes": shown.boxes, "labels": shown.labels}, {"masks": shown.masks, "labels": shown.labels}):
        drawn = (tile(**fields)[: annotated.SIDE] == paint).all(axis=2)
        middle = (top + bottom) // 2
        assert drawn[middle, left - 1 : left + 2].any()
        assert drawn[middle, right - 2 : right + 1].any()
        assert drawn[bottom - 2 : bottom + 1, (left + right) // 2].any()
        assert not drawn[middle, left + 4 : right - 4].any()


def test_a_label_map_tints_what_is_not_background() -> None:
    ids = np.zeros((SIDE, SIDE), np.uint8)
    ids[:, 30:40], ids[:, 40:] = 3, IGNORE
    plain, tinted = tile(), tile(semantic=ids)
    edge = round(29 * annotated.SIDE / SIDE)
    np.testing.assert_array_equal(tinted[: annotated.SIDE, :edge], plain[: annotated.SIDE, :edge])
    assert len(np.unique(tinted[5, edge + 8])) == 3
    assert len(np.unique(tinted[5, -5])) == 1


@pytest.mark.parametrize(
    ("label", "text"),
    [(None, ""), (2, "class 2"), (99, "99"), (np.array([0, 0.25, 0.75], np.float32), "class 2 75%  class 1 25%")],
)
def test_the_label_is_written_out(label: object, text: str) -> None:
    assert annotated.caption(dataclasses.replace(BARE, label=label), FACTS) == text  # type: ignore[arg-type]


def test_without_a_label_the_label_map_is_written_out() -> None:
    assert annotated.caption(marked(), FACTS) == CLASSES[NUMBER]
    assert annotated.caption(dataclasses.replace(marked(), semantic=np.full((2, 2), IGNORE, np.uint8)), FACTS) == ""


def test_a_name_is_left_out_where_it_is_wider_than_its_box() -> None:
    def inks(width: int) -> int:
        boxes = np.array([[4, 20, 4 + width, 40]], np.float32)
        return int((tile(boxes=boxes, labels=np.array([NUMBER])) == annotated.color(NUMBER)).all(axis=2).sum())

    wide, narrow = inks(40), inks(4)
    outline = 2 * 20 * annotated.SIDE // SIDE  # of both sides of a box of no width
    assert narrow < 2 * outline < wide


def test_a_dozen_images_are_spread_over_the_split_at_their_own_aspect() -> None:
    wide = np.full((30, 60, 3), 200, np.uint8)
    stored = [Sample(str(number), wide, label=number % 3) for number in range(23)]
    picture, high = annotated.dozen(stored, FACTS), annotated.DOZEN_SIDE + annotated.BAR
    assert picture.shape[0] == 3 * (high + 4) + 4
    assert picture.shape[1] == 4 * (high + 4) + 4
    gap = 4 + (high - annotated.DOZEN_SIDE) // 2
    first, last = picture[4 : 4 + high, gap : gap + annotated.DOZEN_SIDE], picture[-4 - high : -4, -gap - 240 : -gap]
    half = annotated.DOZEN_SIDE // 2
    assert (first[: half - 1] == 200).all()
    assert not (first[half + 1 : annotated.DOZEN_SIDE] == 200).any()
    np.testing.assert_array_equal(first, annotated.render(stored[0], FACTS, annotated.DOZEN_SIDE))
    np.testing.assert_array_equal(last, annotated.render(stored[22], FACTS, annotated.DOZEN_SIDE))
