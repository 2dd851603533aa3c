"""Inspection of classifiers: weights of the first layer, distances between classes, and probably wrong labels."""

from html import escape
from typing import Any

from pipeline.report._html import ABSENT, cell, format_fixed, gallery, intro, picture, row_header, table, tile, tiles
from pipeline.report._label_issues import find_label_issues
from pipeline.report.results import Results
from pipeline.scores import finite_or_none

TITLE = "Model inspection"
ORDER = 75
#: rows of a table of classes, and label issues per dataset
MAX_CLASSES, MAX_ISSUES = 30, 12


def render(results: Results) -> str:
    """Three parts; a part without content is left out."""
    return _first_layers(results) + _class_variability(results) + _label_issues(results)


def _first_layers(results: Results) -> str:
    pictures = gallery(_first_layer(job, results) for job in results.succeeded)
    if not pictures:
        return ""
    opening = intro(
        "The weights of the layer that reads the pixels. Middle gray is zero; brighter weights are positive, darker "
        "ones negative. A convolution applies small kernels at every position: look for edges, spots and colours. A "
        "linear classifier has one template per class, as large as the image. Each tile has its own scale."
    )
    return f"<h3>First layer</h3>{opening}{pictures}"


def _first_layer(job: str, results: Results) -> str:
    shape = results.inspections.get(job, {}).get("first_layer")
    if not shape:
        return ""
    count, channels, height, width = shape
    caption = f"<b>{escape(job)}</b> {count} of {height}×{width}, {channels} channel{'s' if channels > 1 else ''}"
    path = results.root / "evaluations" / job / "seeing-first-layer.png"
    return picture(path, f"Weights of the first layer of {job}", caption)


def _class_variability(results: Results) -> str:
    parts = []
    for ranking in results.rankings():
        best = next((job for job in ranking.jobs if results.inspections.get(job, {}).get("classes")), None)
        if best:
            heading = f"<h4>{escape(ranking.dataset)} <small>features of {escape(best)}</small></h4>"
            parts.append(heading + _class_table(results.inspections[best], ranking.dataset, results))
    if not parts:
        return ""
    opening = intro(
        "Distances between test images in the feature space of the best classifier, before its last layer; 1 is the "
        "mean distance between any two images. Two classes are easily confused if the mean distance within a class is "
        "nearly as large as the distance to the nearest other class. The most typical image of a class is nearest to "
        "the others of its class, the least typical one is furthest from them."
    )
    return f"<h3>Class variability</h3>{opening}{''.join(parts)}"


def _class_table(inspection: dict[str, Any], dataset: str, results: Results) -> str:
    """A row for each class, the most easily confused classes first."""
    images = results.stored_images(dataset, "test")

    def image_tile(index: int, description: str, name: str) -> str:
        return tile(images[index].pixels, f"{description} image of {name}") if index < len(images) else ABSENT

    rows = []
    ordered = sorted(inspection["classes"], key=lambda item: item["to_nearest"] / max(item["within"], 1e-9))
    for item in ordered[:MAX_CLASSES]:
        values = [finite_or_none(item[key]) for key in ("within", "between", "to_nearest")]
        within, between, to_nearest = (cell(format_fixed(value, 3), value) for value in values)
        name = str(item["class"])
        typical = cell(image_tile(item["most_typical"], "Most typical", name), css_class="")
        untypical = cell(image_tile(item["least_typical"], "Least typical", name), css_class="")
        nearest = cell(escape(str(item["nearest"])), css_class="")
        rows.append([row_header(escape(name)), within, between, typical, untypical, nearest, to_nearest])
    headers = ["class", "within class", "to other classes", "most typical", "least typical"]
    headers += ["nearest class", "to nearest class"]
    omitted = len(ordered) - len(rows)
    note = f"{inspection['images']:,} test images, {inspection['features']:,} features."
    remark = f" {omitted:,} less easily confused classes are not listed." if omitted else ""
    return table(headers, rows, sortable=True) + f'<p class="note">{note}{remark}</p>'


def _label_issues(results: Results) -> str:
    parts = [
        part
        for dataset, facts in results.datasets.items()
        if (part := _dataset_label_issues(dataset, facts.classes, results))
    ]
    if not parts:
        return ""
    opening = intro(
        "Test images for which the ensemble of all classifiers of a dataset predicts another class than the label. "
        "Check whether the label is wrong, the image ambiguous, or all networks mistaken. The number is a lower bound "
        "of the ensemble’s mean probability of the predicted class."
    )
    return f"<h3>Possible label errors</h3>{opening}{''.join(parts)}"


def _dataset_label_issues(dataset: str, classes: tuple[str, ...], results: Results) -> str:
    images = results.stored_images(dataset, "test")
    ids = images.column("id")
    tables = {
        job: rows
        for job in results.succeeded
        if results.jobs[job].dataset == dataset
        and (rows := results.classifier_rows(job))
        and rows["id"].to_pylist() == ids
    }
    if not tables:
        return ""
    issues, names = find_label_issues(list(tables.values())), escape(", ".join(tables))
    if isinstance(issues, str):
        return f'<p class="note">{escape(dataset)}: no label is doubted by {names}: {issues}.</p>'
    if not issues:
        return f'<p class="note">{escape(dataset)}: no label is doubted by {names}.</p>'
    figures = []
    for issue in issues[:MAX_ISSUES]:
        label, predicted = classes[issue.label], classes[issue.predicted]
        caption = f"label <b>{escape(label)}</b>, predicted <b>{escape(predicted)}</b> {issue.probability:.2f}"
        figures.append(tile(images[issue.index].pixels, f"Test image with label {label}", caption))
    note = f"{len(issues):,} of {len(ids):,} test images, by {names}"
    remark = f"; the first {MAX_ISSUES} are shown" if len(issues) > MAX_ISSUES else ""
    return f"<h4>{escape(dataset)} <small>{note}{remark}</small></h4>{tiles(figures)}"
