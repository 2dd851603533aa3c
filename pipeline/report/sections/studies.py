"""Studies: each question with its variants' scores over several seeds, and whether the claim held by these numbers."""

import re
from html import escape
from typing import Any

import numpy as np

from pipeline.bootstrap import Estimate
from pipeline.report._charts import Axis, Series, axis, frame, labels, path, svg
from pipeline.report._charts import interval as bar
from pipeline.report._html import ABSENT, cell, compact, decimals, intro, number, pill, plain, row_head, table
from pipeline.report._studies import COUNTED, HELD, Trial, Verdict
from pipeline.report.results import Results

TITLE = "Studies"
ORDER = 25
WIDTH, HEIGHT = 300.0, 176.0


def render(results: Results) -> str:
    """A part for each study of the roster; empty where there is none."""
    if not results.trials:
        return ""
    opening = intro(
        "Each study changes one thing and trains every variant from several seeds. Scores are means over the seeds on "
        "the same test images; below are the 95 % interval, and each seed’s own score. The interval tells how far the "
        "mean might move with other test images and other seeds; so few seeds make it wide. A claim held if the whole "
        "interval of the difference is on its side, and is undecided if the interval holds 0. These are small networks "
        "on few images: they test the idea, not the published numbers."
    )
    return opening + "".join(_study(trial) for trial in results.trials)


def _study(trial: Trial) -> str:
    verdicts = "".join(f"<li>{_verdict(verdict)}</li>" for verdict in trial.verdicts())
    paper = re.sub("https?://", "", trial.study.paper)  # the page names no address that it might load
    return (
        f"<h3>{escape(trial.name)} <small>{escape(trial.study.question)}</small></h3>"
        f'<p class="note">{escape(paper)}</p>{_table(trial)}<ul>{verdicts}</ul>{_waiting(trial)}{_gradients(trial)}'
    )


def _verdict(verdict: Verdict) -> str:
    reasons = "; ".join(verdict.reasons)
    mark = pill(verdict.word, "good" if verdict.word == HELD else "")
    return f'<b>{escape(verdict.claim)}</b> {mark}<span class="aside">{escape(reasons)}</span>'


def _waiting(trial: Trial) -> str:
    """Jobs without a score, and why."""
    failed = "".join(f"<li>{escape(job)} failed: {escape(reason)}</li>" for job, reason in trial.failed.items())
    waiting = [job for job in trial.jobs if job not in trial.metrics and job not in trial.failed]
    items = failed + (f"<li>Not measured yet: {escape(', '.join(waiting))}</li>" if waiting else "")
    return f'<ul class="warning">{items}</ul>' if items else ""


def _table(trial: Trial) -> str:
    measures = [name for name in trial.measures if name]
    estimates = {name: [trial.estimate(variant, name) for variant in trial.study.variants] for name in measures}
    rows = []
    for place, (variant, change) in enumerate(trial.study.variants.items()):
        row = [row_head(escape(variant)), cell(plain(change) or "the base as it is", kind="words")]
        rows.append(row + [_cell(trial, variant, name, estimates[name], place) for name in measures])
    heads = ["variant", "what is changed", *(escape(name.replace("_", " ")) for name in measures)]
    return table(heads, rows)


def _cell(trial: Trial, variant: str, measure: str, estimates: list[Estimate | None], place: int) -> str:
    """A counted number, or a mean with its interval and each seed's own value."""
    found = estimates[place]
    if found is None:
        return cell(ABSENT)
    if measure in COUNTED:
        exact = f"{found.value:,.0f}" if measure in ("parameters", "receptive_field") else compact(found.value)
        return cell(exact)
    known = [item for item in estimates if item is not None]
    extent = [value for item in known for value in (item.value, item.low, item.high)]
    digits = decimals(extent)
    values, _ = trial.outcome(variant, measure) or (np.array([]), None)
    seeds = ", ".join(number(float(value), digits) for value in values)
    drawn = bar(found.value, found.low, found.high, (min(extent), max(extent)), max(item.value for item in known))
    spread = f"{number(found.low, digits)}–{number(found.high, digits)}"
    return cell(
        f'{drawn}<b>{number(found.value, digits)}</b><span class="range">{spread}</span>'
        f'<span class="aside">{seeds}</span>',
        kind="primary",
    )


def _gradients(trial: Trial) -> str:
    """A chart for each variant: the gradient at every convolution, before training and after."""
    curves = {variant: found for variant in trial.study.variants if (found := _curves(trial, variant))}
    values = [value for pair in curves.values() for series in pair.values() for _, value in series if value > 0]
    if not values:
        return ""
    y = axis(values, HEIGHT - 40, 26, log=True)
    cards = "".join(_card(variant, pair, y) for variant, pair in curves.items())
    note = (
        "Norm of the loss’s gradient at each convolution’s weights, from the image to the output; geometric mean over "
        "the seeds. Where the line is level, all layers learn alike; where it is steep to the left, steps "
        "that suit the late layers are far too large or too small for the early ones. Grey: before training."
    )
    return f'<p class="note">{note}</p><div class="cards">{cards}</div>'


def _curves(trial: Trial, variant: str) -> dict[str, Series]:
    """Gradient norms as (place of the convolution, mean over seeds); empty where there is no convolution."""
    found: list[Any] = [trial.gradients.get(trial.job(variant, seed)) for seed in trial.study.seeds]
    if not all(found):
        return {}
    curves: dict[str, Series] = {}
    for moment in ("before", "after"):
        norms = np.array([item[moment] for item in found])
        with np.errstate(divide="ignore"):
            means = np.exp(np.log(norms).mean(axis=0))
        curves[moment] = [(place, float(mean)) for place, mean in enumerate(means, start=1) if mean > 0]
    return curves if all(curves.values()) else {}


def _card(variant: str, curves: dict[str, Series], y: Axis) -> str:
    x = axis([place for series in curves.values() for place, _ in series], 46, WIDTH - 16, margin=0.02)
    body = frame(x, y, "convolution", "gradient, log scale")
    body += path(curves["before"], x, y, "behind") + path(curves["after"], x, y, "curve")
    ends = [(x.at(series[-1][0]), y.at(series[-1][1])) for series in curves.values()]
    body += "".join(labels(ends, list(curves), (x.start, y.end, x.end + 12, y.start)))
    chart = svg(WIDTH, HEIGHT, body, f"{variant}: gradient norm by convolution")
    return f'<figure class="card"><figcaption><b>{escape(variant)}</b></figcaption>{chart}</figure>'
