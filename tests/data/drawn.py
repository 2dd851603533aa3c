"""What the small data sets show: five photographs, the objects in them, and the windows that become pictures.

The objects were drawn by hand on the photographs, in their pixels. Every picture is a window of a photograph, scaled
down; an object lies in a window as a whole or not at all.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import ExifTags, Image, ImageDraw

#: name → file in the wheel
PHOTOGRAPHS = {
    "astronaut": "astronaut.png",
    "cat": "chelsea.png",
    "coffee": "coffee.png",
    "retina": "retina.jpg",
    "rocket": "rocket.jpg",
}
NAMES = ("face", "cup", "spoon", "rocket")
KEYPOINTS = ("right_eye", "left_eye", "nose", "mouth")
Points = list[tuple[float, float]]


@dataclass(frozen=True)
class Outline:
    """An object: its class, its outline, and its keypoints where it is a face."""

    name: str
    corners: Points
    keypoints: Points


# fmt: off
OBJECTS = {
    "astronaut": [
        Outline("face", [(153, 75), (165, 45), (190, 22), (228, 15), (265, 24), (292, 50), (301, 85), (293, 115),
                         (275, 128), (262, 165), (240, 188), (215, 186), (190, 175), (178, 140), (170, 122),
                         (158, 100)],
                [(200, 100), (246, 103), (223, 122), (223, 145)]),
        Outline("rocket", [(397, 25), (412, 1), (428, 1), (437, 40), (445, 38), (454, 70), (457, 265), (470, 272),
                           (372, 280), (368, 265), (380, 235), (357, 215), (378, 185), (380, 60), (388, 40)], []),
    ],
    "cat": [
        Outline("face", [(35, 30), (60, 1), (330, 1), (365, 65), (362, 150), (330, 215), (300, 275), (260, 298),
                         (160, 298), (80, 225), (45, 150)],
                [(172, 115), (318, 137), (265, 243), (262, 265)]),
    ],
    "coffee": [
        Outline("cup", [(172, 110), (185, 65), (220, 32), (285, 18), (350, 32), (395, 72), (408, 120), (398, 165),
                        (375, 210), (345, 248), (320, 278), (280, 286), (250, 280), (235, 308), (205, 306), (196, 285),
                        (205, 255), (222, 235), (190, 200), (176, 160)], []),
        Outline("spoon", [(398, 75), (410, 66), (424, 72), (422, 95), (400, 170), (383, 235), (405, 265), (404, 300),
                          (385, 322), (350, 326), (328, 305), (327, 275), (345, 252), (365, 240), (385, 190),
                          (405, 120)], []),
    ],
    "retina": [],
    "rocket": [
        Outline("rocket", [(310, 180), (311, 150), (320, 127), (328, 135), (333, 155), (335, 180), (334, 345),
                           (331, 405), (312, 405), (308, 340)], []),
    ],
}
# fmt: on


@dataclass(frozen=True)
class View:
    """A picture: a window of a photograph, its longer side, and how it is stored."""

    split: str
    name: str
    photograph: str
    window: tuple[int, int, int, int]
    longest: int
    stored: str = "jpg"

    @property
    def file(self) -> str:
        """Its file's name."""
        return f"{self.name}.{'png' if self.stored in {'png', 'palette', 'rgba'} else 'jpg'}"

    @property
    def scale(self) -> float:
        """What one pixel of the photograph becomes."""
        return self.longest / max(self.window[2] - self.window[0], self.window[3] - self.window[1])

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels, upright."""
        left, top, right, bottom = self.window
        return round((right - left) * self.scale), round((bottom - top) * self.scale)

    def objects(self) -> list[Outline]:
        """The objects in the window, in its pixels; each lies inside or outside as a whole."""
        left, top, right, bottom = self.window
        shown = []
        for item in OBJECTS[self.photograph]:
            inside = [left <= x <= right and top <= y <= bottom for x, y in item.corners]
            if any(inside) != all(inside):
                raise ValueError(f"{self.name} cuts its {item.name}")
            if all(inside):
                shown.append(Outline(item.name, self._moved(item.corners), self._moved(item.keypoints)))
        return shown

    def _moved(self, points: Points) -> Points:
        left, top = self.window[:2]
        return [(round((x - left) * self.scale, 2), round((y - top) * self.scale, 2)) for x, y in points]


VIEWS = (
    View("train", "astronaut-1", "astronaut", (0, 0, 512, 512), 128),
    View("train", "astronaut-2", "astronaut", (110, 0, 340, 240), 96, "turned"),
    View("train", "cat-1", "cat", (0, 0, 451, 300), 120),
    View("train", "coffee-1", "coffee", (0, 0, 600, 400), 120),
    View("train", "coffee-2", "coffee", (150, 0, 450, 400), 96, "palette"),
    View("train", "retina-1", "retina", (0, 200, 1000, 1200), 96),
    View("train", "rocket-1", "rocket", (0, 0, 640, 427), 128),
    View("train", "rocket-2", "rocket", (200, 100, 420, 427), 112, "grey"),
    View("val", "astronaut-3", "astronaut", (340, 0, 512, 300), 96),
    View("val", "cat-2", "cat", (30, 0, 380, 300), 100, "grey"),
    View("val", "coffee-3", "coffee", (60, 10, 500, 390), 64, "png"),
    View("val", "retina-2", "retina", (600, 600, 1411, 1411), 80),
    View("test", "astronaut-4", "astronaut", (60, 0, 480, 400), 112),
    View("test", "cat-3", "cat", (20, 0, 451, 300), 96),
    View("test", "coffee-4", "coffee", (160, 10, 600, 400), 72, "rgba"),
    View("test", "rocket-3", "rocket", (280, 60, 560, 420), 96),
)
#: of a palette: red, green and blue of background, face, cup, spoon, rocket
COLORS = [0, 0, 0, 230, 60, 60, 60, 180, 60, 70, 90, 220, 230, 200, 40]


def shrunk(photograph: Image.Image, window: tuple[int, int, int, int], size: tuple[int, int]) -> Image.Image:
    """A window of a photograph in another size."""
    return photograph.resize(size, Image.Resampling.LANCZOS, box=window)


def save(view: View, photographs: dict[str, Image.Image], folder: Path) -> None:
    """Write a view as it is stored."""
    folder.mkdir(parents=True, exist_ok=True)
    picture = shrunk(photographs[view.photograph], view.window, view.size)
    exif, more = Image.Exif(), dict[str, Any]()
    if view.stored == "grey":
        picture = picture.convert("L")
    elif view.stored == "palette":
        picture = picture.quantize(32)
    elif view.stored == "rgba":
        picture.putalpha(255)
    elif view.stored == "turned":
        exif[ExifTags.Base.Orientation] = 6  # to be turned right by a quarter when shown
        picture, more = picture.transpose(Image.Transpose.ROTATE_90), {"exif": exif}
    picture.save(folder / view.file, quality=75, optimize=True, **more)


def box(corners: Points) -> tuple[float, float, float, float]:
    """x_min, y_min, x_max, y_max."""
    xs, ys = zip(*corners, strict=True)
    return min(xs), min(ys), max(xs), max(ys)


def label_map(view: View) -> Image.Image:
    """The class of each pixel: 0 where there is no object, else 1 + its place in NAMES."""
    drawn = Image.new("P", view.size, 0)
    drawn.putpalette(COLORS)
    for item in view.objects():
        ImageDraw.Draw(drawn).polygon(item.corners, NAMES.index(item.name) + 1)
    return drawn


def flat(points: Points) -> list[float]:
    """x, y, x, y, …"""
    return [value for point in points for value in point]
