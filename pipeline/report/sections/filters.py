"""Filters: the operations that all networks of the report are made of, on one photograph.

Every picture and number is computed while the report is made, by the functions of `_filters`. Transposed convolution:
Dumoulin, Visin: A guide to convolution arithmetic for deep learning (2016), https://arxiv.org/abs/1603.07285. Global
average pooling: Lin, Chen, Yan: Network In Network, ICLR 2014, https://arxiv.org/abs/1312.4400.
"""

from importlib.util import find_spec
from pathlib import Path

import numpy as np

from pipeline import images
from pipeline.report import _filters
from pipeline.report._filters import Map, bed_of_nails, convolution, correlation, transposed_convolution
from pipeline.report._html import cell, intro, number, row_head, significant, table, tile, tiles
from pipeline.report.results import Results

TITLE = "Filters"
ORDER = 95

Compared = tuple[str, Map, Map]

#: where the photograph is cut, top and left, and the side of the piece, in px
TOP, LEFT, SIDE = 60, 100, 116
NOISE, SEED = 0.1, 0
RELIEF = np.array([[-2.0, -1, 0], [-1, 1, 1], [0, 1, 2]])
STEP = np.array([[0.0, 0, 0], [0, -1, 1], [0, 0, 0]])
SOBEL = np.array([[-1.0, 0, 1], [-2, 0, 2], [-1, 0, 1]])
LAPLACE = np.array([[0.0, 1, 0], [1, -4, 1], [0, 1, 0]])
TENT = np.array([[1.0, 2, 1], [2, 4, 2], [1, 2, 1]]) / 4
EDGES = {"upright edges": SOBEL, "level edges": SOBEL.T, "spots": LAPLACE}
STRIDE, MOVED = 2, (17, 31)


def render(results: Results) -> str:
    """Four short lessons; the same in every report."""
    image = photograph()
    opening = intro(
        "What the networks above are made of, shown on a photograph (brightness 0 to 1). <i>x</i> is the image, "
        "<i>w</i> the filter’s kernel. All numbers here were computed when this report was made."
    )
    return opening + _turned(image) + _smoothed(image) + _laid_down(image) + _averaged(image)


def photograph() -> Map:
    """A grey square of scikit-learn's china.jpg (by D. Roy, CC BY 2.0), SIDE×SIDE in 0..1."""
    package = find_spec("sklearn")  # importing it takes longer than all of the report
    assert package is not None
    assert package.origin is not None
    pixels = images.decode(Path(package.origin).parent / "datasets" / "images" / "china.jpg")
    return images.luminance(pixels[TOP : TOP + SIDE, LEFT : LEFT + SIDE]) / 255.0


def _shown(values: Map, caption: str, *, around_zero: bool = False) -> str:
    """Brightness 0..1 as it is; `around_zero`: middle grey is 0, and white or black the largest magnitude."""
    scaled = 0.5 + 0.5 * values / max(float(np.abs(values).max()), 1e-12) if around_zero else values
    gray = np.round(255 * scaled.clip(0, 1)).astype(np.uint8)
    return tile(gray, caption.replace("<i>", "").replace("</i>", ""), caption)


def _formulas(*lines: str) -> str:
    return f'<p class="formula">{"<br>".join(lines)}</p>'


def apart(one: Map, two: Map) -> float:
    """The largest difference at any place."""
    return float(np.abs(one - two).max())


def _difference(one: Map, two: Map) -> str:
    """A cell; below 1e-12 only the last digits differ, and those differ from machine to machine."""
    value = apart(one, two)
    return cell("0 <small>up to rounding</small>" if value < 1e-12 else significant(value))


def _differences(compared: list[Compared]) -> str:
    rows = [[row_head(name), _difference(one, two)] for name, one, two in compared]
    return table(["what is compared", "largest difference"], rows)


