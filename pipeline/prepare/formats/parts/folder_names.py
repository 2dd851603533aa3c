"""What names of folders say: a split, a part of a dataset such as its masks, or a number of a part."""

import re

SPLITS = {
    "train": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "test": "test",
    "training": "train",
    "testing": "test",
}
#: words that may stand beside a split's, as in `training_set` and `seg_train`
FILLERS = frozenset({"data", "dataset", "folder", "image", "images", "img", "imgs", "photos", "seg", "set", "split"})
#: words of folders that hold a part of each image's data
ROLES = frozenset(
    {
        *("ann", "anno", "annot", "annotation", "annotations", "anns", "json", "label", "labels", "xml"),
        *("gt", "groundtruth", "mask", "masks", "segmentation", "segmentations"),
        *("image", "images", "img", "imgs", "jpegimages", "original", "originals"),
        *("input", "inputs", "output", "outputs", "source", "sources", "target", "targets"),
    }
)
#: words that may stand beside one of ROLES
PLAIN = frozenset({"dir", "file", "files", "folder", "jpeg", "jpg", "png", "tr", "ts"})
#: folders that hold one part of the images after the other: parts, a camera's folders, days
PARTS = re.compile(
    r"(?:part|batch|fold|chunk|shard|subset|images?|imgs?|frames?|video|clip|sequence|seq|page|folder)s?[-_ ]*\d+"
    r"|\d{3}(?:canon|nikon|msdcf|apple|_pana|olymp|_fuji|media|gopro|dicam|photo)"
    r"|(?:19|20)\d\d[-_. ]?[01]\d(?:[-_. ]?[0-3]\d)?(?:\D.*)?",
    re.IGNORECASE,
)


def words(name: str) -> list[str]:
    """The words of a name in lower case: `trainA_images` has train, a and images."""
    return [word.lower() for word in re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+", name)]


def split_of(name: str) -> str | None:
    """The split that a name stands for, with words that say no more: `training_set` is train, `train_station` none."""
    named = [word for word in words(name) if word not in FILLERS]
    return SPLITS.get(named[0]) if len(named) == 1 and not re.search(r"\d", name) else None


def has_split(name: str) -> bool:
    """Whether a word of the name is a split's, or begins with one and goes on as a role: `trainannot`, `testA`."""
    return any(word in SPLITS or _glued(word) for word in words(name))


def _glued(word: str) -> bool:
    return any(word.startswith(split) and word[len(split) :] in ROLES for split in SPLITS)


def is_role(name: str) -> bool:
    """Whether a name says what part of the data a folder holds, and nothing else: `img_dir`, `GT_masks`."""
    named = [word for word in words(name) if word not in PLAIN and word not in SPLITS]
    return bool(named) and all(word in ROLES for word in named)


def is_part(name: str) -> bool:
    """Whether a name numbers a part, as `batch_1`, `100CANON` and `2024-05-31`."""
    return PARTS.fullmatch(name) is not None
