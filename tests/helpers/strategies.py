"""What property tests draw: samples with their classes, and bytes with some damage; the same ones in every run."""

from dataclasses import dataclass

import numpy as np
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from pipeline.geometry import rle
from pipeline.sample import Sample

few = settings(
    max_examples=12,
    derandomize=True,
    database=None,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
POINTS = ("head", "tail")
#: letters of many scripts, digits, punctuation and blanks, as names of classes have them
NAMES = st.text(st.characters(categories=("L", "N", "P", "Zs")), min_size=1, max_size=12).map(str.strip)


@dataclass(frozen=True)
class Made:
    """Samples, and the names of their classes."""

    samples: list[Sample]
    classes: list[str]


def class_names(largest: int = 4) -> st.SearchStrategy[list[str]]:
    """Different names, none of which stands for "no label" in a table."""
    usable = NAMES.filter(lambda name: name and name.casefold() != "nan" and name.isprintable())
    return st.lists(usable, min_size=1, max_size=largest, unique=True)


@st.composite
def boxes(draw: st.DrawFn, width: int, height: int, *, whole: bool) -> tuple[float, float, float, float]:
    """A box inside the image, in whole pixels or in eighths, which float32 holds exactly.

    A side has two pixels at least: the format voc refuses `xmin` equal to `xmax`, which is a side of one.
    """
    steps = 1 if whole else 8
    left = draw(st.integers(0, width * steps - 2 * steps))
    top = draw(st.integers(0, height * steps - 2 * steps))
    right = draw(st.integers(left + 2 * steps, width * steps))
    bottom = draw(st.integers(top + 2 * steps, height * steps))
    return left / steps, top / steps, right / steps, bottom / steps


@st.composite
def label_maps(draw: st.DrawFn, height: int, width: int, values: list[int]) -> NDArray[np.uint8]:
    """Values in patches."""
    seed = draw(st.integers(0, 2**16))
    coarse = np.random.default_rng(seed).choice(values, (-(-height // 3), -(-width // 3)))
    return coarse.repeat(3, 0).repeat(3, 1)[:height, :width].astype(np.uint8)


@st.composite
def samples(draw: st.DrawFn, *, whole: bool = False) -> Made:
    """Up to four small images in three splits, with every annotation that a sample can have."""
    classes = draw(class_names())
    made = []
    for number in range(draw(st.integers(3, 4))):
        width, height = draw(st.integers(2, 20)), draw(st.integers(2, 20))
        corners = draw(st.lists(boxes(width, height, whole=whole), max_size=3))
        count = len(corners)
        flags = st.lists(st.booleans(), min_size=count, max_size=count)
        labels = draw(st.lists(st.integers(0, len(classes) - 1), min_size=count, max_size=count))
        inside = [np.array(draw(label_maps(height, width, [0, 1])), np.bool_) for _ in corners]
        for mask in inside:
            mask[0, 0] = True  # a mask without a pixel is refused
        keypoint = st.tuples(st.integers(0, width), st.integers(0, height), st.integers(1, 2))
        keypoints = draw(st.lists(keypoint, min_size=2 * count, max_size=2 * count))
        semantic = draw(label_maps(height, width, [*range(len(classes)), 255]))
        semantic[0, 0] = 0  # a map of nothing but 255 is refused
        made.append(
            Sample(
                id=f"picture{number}",
                image=np.random.default_rng(number).integers(0, 256, (height, width, 3), np.uint8),
                group=f"group{number}",
                split=("train", "val", "test")[number % 3],
                label=draw(st.integers(0, len(classes) - 1)),
                boxes=np.array(corners, np.float32).reshape(-1, 4),
                labels=np.array(labels, np.int64),
                masks=[rle.encode(mask) for mask in inside],
                crowd=np.array(draw(flags), np.bool_),
                difficult=np.array(draw(flags), np.bool_),
                keypoints=np.array(keypoints, np.float32).reshape(-1, 2, 3),
                semantic=semantic,
            )
        )
    return Made(made, classes)


@st.composite
def damaged(draw: st.DrawFn, data: bytes) -> bytes:
    """The bytes with one to three places cut out, doubled, overwritten or cut off."""
    for _ in range(draw(st.integers(1, 3))):
        start = draw(st.integers(0, max(0, len(data) - 1)))
        end = min(len(data), start + draw(st.integers(1, 8)))
        put = draw(st.one_of(st.just(b""), st.just(data[start:end] * 2), st.binary(min_size=1, max_size=8), NUMBERS))
        rest = b"" if draw(st.integers(0, 9)) == 0 else data[end:]
        data = data[:start] + put + rest
    return data


#: what parsers of numbers and of text have to survive
NUMBERS = st.sampled_from([b"-1", b"1e400", b"nan", b"null", b"[]", b"{}", b'"', b"9" * 30, b"\xff\xfe", b"\0", b"\n"])
