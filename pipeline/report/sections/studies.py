"""Studies: the scores of each variant over several seeds, and whether the claims hold."""

import re
from html import escape

import numpy as np

from pipeline.bootstrap import Estimate
from pipeline.report._charts import Axis, Series, fit_axis, frame, interval_bar, label_points, path, svg
from pipeline.report._html import (
    ABSENT,
    cell,
    count_decimals,
    format_compact,
    format_fixed,
    format_setting,
    intro,
    pill,
    row_header,
    table,
)
from pipeline.report._studies import COUNTED, HELD, JudgedClaim, StudyResults
from pipeline.report.results import Results

TITLE = "Studies"
ORDER = 25
WIDTH, HEIGHT = 300.0, 176.0


def render(results: Results) -> str:
    """Each study of the roster; empty if there is none."""
    if not results.studies:
        return ""
    opening = intro(
        "Each study changes one thing and trains every variant with several seeds. A score is the mean over the seeds "
        "on the same test images; below it are its 95 % interval and the score of each seed. The interval combines "
        "two sources of uncertainty, the choice of test images and the seed of training; with few seeds it is wide. "
        "A claim held if the whole interval of the difference is on its side, and is undecided if the interval "
        "contains 0. These are small networks on few images: they test the idea, not the published numbers."
    )
    return opening + "".join(_study(study) for study in results.studies)


def _study(study: StudyResults) -> str:
    claims = "".join(f"<li>{_claim(judged)}</li>" for judged in study.judge_claims())
    paper = re.sub("https?://", "", study.study.paper)  # the page must contain no address that it could load
    return (
        f"<h3>{escape(study.name)} <small>{escape(study.study.question)}</small></h3>"
        f'<p class="note">{escape(paper)}</p>{_table(study)}<ul>{claims}</ul>{_missing(study)}{_gradients(study)}'
    )


def _claim(judged: JudgedClaim) -> str:
    reasons = "; ".join(judged.reasons)
    outcome = pill(judged.outcome, "good" if judged.outcome == HELD else "")
    return f'<b>{escape(judged.claim)}</b> {outcome}<span class="aside">{escape(reasons)}</span>'


def _missing(study: StudyResults) -> str:
    """Jobs without a score, and why."""
    failed = "".join(f"<li>{escape(job)} failed: {escape(reason)}</li>" for job, reason in study.failed.items())
    unmeasured = [job for job in study.jobs if job not in study.metrics and job not in study.failed]
    items = failed + (f"<li>Not measured yet: {escape(', '.join(unmeasured))}</li>" if unmeasured else "")
    return f'<ul class="warning">{items}</ul>' if items else ""


def _table(study: StudyResults) -> str:
    measures = [name for name in study.measures if name]
    estimates = {
        name: {variant: study.estimate(variant, name) for variant in study.study.variants} for name in measures
    }
    rows = []
    for variant, change in study.study.variants.items():
        row = [row_header(escape(variant)), cell(format_setting(change) or "none (the base)", css_class="words")]
        rows.append(row + [_cell(study, variant, name, estimates[name]) for name in measures])
    headers = ["variant", "changed settings", *(escape(name.replace("_", " ")) for name in measures)]
    return table(headers, rows)


def _cell(study: StudyResults, variant: str, measure: str, estimates: dict[str, Estimate | None]) -> str:
    """A counted number, or a mean with its interval and the value of each seed."""
    estimate = estimates[variant]
    if estimate is None:
        return cell(ABSENT)
    if measure in COUNTED:
        all_digits = measure in ("parameters", "receptive_field")
        return cell(f"{estimate.value:,.0f}" if all_digits else format_compact(estimate.value))
    measured = [item for item in estimates.values() if item is not None]
    extent = [value for item in measured for value in (item.value, item.low, item.high)]
    digits = count_decimals(extent)
    values, _ = study.values(variant, measure) or (np.array([]), None)
    seeds = ", ".join(format_fixed(float(value), digits) for value in values)
    largest = max(item.value for item in measured)
    bar = interval_bar(estimate.value, estimate.low, estimate.high, (min(extent), max(extent)), largest)
    bounds = f"{format_fixed(estimate.low, digits)}–{format_fixed(estimate.high, digits)}"
    return cell(
        f'{bar}<b>{format_fixed(estimate.value, digits)}</b><span class="range">{bounds}</span>'
        f'<span class="aside">{seeds}</span>',
        css_class="primary",
    )


def _gradients(study: StudyResults) -> str:
    """A chart for each variant: the gradient norm of every convolution, before and after training."""
    curves = {variant: pair for variant in study.study.variants if (pair := _gradient_curves(study, variant))}
    values = [value for pair in curves.values() for series in pair.values() for _, value in series if value > 0]
    if not values:
        return ""
    y = fit_axis(values, HEIGHT - 40, 26, log=True)
    cards = "".join(_card(variant, pair, y) for variant, pair in curves.items())
    note = (
        "Gradient norm of the loss with respect to each convolution’s weights, from the image to the output; geometric "
        "mean over the seeds. On a level line, all layers learn at a similar rate. On a line that is steep at the "
        "left, a step size that suits the late layers is far too large or too small for the early ones. Gray: before "
        "training."
    )
    return f'<p class="note">{note}</p><div class="cards">{cards}</div>'


def _gradient_curves(study: StudyResults, variant: str) -> dict[str, Series]:
    """Gradient norms as (number of the convolution, mean over seeds); empty if the network has no convolution."""
    by_seed = [study.gradients.get(study.job(variant, seed), {}) for seed in study.study.seeds]
    if not all(by_seed):
        return {}
    curves: dict[str, Series] = {}
    for moment in ("before", "after"):
        norms = np.array([gradients[moment] for gradients in by_seed])
        with np.errstate(divide="ignore"):
            means = np.exp(np.log(norms).mean(axis=0))
        curves[moment] = [(number, float(mean)) for number, mean in enumerate(means, start=1) if mean > 0]
    return curves if all(curves.values()) else {}


def _card(variant: str, curves: dict[str, Series], y: Axis) -> str:
    x = fit_axis([number for series in curves.values() for number, _ in series], 46, WIDTH - 16, margin=0.02)
    body = frame(x, y, "convolution", "gradient, log scale")
    body += path(curves["before"], x, y, "background") + path(curves["after"], x, y, "curve")
    ends = [(x.to_px(series[-1][0]), y.to_px(series[-1][1])) for series in curves.values()]
    body += "".join(label_points(ends, list(curves), (x.start, y.end, x.end + 12, y.start)))
    chart = svg(WIDTH, HEIGHT, body, f"{variant}: gradient norm by convolution")
    return f'<figure class="card"><figcaption><b>{escape(variant)}</b></figcaption>{chart}</figure>'