def turned(image: Map) -> list[Compared]:
    """What convolution has and correlation has not: two filters in a row are one, whatever the brackets."""
    compared = []
    for sign, apply in (("∗", convolution), ("⋆", correlation)):
        name = f"(<i>f</i> {sign} <i>w</i>) {sign} <i>x</i> and <i>f</i> {sign} (<i>w</i> {sign} <i>x</i>)"
        compared.append((name, apply(apply(STEP, RELIEF, full=True), image), apply(STEP, apply(RELIEF, image))))
    smooth = _filters.gaussian(1)
    for name, kernel in (("<i>w</i> ⋆ <i>x</i> and <i>w</i> ∗ <i>x</i>", RELIEF), ("the same for a Gaussian", smooth)):
        compared.append((name, correlation(kernel, image), convolution(kernel, image)))
    return compared


def _turned(image: Map) -> str:
    pictures = [
        _shown(image, "<i>x</i>"),
        _shown(RELIEF, "<i>w</i>, 3×3", around_zero=True),
        _shown(correlation(RELIEF, image), "<i>w</i> ⋆ <i>x</i>: lit from one side", around_zero=True),
        _shown(convolution(RELIEF, image), "<i>w</i> ∗ <i>x</i>: from the other", around_zero=True),
    ]
    return "".join(
        [
            "<h3>Correlation and convolution</h3>",
            _formulas(
                "correlation: (<i>w</i> ⋆ <i>x</i>)[i, j] = Σ <i>w</i>[a, b] · <i>x</i>[i + a, j + b]",
                "convolution: (<i>w</i> ∗ <i>x</i>)[i, j] = Σ <i>w</i>[a, b] · <i>x</i>[i − a, j − b]",
            ),
            intro(
                "Convolution turns the kernel by 180° first. That makes it associative: two filters in a row, <i>f</i> "
                "(here the difference of two neighbours) after <i>w</i>, are the one filter <i>f</i> ∗ <i>w</i>, while "
                "for correlation the brackets matter. What a network calls convolution is correlation; since it "
                "learns its kernels, it learns them turned."
            ),
            tiles(pictures),
            _differences(turned(image)),
        ]
    )


def _noisy(image: Map) -> Map:
    return image + np.random.default_rng(SEED).normal(0, NOISE, image.shape)


def smoothers() -> dict[str, Map]:
    """Kernels by name, of which the first changes nothing."""
    boxes = {"none": np.ones((1, 1)), "box 3×3": _filters.box(3), "box 7×7": _filters.box(7)}
    return boxes | {f"Gaussian σ = {sigma}": _filters.gaussian(sigma) for sigma in (1, 2)}


def smoothed(image: Map) -> list[tuple[str, float, float, float, float]]:
    """By kernel: the share of noise left by formula and as measured, and what is lost of the clean and noisy image.

    The last two are root mean square differences to the clean image, which has brightness 0 to 1.
    """
    found = []
    for name, kernel in smoothers().items():
        clean, filtered = convolution(kernel, image), convolution(kernel, _noisy(image))
        margin = kernel.shape[0] // 2
        inside = image[margin : SIDE - margin, margin : SIDE - margin]
        expected, left = float(np.sqrt((kernel**2).sum())), float((filtered - clean).std()) / NOISE
        lost, error = (float(np.sqrt(((given - inside) ** 2).mean())) for given in (clean, filtered))
        found.append((name, expected, left, lost, error))
    return found


def _smoothed(image: Map) -> str:
    pictures = [_shown(_noisy(image), f"<i>x</i> and noise, σ = {NOISE}")]
    pictures += [_shown(convolution(kernel, _noisy(image)), name) for name, kernel in list(smoothers().items())[2:]]
    rows = [[row_head(name), *(cell(number(value, 3)) for value in values)] for name, *values in smoothed(image)]
    heads = ["kernel", "noise left, √Σ<i>w</i>²", "noise left, measured", "detail lost", "error to the clean image"]
    return "".join(
        [
            "<h3>Smoothing</h3>",
            _formulas(
                "box: <i>w</i>[a, b] = 1 / k²",
                "Gaussian: <i>w</i>[a, b] ∝ exp(−(a² + b²) / 2σ²)",
                "noise left: √Σ<i>w</i>² of its standard deviation",
            ),
            intro(
                "A mean over neighbours keeps what they share and averages out what they don’t: of independent noise "
                "√Σ<i>w</i>² is left. Edges are not shared, so detail goes too (root mean square, last columns): some "
                "smoothing brings the noisy image nearer to the clean one, too much takes it away again. A Gaussian "
                "weighs near neighbours more, and leaves no square marks."
            ),
            tiles(pictures),
            table(heads, rows),
        ]
    )


