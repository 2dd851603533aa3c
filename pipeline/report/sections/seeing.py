"""What the classifiers see: their first layer's weights, how they group the classes, and which labels they doubt."""

from html import escape
from typing import Any

from pipeline.report._doubt import doubts
from pipeline.report._html import ABSENT, cell, gallery, intro, number, picture, row_head, table, tile, tiles
from pipeline.report.results import Results, finite

TITLE = "Seeing"
ORDER = 75
#: classes of a table, and doubtful images of a dataset, that are shown
MOST_CLASSES, MOST_DOUBTS = 30, 12


def render(results: Results) -> str:
    """Three parts, each left out where there is nothing to show."""
    return _first_layers(results) + _variability(results) + _doubts(results)


def _first_layers(results: Results) -> str:
    shown = gallery(_first_layer(job, results) for job in results.sound)
    if not shown:
        return ""
    opening = intro(
        "The weights that each network lays on the pixels. Middle grey is zero; what is brighter adds to the answer, "
        "what is darker takes from it. A convolution lays small kernels on every place: look for edges, spots and "
        "colours. A linear classifier has one template as large as the image for each class. Each tile has its own "
        "scale."
    )
    return f"<h3>First layer</h3>{opening}{shown}"


def _first_layer(job: str, results: Results) -> str:
    shape = results.seeing.get(job, {}).get("first_layer")
    if not shape:
        return ""
    count, channels, height, width = shape
    caption = f"<b>{escape(job)}</b> {count} of {height}×{width}, {channels} channel{'s' if channels > 1 else ''}"
    path = results.root / "evaluations" / job / "seeing-first-layer.png"
    return picture(path, f"Weights of the first layer of {job}", caption)


def _variability(results: Results) -> str:
    parts = []
    for contest in results.contests():
        best = next((job for job in contest.jobs if results.seeing.get(job, {}).get("classes")), None)
        if best:
            heading = f"<h4>{escape(contest.dataset)} <small>as {escape(best)} sees it</small></h4>"
            parts.append(heading + _classes(results.seeing[best], contest.dataset, results))
    if not parts:
        return ""
    opening = intro(
        "Distances between test images in what the best classifier’s last layer reads; 1 is the mean distance of any "
        "two images. Where images of a class are nearly as far from each other as from those of the nearest other "
        "class, the two are easily confused. The typical image is nearest to the rest of its class, the untypical one "
        "furthest from it."
    )
    return f"<h3>Class variability</h3>{opening}{''.join(parts)}"


def _classes(found: dict[str, Any], dataset: str, results: Results) -> str:
    """A row for each class, those hardest to tell from another first."""
    stored = results.test_images(dataset)

    def shown(place: int, kind: str, name: str) -> str:
        return tile(stored[place].pixels, f"{kind} image of {name}") if place < len(stored) else ABSENT

    rows = []
    ordered = sorted(found["classes"], key=lambda item: item["to_nearest"] / max(item["within"], 1e-9))
    for item in ordered[:MOST_CLASSES]:
        values = [finite(item[key]) for key in ("within", "between", "to_nearest")]
        within, between, to_nearest = (cell(number(value, 3), value) for value in values)
        name = str(item["class"])
        typical = cell(shown(item["most_typical"], "Most typical", name), kind="")
        untypical = cell(shown(item["least_typical"], "Least typical", name), kind="")
        nearest = cell(escape(str(item["nearest"])), kind="")
        rows.append([row_head(escape(name)), within, between, typical, untypical, nearest, to_nearest])
    heads = ["class", "within", "to other classes", "typical", "untypical", "nearest class", "to that"]
    left = len(ordered) - len(rows)
    note = f"{found['images']:,} test images, {found['features']:,} features."
    more = f" {left:,} classes that are easier to tell are not listed." if left else ""
    return table(heads, rows, sortable=True) + f'<p class="note">{note}{more}</p>'


def _doubts(results: Results) -> str:
    parts = [part for dataset, facts in results.datasets.items() if (part := _doubted(dataset, facts.classes, results))]
    if not parts:
        return ""
    opening = intro(
        "Test images that the classifiers of a dataset together take for another class than their label. Look whether "
        "the label is wrong, the image ambiguous, or all networks mistaken. The number is the share of the ensemble’s "
        "mean probability that this class has at least."
    )
    return f"<h3>Labels in doubt</h3>{opening}{''.join(parts)}"


def _doubted(dataset: str, classes: tuple[str, ...], results: Results) -> str:
    stored = results.test_images(dataset)
    ids = stored.column("id")
    tables = {
        job: rows
        for job in results.sound
        if results.jobs[job].dataset == dataset and (rows := results.classified(job)) and rows["id"].to_pylist() == ids
    }
    found = doubts(list(tables.values()))
    figures = []
    for doubt in found[:MOST_DOUBTS]:
        label, guess = classes[doubt.label], classes[doubt.taken_for]
        text = f"labelled <b>{escape(label)}</b>, taken for <b>{escape(guess)}</b> {doubt.share:.2f}"
        figures.append(tile(stored[doubt.place].pixels, f"Test image labelled {label}", text))
    if not figures:
        return ""
    note = f"{len(found):,} of {len(ids):,} test images, by {escape(', '.join(tables))}"
    rest = f"; the first {MOST_DOUBTS} are shown" if len(found) > MOST_DOUBTS else ""
    return f"<h4>{escape(dataset)} <small>{note}{rest}</small></h4>{tiles(figures)}"
