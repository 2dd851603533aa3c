"""Pair images with masks, by their folders and the common part of their names."""

import re
from dataclasses import dataclass
from pathlib import PurePosixPath

from pipeline.sample import Fault

Pairs = list[tuple[PurePosixPath, PurePosixPath]]
#: endings that a mask's name may have in addition to its image's name
ENDING = re.compile(r"[-_. ](mask|label|gt|seg)s?$", re.IGNORECASE)


#: folders of the same masks in another form, as VOC and its exporters have them
OTHER_FORMS = frozenset(
    {
        "segmentationobject",
        "segmentationobjectpng",
        "segmentationclassvisualization",
        "segmentationobjectvisualization",
    }
)


@dataclass(frozen=True, slots=True)
class Layout:
    """Names of the two folders, and the endings of file stems after the common part.

    A name `*annot` means every folder that ends so: the masks of `train` are in `trainannot`.
    """

    images: str = "images"
    masks: str = "masks"
    image_ending: str = ""
    mask_ending: str = ""

    def in_masks(self, name: PurePosixPath) -> bool:
        """Whether a file is in the folder of masks."""
        return any(_rest(part, self.masks) is not None for part in name.parts[:-1])

    def masked(self, name: PurePosixPath) -> bool:
        """Whether a file is a mask, by its folder or, outside both folders, by its name."""
        return self.in_masks(name) or (not self.inside(name) and ENDING.search(name.stem) is not None)

    def inside(self, name: PurePosixPath) -> bool:
        """Whether a file is in one of the two folders."""
        return any(_rest(part, folder) is not None for part in name.parts[:-1] for folder in (self.images, self.masks))

    def reads(self, name: PurePosixPath) -> bool:
        """Whether a file has the ending of an image or a mask, and is not the same mask in another form."""
        other = OTHER_FORMS - {self.images.casefold(), self.masks.casefold()}
        if not other.isdisjoint(part.casefold() for part in name.parts[:-1]):
            return False
        return name.stem.endswith(self.mask_ending if self.masked(name) else self.image_ending)

    def key(self, name: PurePosixPath) -> tuple[str, ...]:
        """A key that is equal for an image and its mask."""
        stem = name.stem.removesuffix(self.mask_ending if self.masked(name) else self.image_ending)
        rests = []
        for part in name.parts[:-1]:
            ends = [rest for folder in (self.images, self.masks) if (rest := _rest(part, folder)) is not None]
            rests.append(ends[0] if ends else part)
        return (*(rest for rest in rests if rest), stem)


def _rest(part: str, folder: str) -> str | None:
    """What a folder's name has before the ending of `*ending`, nothing if it is `folder` itself; None if neither."""
    if not folder.startswith("*"):
        return "" if part.casefold() == folder.casefold() else None
    ending = folder[1:].casefold()
    return part[: -len(ending)] if ending and part.casefold().endswith(ending) else None


#: common layouts, the most specific first (Cityscapes, https://github.com/mcordts/cityscapesScripts)
LAYOUTS = (
    Layout("leftImg8bit", "gtFine", "_leftImg8bit", "_gtFine_labelIds"),
    Layout("JPEGImages", "SegmentationClassPNG"),
    Layout("JPEGImages", "SegmentationClass"),
    Layout("img_dir", "ann_dir"),
    Layout(),
    Layout(masks="labels"),
    Layout(masks="annotations"),
    Layout("image", "mask"),
    Layout("imgs"),
    Layout("image", "label"),
    Layout("img", "mask"),
    Layout("image_2", "semantic"),
    Layout(masks="*annot"),
    Layout(masks="*_masks"),
    Layout(masks="*_labels"),
    Layout(masks="*_labels", mask_ending="_L"),
)


@dataclass(slots=True)
class Paired:
    """Images with their masks, images without one, and a fault for each file that fits none or several."""

    pairs: Pairs
    unmasked: list[PurePosixPath]
    faults: list[Fault]


def pair(pictures: list[PurePosixPath], layout: Layout) -> Paired:
    """Pair images with masks."""
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
        return Paired([], [], [Fault(".", f"has no image with a mask among {len(pictures):,} files. {advice}")])
    unmasked = [images[key] for key in sorted(set(images) - set(partners))]
    return Paired([(images[key], partners[key]) for key in images if key in partners], unmasked, faults)