def laid_down(image: Map) -> list[tuple[str, Map, Map, list[int]]]:
    """By kernel: the transposed convolution, the convolution of the bed of nails, and how many layers places have."""
    found = []
    for name, kernel in (("3×3 tent", TENT), ("3×3 box", np.ones((3, 3))), ("4×4 box", np.ones((4, 4)))):
        laid = transposed_convolution(kernel, image, STRIDE)
        nailed = convolution(kernel, bed_of_nails(image, STRIDE), full=True)
        layers = transposed_convolution(np.ones_like(kernel), np.ones_like(image), STRIDE)
        border = len(kernel)
        counts = np.unique(layers[border:-border, border:-border]).astype(int).tolist()
        found.append((name, laid, nailed, counts))
    return found


def _laid_down(image: Map) -> str:
    small = convolution(_filters.box(4), image)[::4, ::4]
    layers = transposed_convolution(np.ones((3, 3)), np.ones((9, 9)), STRIDE)
    pictures = [
        _shown(small, f"<i>x</i>, {small.shape[0]}×{small.shape[1]}"),
        _shown(bed_of_nails(small, STRIDE), "on a bed of nails"),
        _shown(transposed_convolution(TENT, small, STRIDE), "with a tent: enlarged evenly"),
        _shown(layers / layers.max(), "layers of a 3×3 kernel: chequered"),
    ]
    rows = [
        [row_head(name), _difference(laid, nailed), cell(", ".join(map(str, counts)))]
        for name, laid, nailed, counts in laid_down(small)
    ]
    heads = [f"kernel, at stride {STRIDE}", "largest difference of the two ways", "layers on a place"]
    return "".join(
        [
            "<h3>Transposed convolution</h3>",
            _formulas(
                "for all pixels: y[s·i + a, s·j + b] += <i>w</i>[a, b] · <i>x</i>[i, j]",
                "y = <i>w</i> ∗ nails(<i>x</i>), with s − 1 zeros between pixels",
            ),
            intro(
                "Each pixel lays down the kernel times its own value, s places from its neighbour’s. The same comes of "
                "spreading the pixels over a bed of nails and convolving that. U-Net and DCGAN enlarge their maps so. "
                "Where the stride does not divide the kernel’s side, some places get more layers than others, which "
                "shows as a chequered pattern unless the weights make up for it, as the tent’s do."
            ),
            tiles(pictures),
            table(heads, rows),
        ]
    )


def _maps(image: Map) -> Map:
    """What each of EDGES finds, and no less than nothing."""
    return np.stack([convolution(kernel, image).clip(min=0) for kernel in EDGES.values()])


def averaged(image: Map) -> list[Compared]:
    """Global average pooling is one large filter, and does not care where a thing is."""
    maps = _maps(image)
    means, whole = _filters.global_average(maps), np.full(maps.shape[1:], 1 / maps[0].size)
    filtered = np.array([correlation(whole, item)[0, 0] for item in maps])
    moved = _filters.global_average(np.roll(maps, MOVED, axis=(1, 2)))
    return [
        ("the means, and one filter as large as the map with equal weights", means, filtered),
        (f"the means, and those of the maps moved round by {MOVED[0]} and {MOVED[1]} px", means, moved),
    ]


def _averaged(image: Map) -> str:
    maps = _maps(image)
    pictures = [
        _shown(item / item.max(), f"{name}: mean {number(float(mean), 4)}")
        for name, item, mean in zip(EDGES, maps, _filters.global_average(maps), strict=True)
    ]
    return "".join(
        [
            "<h3>Global average pooling</h3>",
            _formulas("y[k] = 1 / (H · W) · Σ <i>x</i>[k, i, j]"),
            intro(
                "The average of each map: how much of a thing there is, wherever it is. It has no weights, takes maps "
                "of any size, and is what ResNet and CAM have in place of a dense layer on all positions."
            ),
            tiles(pictures),
            _differences(averaged(image)),
        ]
    )
