"""Albumentations: any transform of the library albumentations (https://albumentations.ai/docs) by its name.

Boxes, masks, keypoints, label map and weights follow. A transform that changes the image's size or type is refused, as
is one that needs more than the image (reference pictures, metadata).
"""

import difflib
import inspect
import warnings
from typing import Any

import albumentations as A
from albumentations.core.type_definitions import Targets

from pipeline.sample import IGNORE

#: so that the tests have one
EXAMPLE = {"name": "CLAHE"}
#: annotations that must follow
FOLLOWING = {Targets.MASK, Targets.BBOXES, Targets.KEYPOINTS}


def names() -> list[str]:
    """The transforms of images that albumentations has, whose annotations follow."""
    classes = {name: item for name, item in vars(A).items() if inspect.isclass(item)}
    return sorted(name for name, item in classes.items() if _is_offered(item))


def _is_offered(item: type[Any]) -> bool:
    if issubclass(item, A.ImageOnlyTransform):
        return item is not A.ImageOnlyTransform
    return issubclass(item, A.DualTransform) and {Targets.IMAGE, *FOLLOWING} <= set(getattr(item, "_targets", ()))


def build(*, name: str, p: float = 0.5, **options: Any) -> A.BasicTransform:
    """The transform `name`, in albumentations' spelling, with its own options."""
    if name not in names():
        near = difflib.get_close_matches(name, names(), n=1)
        hint = f"; did you mean {near[0]!r}?" if near else "."
        raise ValueError(f"name: albumentations has no transform {name!r} that annotations can follow{hint}")
    transform = getattr(A, name)
    parameters = inspect.signature(transform.__init__).parameters
    fill_mask = parameters.get("fill_mask")
    if fill_mask is not None and fill_mask.default is not None:  # pixels from outside have no class
        options = {"fill_mask": IGNORE, **options}
    allowed = sorted(set(parameters) - {"self"})
    for option in options:
        if option not in allowed:
            near = difflib.get_close_matches(option, allowed, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else "."
            raise ValueError(f"{name} has no option {option!r}{hint} It has: {', '.join(allowed)}.")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # which recommend other transforms
            warnings.filterwarnings("error", message=".*not valid for transform")
            return transform(p=p, **options)
    except (UserWarning, ValueError) as error:
        raise ValueError(f"{name}: {_reason(error)}") from error


def _reason(error: Exception) -> str:
    """The first fault of pydantic's list, else the error's own text, on one line."""
    for cause in (error, error.__cause__, error.__context__):
        if cause is not None and hasattr(cause, "errors"):
            first = cause.errors()[0]
            given = "" if isinstance(first["input"], dict) else f", found {first['input']!r}"
            return f"{first['loc'][0] if first['loc'] else 'options'}: {first['msg']}{given}"
    return " ".join(str(error).split())
