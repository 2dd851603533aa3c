"""How each job learned: train loss and the primary metric on val, epoch by epoch, one small pair of charts a job."""

from dataclasses import dataclass
from html import escape

from pipeline.report._charts import Axis, Series, axis, dot, frame, path, svg, text
from pipeline.report._html import intro, significant
from pipeline.report.results import Results

TITLE = "Learning curves"
ORDER = 40
WIDTH, HEIGHT = 300.0, 176.0
#: columns of a history that are no part of the loss
NO_PARTS = {"train/loss", "train/lr"}


def render(results: Results) -> str:
    """A row of small charts for each dataset and task."""
    parts: list[str] = []
    for (dataset, task), jobs in results.groups().items():
        learned = [job for job in jobs if results.histories.get(job)]
        if learned:
            heading = f"<h3>{escape(dataset)} <small>{escape(task)}</small></h3>"
            parts.append(heading + _group(f"backdrop-{len(parts)}", learned, results))
    if not parts:
        return ""
    opening = intro(
        "One epoch is one pass over the training images. The loss is what training pushes down; its scale is each "
        "job’s own, since losses differ in kind, and thin lines are what it is the sum of. The score is taken on val "
        "images, which the network does not learn from; all jobs share its scale, and the other jobs are drawn in grey "
        "behind. The dot is the epoch that was kept."
    )
    return opening + "".join(parts)


@dataclass(frozen=True, slots=True)
class Shared:
    """What the charts of one group have in common: both axes, the metric's name, the id of the grey lines."""

    epochs: Axis
    scores: Axis | None
    primary: str
    backdrop: str


def _group(backdrop: str, jobs: list[str], results: Results) -> str:
    primary = next((str(results.metrics[job]["primary"]) for job in jobs if job in results.metrics), "")
    losses = {job: results.series(job, "train/loss") for job in jobs}
    scores = {job: results.series(job, f"val/{primary}") for job in jobs}
    epochs = [epoch for job in jobs for epoch, _ in [*losses[job], *scores[job]]]
    values = [value for series in scores.values() for _, value in series]
    if not epochs:
        return "<p>No epochs: nothing here is trained by gradient.</p>"
    x = axis(epochs, 46, WIDTH - 16, margin=0.02)
    y = axis(values, HEIGHT - 40, 26) if values else None
    shared = Shared(x, y, primary, backdrop)
    behind = "".join(path(series, x, y, "behind") for series in scores.values()) if y else ""
    hidden = f'<svg class="offstage" width="0" height="0" aria-hidden="true"><g id="{backdrop}">{behind}</g></svg>'
    cards = [_card(job, losses[job], scores[job], shared, results) for job in jobs]
    return f'{hidden}<div class="cards">{"".join(cards)}</div>'


def _card(job: str, loss: Series, score: Series, shared: Shared, results: Results) -> str:
    kept = results.models.get(job, {}).get("best_epoch")
    x, y = shared.epochs, shared.scores
    charts = []
    if loss:
        parts = _parts(job, results)
        own = _loss_axis([value for series in (loss, *parts.values()) for _, value in series])
        label = "train loss" + (", log scale" if own.log else "")
        base = frame(x, own, "epoch", label) + _thin(parts, x, own)
        charts.append(_panel(base, loss, x, own, kept, f"{job}: {label}"))
    if score and y:
        label = f"val {shared.primary}"
        base = frame(x, y, "epoch", label) + f'<use href="#{shared.backdrop}"/>'
        charts.append(_panel(base, score, x, y, kept, f"{job}: {label}", name_kept=True))
    body = "".join(charts) or "<p>No epochs: not trained by gradient.</p>"
    return f'<figure class="card"><figcaption><b>{escape(job)}</b></figcaption>{body}</figure>'


def _parts(job: str, results: Results) -> dict[str, Series]:
    """What the loss is the sum of, by name: a detector's losses, or those of two players; nothing where it is one."""
    columns = {column for row in results.histories.get(job, []) for column in row if column.startswith("train/")}
    names = sorted(columns - NO_PARTS)
    found: dict[str, Series] = {name.removeprefix("train/"): results.series(job, name) for name in names}
    return found if len(found) > 1 else {}


def _thin(parts: dict[str, Series], x: Axis, y: Axis) -> str:
    """A thin line each, named: at its end where there are two, else when pointed at."""
    lines = [f"<g><title>{escape(name)}</title>{path(part, x, y, 'part')}</g>" for name, part in parts.items()]
    ends = [text(x.end, y.at(part[-1][1]) - 4, name, "end", "tick") for name, part in parts.items() if part]
    return "".join(lines + (ends if len(parts) == 2 else []))


def _loss_axis(values: list[float]) -> Axis:
    """Logarithmic where the loss falls by more than a factor of 20, so that its end can be read."""
    log = min(values) > 0 and max(values) / min(values) > 20
    return axis(values, HEIGHT - 40, 26, log=log)


def _panel(
    base: str, series: Series, x: Axis, y: Axis, kept: int | None, title: str, *, name_kept: bool = False
) -> str:
    body = base + path(series, x, y, "curve")
    for epoch, value in series:
        if epoch == kept or len(series) == 1:
            body += dot(x.at(epoch), y.at(value), 4, "dot", f"epoch {epoch:g}: {value:.4g}")
            if name_kept:
                body += text(WIDTH - 16, 12, f"kept: {significant(value)}", "end", "name strong")
    return svg(WIDTH, HEIGHT, body, title)
