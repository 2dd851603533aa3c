"""Which picture is whose mask: by the folders that hold them and what their names have in common."""

import re
from dataclasses import dataclass
from pathlib import PurePosixPath

from pipeline.sample import Fault

Pairs = list[tuple[PurePosixPath, PurePosixPath]]
#: what a mask's name may have more than its image's
ENDING = re.compile(r"[-_. ](mask|label|gt|seg)s?$", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Layout:
    """Names of the two folders, and what a file's stem has more than what it shares with its partner."""

    images: str = "images"
    masks: str = "masks"
    image_ending: str = ""
    mask_ending: str = ""

    def masked(self, name: PurePosixPath) -> bool:
        """Whether it is a mask, by its folder or, where no folder tells, its name."""
        folders = {part.casefold() for part in name.parts[:-1]}
        alone = self.images.casefold() not in folders and ENDING.search(name.stem) is not None
        return self.masks.casefold() in folders or alone

    def inside(self, name: PurePosixPath) -> bool:
        """Whether it lies in one of the two folders."""
        return not {part.casefold() for part in name.parts[:-1]}.isdisjoint(
            {self.images.casefold(), self.masks.casefold()}
        )

    def reads(self, name: PurePosixPath) -> bool:
        """Whether a picture is one of a pair, by the ending of its name."""
        return name.stem.endswith(self.mask_ending if self.masked(name) else self.image_ending)

    def key(self, name: PurePosixPath) -> tuple[str, ...]:
        """What an image and its mask have in common."""
        both = {self.images.casefold(), self.masks.casefold()}
        stem = name.stem.removesuffix(self.mask_ending if self.masked(name) else self.image_ending)
        return (*(part for part in name.parts[:-1] if part.casefold() not in both), stem)


#: those often found, the most particular (Cityscapes', https://github.com/mcordts/cityscapesScripts) first
LAYOUTS = (
    Layout("leftImg8bit", "gtFine", "_leftImg8bit", "_gtFine_labelIds"),
    Layout(),
    Layout(masks="labels"),
    Layout(masks="annotations"),
    Layout("image", "mask"),
    Layout("imgs"),
)


def paired(pictures: list[PurePosixPath], layout: Layout) -> tuple[Pairs, list[Fault]]:
    """Images with their masks, and a fault for each that has no partner or several."""
    known: dict[tuple[str, ...], PurePosixPath] = {}
    found: dict[tuple[str, ...], PurePosixPath] = {}
    faults, waiting = [], []
    for name in pictures:
        key = layout.key(name)
        if layout.masked(name):
            waiting.append((key, name))
        elif known.setdefault(key, name) != name:
            faults.append(Fault(str(name), f"named like {known[key]}, so their masks can't be told. Rename one."))
    for key, mask in waiting:
        key = key if key in known else (*key[:-1], ENDING.sub("", key[-1]))
        if key not in known:
            faults.append(Fault(str(mask), "a mask without an image of its name. Add the image or remove the mask."))
        elif found.setdefault(key, mask) != mask:
            faults.append(Fault(str(mask), f"a second mask for {known[key]}, beside {found[key]}. Remove one."))
    if not found:
        places = f"images into {layout.images}/ and masks of their names into {layout.masks}/"
        advice = f"Put {places}, or name the folders by options."
        return [], [Fault(".", f"holds no image with a mask, but {len(pictures):,} pictures. {advice}")]
    for key in sorted(set(known) - set(found)):
        faults.append(Fault(str(known[key]), "an image without a mask of its name. Add the mask or remove the image."))
    return [(known[key], found[key]) for key in known if key in found], faults
