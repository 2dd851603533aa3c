"""Pair images with masks, by their folders and the common part of their names."""

import re
from dataclasses import dataclass
from pathlib import PurePosixPath

from pipeline.sample import Fault

Pairs = list[tuple[PurePosixPath, PurePosixPath]]
#: endings that a mask's name may have in addition to its image's name
ENDING = re.compile(r"[-_. ](mask|label|gt|seg)s?$", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Layout:
    """Names of the two folders, and the endings of file stems after the common part."""

    images: str = "images"
    masks: str = "masks"
    image_ending: str = ""
    mask_ending: str = ""

    def masked(self, name: PurePosixPath) -> bool:
        """Whether a file is a mask, by its folder or, outside both folders, by its name."""
        folders = {part.casefold() for part in name.parts[:-1]}
        alone = self.images.casefold() not in folders and ENDING.search(name.stem) is not None
        return self.masks.casefold() in folders or alone

    def inside(self, name: PurePosixPath) -> bool:
        """Whether a file is in one of the two folders."""
        return not {part.casefold() for part in name.parts[:-1]}.isdisjoint(
            {self.images.casefold(), self.masks.casefold()}
        )

    def reads(self, name: PurePosixPath) -> bool:
        """Whether a file has the ending of an image or a mask."""
        return name.stem.endswith(self.mask_ending if self.masked(name) else self.image_ending)

    def key(self, name: PurePosixPath) -> tuple[str, ...]:
        """A key that is equal for an image and its mask."""
        both = {self.images.casefold(), self.masks.casefold()}
        stem = name.stem.removesuffix(self.mask_ending if self.masked(name) else self.image_ending)
        return (*(part for part in name.parts[:-1] if part.casefold() not in both), stem)


#: common layouts, the most specific first (Cityscapes, https://github.com/mcordts/cityscapesScripts)
LAYOUTS = (
    Layout("leftImg8bit", "gtFine", "_leftImg8bit", "_gtFine_labelIds"),
    Layout(),
    Layout(masks="labels"),
    Layout(masks="annotations"),
    Layout("image", "mask"),
    Layout("imgs"),
)


def paired(pictures: list[PurePosixPath], layout: Layout) -> tuple[Pairs, list[Fault]]:
    """Images with their masks, and a fault for each file without a partner or with several."""
    images: dict[tuple[str, ...], PurePosixPath] = {}
    partners: dict[tuple[str, ...], PurePosixPath] = {}
    faults, masks = [], []
    for name in pictures:
        key = layout.key(name)
        if layout.masked(name):
            masks.append((key, name))
        elif images.setdefault(key, name) != name:
            faults.append(
                Fault(str(name), f"has the same name as {images[key]}, so its mask is ambiguous. Rename one.")
            )
    for key, mask in masks:
        key = key if key in images else (*key[:-1], ENDING.sub("", key[-1]))
        if key not in images:
            faults.append(Fault(str(mask), "a mask without an image of this name. Add the image or remove the mask."))
        elif partners.setdefault(key, mask) != mask:
            faults.append(Fault(str(mask), f"a second mask for {images[key]}, beside {partners[key]}. Remove one."))
    if not partners:
        folders = f"images into {layout.images}/ and masks of the same names into {layout.masks}/"
        advice = f"Put {folders}, or name the folders in the options."
        return [], [Fault(".", f"has no image with a mask among {len(pictures):,} files. {advice}")]
    for key in sorted(set(images) - set(partners)):
        faults.append(
            Fault(str(images[key]), "an image without a mask of this name. Add the mask or remove the image.")
        )
    return [(images[key], partners[key]) for key in images if key in partners], faults
