"""Metrics whose names changed: results and MLflow runs of earlier versions still hold the old names."""

import re
from collections.abc import Callable, Mapping
from typing import Any

#: old → new; where a name ends with `[`, brackets follow it, as in `sure[lenet5]`
OLD_METRIC_NAMES = {
    "loc_acc": "localization_accuracy",
    "sure[": "confident_fraction[",
    "classes[": "classes_found[",
}
#: measures of boxes, whose names begin with `box_` today: `mAP`, `AP50_low`, `AP[cat]`, `AR_small`
OF_BOXES = r"(?:mAP|AP(?:50|75)?(?:_voc07|_voc10)?|AR\d*)(?:_small|_medium|_large)?"
BOX_METRIC = re.compile(rf"{OF_BOXES}(?=\[| under |(?:_low|_high)?$)")
#: what may stand before a metric's name in a file or a run
PREFIXES = ("val_", "val/", "test/")


def renamed(name: str) -> str:
    """A metric's name of today, whatever stands around it: `val/loc_acc`, `loc_acc_low`, `sure[lenet5] under fog`."""
    prefix = next((prefix for prefix in PREFIXES if name.startswith(prefix)), "")
    bare = name.removeprefix(prefix)
    if BOX_METRIC.match(bare):
        return f"{prefix}box_{bare}"
    for old, new in OLD_METRIC_NAMES.items():
        if bare.startswith(old):
            return prefix + new + bare.removeprefix(old)
    return name


def renamed_text(text: str) -> str:
    """A sentence with today's names: `cam: loc_acc 0.47 on test` → `cam: localization_accuracy 0.47 on test`."""
    names = "|".join(map(re.escape, OLD_METRIC_NAMES))
    text = re.sub(rf"(?<!\w)(?:{names})", lambda match: OLD_METRIC_NAMES[match[0]], text)
    return re.sub(r"(?<![\w-])mAP(?![\w-])", "box_mAP", text)


def rename_fields(values: Mapping[str, Any], **renames: Callable[[str], str]) -> dict[str, Any]:
    """A copy of `values` in which each named field, if it is a text, is renamed by its function."""
    texts = {name: rename(values[name]) for name, rename in renames.items() if isinstance(values.get(name), str)}
    return {**values, **texts}


def renamed_decision(decision: Mapping[str, Any]) -> dict[str, Any]:
    """A decision about the champion, as registered.json and MLflow's tags hold it, with today's names."""
    return rename_fields(decision, metric=renamed, text=renamed_text)


def renamed_scores(scores: Mapping[str, Any]) -> dict[str, Any]:
    """The content of `metrics/<job>.json` or `scores.json` with today's names, that of the primary metric included."""
    return rename_fields({renamed(name): value for name, value in scores.items()}, primary=renamed)
