"""The contact sheet shows what is annotated, in place."""

import dataclasses

import numpy as np
import pytest

from pipeline.augment import sheet
from pipeline.sample import IGNORE, Facts, Sample
from tests.helpers.marks import NUMBER, SIDE, SQUARE, marked

CLASSES = tuple(f"class {number}" for number in range(NUMBER + 1))
FACTS = Facts("scenes", CLASSES, CLASSES, {}, (), (), {}, {})
BARE = Sample("x", marked().pixels)


def tile(**fields: object) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    return sheet.render(dataclasses.replace(BARE, **fields), FACTS)  # type: ignore[arg-type]


def test_a_box_and_a_contour_lie_where_the_object_is() -> None:
    shown, scale = marked(with_masks=True), sheet.SIDE / SIDE
    left, top, right, bottom = (round(value * scale) for value in SQUARE)
    paint = sheet.color(NUMBER)
    for fields in ({"boxes": shown.boxes, "labels": shown.labels}, {"masks": shown.masks, "labels": shown.labels}):
        drawn = (tile(**fields)[: sheet.SIDE] == paint).all(axis=2)
        middle = (top + bottom) // 2
        assert drawn[middle, left - 1 : left + 2].any()
        assert drawn[middle, right - 2 : right + 1].any()
        assert drawn[bottom - 2 : bottom + 1, (left + right) // 2].any()
        assert not drawn[middle, left + 4 : right - 4].any()


def test_a_label_map_tints_what_is_not_background() -> None:
    ids = np.zeros((SIDE, SIDE), np.uint8)
    ids[:, 30:40], ids[:, 40:] = 3, IGNORE
    plain, tinted = tile(), tile(semantic=ids)
    edge = round(29 * sheet.SIDE / SIDE)
    np.testing.assert_array_equal(tinted[: sheet.SIDE, :edge], plain[: sheet.SIDE, :edge])
    assert len(np.unique(tinted[5, edge + 8])) == 3
    assert len(np.unique(tinted[5, -5])) == 1


@pytest.mark.parametrize(
    ("label", "text"),
    [(None, ""), (2, "class 2"), (99, "99"), (np.array([0, 0.25, 0.75], np.float32), "class 2 75%  class 1 25%")],
)
def test_the_label_is_written_out(label: object, text: str) -> None:
    assert sheet.caption(dataclasses.replace(BARE, label=label), FACTS) == text  # type: ignore[arg-type]


def test_without_a_label_the_label_map_is_written_out() -> None:
    assert sheet.caption(marked(), FACTS) == CLASSES[NUMBER]
    assert sheet.caption(dataclasses.replace(marked(), semantic=np.full((2, 2), IGNORE, np.uint8)), FACTS) == ""


def test_a_row_an_image_and_the_first_is_as_stored() -> None:
    stored = [marked((4 * place, 8, 4 * place + 10, 18), name=str(place)) for place in range(3)]
    picture = sheet.sheet(stored, [{"rotation": {}}, {"overlay": {"p": 1.0}}], FACTS)
    high = sheet.SIDE + sheet.BAR
    assert picture.shape == (3 * (high + 4) + 4, sheet.COLUMNS * (high + 4) + 4, 3)
    for row, sample in enumerate(stored):
        top, gap = 4 + row * (high + 4), (high - sheet.SIDE) // 2
        shown = picture[top : top + high, 4 + gap : 4 + gap + sheet.SIDE]
        np.testing.assert_array_equal(shown, sheet.render(sample, FACTS))
