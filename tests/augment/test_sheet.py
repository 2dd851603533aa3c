"""The contact sheet: a row an image, as stored and then after the policy."""

import numpy as np

from pipeline.augment import annotated, sheet
from pipeline.sample import Facts
from tests.helpers.marks import NUMBER, marked

CLASSES = tuple(f"class {number}" for number in range(NUMBER + 1))
FACTS = Facts("scenes", CLASSES, CLASSES, {}, (), (), {}, {})


def test_a_row_an_image_and_the_first_is_as_stored() -> None:
    stored = [marked((4 * place, 8, 4 * place + 10, 18), name=str(place)) for place in range(3)]
    picture = sheet.sheet(stored, [{"rotation": {}}, {"overlay": {"p": 1.0}}], FACTS)
    high = annotated.SIDE + annotated.BAR
    assert picture.shape == (3 * (high + 4) + 4, sheet.COLUMNS * (high + 4) + 4, 3)
    for row, sample in enumerate(stored):
        top, gap = 4 + row * (high + 4), (high - annotated.SIDE) // 2
        shown = picture[top : top + high, 4 + gap : 4 + gap + annotated.SIDE]
        np.testing.assert_array_equal(shown, annotated.render(sample, FACTS))
