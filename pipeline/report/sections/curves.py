"""Learning curves: train loss and the primary metric on val by epoch, two small charts per job."""

from dataclasses import dataclass
from html import escape

from pipeline.report._advice import advise
from pipeline.report._charts import Axis, Series, dot, fit_axis, frame, path, svg, text
from pipeline.report._html import format_significant, intro
from pipeline.report.results import Results

TITLE = "Learning curves"
ORDER = 40
WIDTH, HEIGHT = 300.0, 176.0
#: columns of a history that are not components of the loss
NOT_COMPONENTS = {"train/loss", "train/lr"}


def render(results: Results) -> str:
    """A row of small charts for each dataset and task."""
    parts: list[str] = []
    for (dataset, task), jobs in results.groups().items():
        trained = [job for job in jobs if results.histories.get(job)]
        if trained:
            heading = f"<h3>{escape(dataset)} <small>{escape(task)}</small></h3>"
            parts.append(heading + _group(f"backdrop-{len(parts)}", trained, results))
    if not parts:
        return ""
    opening = intro(
        "One epoch is one pass over the training images. Training minimises the loss. Each job has its own scale of "
        "the loss, because losses of different kinds can’t be compared; thin lines are the components of a loss. "
        "The score is measured on val images, which are not trained on; all jobs share its scale, and the other jobs "
        "are drawn in gray. The dot marks the epoch whose weights were kept."
    )
    return opening + "".join(parts)


@dataclass(frozen=True, slots=True)
class Shared:
    """What the charts of a group share: both axes, the metric's name, and the id of the other jobs' curves."""

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
        return "<p>No epochs: these jobs are not trained by gradient descent.</p>"
    x = fit_axis(epochs, 46, WIDTH - 16, margin=0.02)
    y = fit_axis(values, HEIGHT - 40, 26) if values else None
    shared = Shared(x, y, primary, backdrop)
    curves = "".join(path(series, x, y, "background") for series in scores.values()) if y else ""
    definition = f'<svg class="shared" width="0" height="0" aria-hidden="true"><g id="{backdrop}">{curves}</g></svg>'
    cards = [_card(job, losses[job], scores[job], shared, results) for job in jobs]
    return f'{definition}<div class="cards">{"".join(cards)}</div>'


def _card(job: str, loss: Series, score: Series, shared: Shared, results: Results) -> str:
    kept = results.models.get(job, {}).get("best_epoch")
    x, y = shared.epochs, shared.scores
    charts = []
    if loss:
        components = loss_components(job, results)
        loss_axis = _loss_axis([value for series in (loss, *components.values()) for _, value in series])
        label = "train loss" + (", log scale" if loss_axis.log else "")
        base = frame(x, loss_axis, "epoch", label) + _component_lines(components, x, loss_axis)
        charts.append(_panel(base, loss, x, loss_axis, kept, f"{job}: {label}"))
    if score and y:
        label = f"val {shared.primary}"
        base = frame(x, y, "epoch", label) + f'<use href="#{shared.backdrop}"/>'
        charts.append(_panel(base, score, x, y, kept, f"{job}: {label}", label_kept=True))
    body = "".join(charts) or "<p>No epochs: not trained by gradient descent.</p>"
    advice = advise(job, results)
    sentence = f' <span class="note">{escape(advice)}</span>' if advice else ""
    return f'<figure class="card"><figcaption><b>{escape(job)}</b>{sentence}</figcaption>{body}</figure>'


def loss_components(job: str, results: Results) -> dict[str, Series]:
    """The losses whose sum is the train loss, by name; empty for a single loss.

    Detectors have several losses, and GANs one per network.
    """
    columns = {column for row in results.histories.get(job, []) for column in row if column.startswith("train/")}
    names = sorted(columns - NOT_COMPONENTS)
    components: dict[str, Series] = {name.removeprefix("train/"): results.series(job, name) for name in names}
    return components if len(components) > 1 else {}


def _component_lines(components: dict[str, Series], x: Axis, y: Axis) -> str:
    """A thin line for each component; two are labelled at their ends, more have tooltips only."""
    lines = [
        f"<g><title>{escape(name)}</title>{path(series, x, y, 'component')}</g>" for name, series in components.items()
    ]
    labels = [
        text(x.end, y.to_px(series[-1][1]) - 4, name, "end", "tick") for name, series in components.items() if series
    ]
    return "".join(lines + (labels if len(components) == 2 else []))


def _loss_axis(values: list[float]) -> Axis:
    """Logarithmic if the loss falls by more than a factor of 20, so that its last values can be read."""
    log = min(values) > 0 and max(values) / min(values) > 20
    return fit_axis(values, HEIGHT - 40, 26, log=log)


def _panel(
    base: str, series: Series, x: Axis, y: Axis, kept: int | None, title: str, *, label_kept: bool = False
) -> str:
    body = base + path(series, x, y, "curve")
    for epoch, value in series:
        if epoch == kept or len(series) == 1:
            body += dot(x.to_px(epoch), y.to_px(value), 4, "dot", f"epoch {epoch:g}: {value:.4g}")
            if label_kept:
                body += text(WIDTH - 16, 12, f"kept: {format_significant(value)}", "end", "name strong")
    return svg(WIDTH, HEIGHT, body, title)
