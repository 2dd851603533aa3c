"""Filters: the operations that convolutional networks consist of, shown on one photograph.

Every picture and number is computed while the report is made, by the functions of `_filters`. Transposed convolution:
Dumoulin, Visin: A guide to convolution arithmetic for deep learning (2016), https://arxiv.org/abs/1603.07285. Global
average pooling: Lin, Chen, Yan: Network In Network, ICLR 2014, https://arxiv.org/abs/1312.4400.
"""

from importlib.util import find_spec
from pathlib import Path

import numpy as np

from pipeline import images
from pipeline.report._filters import (
    Array,
    bed_of_nails,
    box,
    convolve,
    correlate,
    gaussian,
    global_average,
    transposed_convolve,
)
from pipeline.report._html import cell, format_fixed, format_significant, intro, row_header, table, tile, tiles
from pipeline.report.results import Results

TITLE = "Filters"
ORDER = 95

#: a description, and two results that it compares
Comparison = tuple[str, Array, Array]

#: top, left and side of the square that is cut from the photograph, in px
TOP, LEFT, SIDE = 60, 100, 116
NOISE, SEED = 0.1, 0
RELIEF = np.array([[-2.0, -1, 0], [-1, 1, 1], [0, 1, 2]])
STEP = np.array([[0.0, 0, 0], [0, -1, 1], [0, 0, 0]])
SOBEL = np.array([[-1.0, 0, 1], [-2, 0, 2], [-1, 0, 1]])
LAPLACE = np.array([[0.0, 1, 0], [1, -4, 1], [0, 1, 0]])
TENT = np.array([[1.0, 2, 1], [2, 4, 2], [1, 2, 1]]) / 4
DETECTORS = {"vertical edges": SOBEL, "horizontal edges": SOBEL.T, "spots": LAPLACE}
STRIDE, SHIFT = 2, (17, 31)


def render(results: Results) -> str:
    """Four short lessons, equal in every report."""
    image = photograph()
    opening = intro(
        "The operations of convolutional networks, shown on a photograph (brightness 0 to 1). <i>x</i> is the image, "
        "<i>w</i> the kernel of the filter. All numbers here were computed when this report was made."
    )
    return opening + _correlation(image) + _smoothing(image) + _transposed_convolution(image) + _pooling(image)


def photograph() -> Array:
    """A square of scikit-learn's china.jpg (by D. Roy, CC BY 2.0) in gray, SIDE×SIDE in 0..1."""
    package = find_spec("sklearn")  # importing it takes longer than the whole report
    assert package is not None
    assert package.origin is not None
    pixels = images.decode(Path(package.origin).parent / "datasets" / "images" / "china.jpg")
    return images.luminance(pixels[TOP : TOP + SIDE, LEFT : LEFT + SIDE]) / 255.0


def _tile(values: Array, caption: str, *, around_zero: bool = False) -> str:
    """Values 0..1 as brightness; `around_zero`: middle gray is 0, and white or black the largest magnitude."""
    scaled = 0.5 + 0.5 * values / max(float(np.abs(values).max()), 1e-12) if around_zero else values
    gray = np.round(255 * scaled.clip(0, 1)).astype(np.uint8)
    return tile(gray, caption.replace("<i>", "").replace("</i>", ""), caption)


def _formulas(*lines: str) -> str:
    return f'<p class="formula">{"<br>".join(lines)}</p>'


def max_difference(first: Array, second: Array) -> float:
    """The largest absolute difference of two arrays."""
    return float(np.abs(first - second).max())


def _difference_cell(first: Array, second: Array) -> str:
    """The largest difference; below 1e-12 it is rounding, which differs between machines."""
    value = max_difference(first, second)
    return cell("0 <small>up to rounding</small>" if value < 1e-12 else format_significant(value))


def _comparison_table(comparisons: list[Comparison]) -> str:
    rows = [[row_header(name), _difference_cell(first, second)] for name, first, second in comparisons]
    return table(["comparison", "largest difference"], rows)


def compare_correlation_and_convolution(image: Array) -> list[Comparison]:
    """Convolution is associative and correlation is not; both agree for symmetric kernels."""
    comparisons = []
    for sign, apply in (("∗", convolve), ("⋆", correlate)):
        name = f"(<i>f</i> {sign} <i>w</i>) {sign} <i>x</i> and <i>f</i> {sign} (<i>w</i> {sign} <i>x</i>)"
        comparisons.append((name, apply(apply(STEP, RELIEF, full=True), image), apply(STEP, apply(RELIEF, image))))
    kernels = {"<i>w</i> ⋆ <i>x</i> and <i>w</i> ∗ <i>x</i>": RELIEF, "the same for a Gaussian": gaussian(1)}
    for name, kernel in kernels.items():
        comparisons.append((name, correlate(kernel, image), convolve(kernel, image)))
    return comparisons


def _correlation(image: Array) -> str:
    pictures = [
        _tile(image, "<i>x</i>"),
        _tile(RELIEF, "<i>w</i>, 3×3", around_zero=True),
        _tile(correlate(RELIEF, image), "<i>w</i> ⋆ <i>x</i>: lit from one side", around_zero=True),
        _tile(convolve(RELIEF, image), "<i>w</i> ∗ <i>x</i>: lit from the other side", around_zero=True),
    ]
    return "".join(
        [
            "<h3>Correlation and convolution</h3>",
            _formulas(
                "correlation: (<i>w</i> ⋆ <i>x</i>)[i, j] = Σ <i>w</i>[a, b] · <i>x</i>[i + a, j + b]",
                "convolution: (<i>w</i> ∗ <i>x</i>)[i, j] = Σ <i>w</i>[a, b] · <i>x</i>[i − a, j − b]",
            ),
            intro(
                "Convolution rotates the kernel by 180° first, which makes it associative: the filter <i>w</i> "
                "followed by the filter <i>f</i> (here the difference of two neighbours) equals the single filter "
                "<i>f</i> ∗ <i>w</i>. Correlation is not associative. Deep learning calls correlation convolution; a "
                "network learns its kernels, so it simply learns them rotated."
            ),
            tiles(pictures),
            _comparison_table(compare_correlation_and_convolution(image)),
        ]
    )


def _add_noise(image: Array) -> Array:
    return image + np.random.default_rng(SEED).normal(0, NOISE, image.shape)


def smoothing_kernels() -> dict[str, Array]:
    """Kernels by name; the first changes nothing."""
    boxes = {"none": np.ones((1, 1)), "box 3×3": box(3), "box 7×7": box(7)}
    return boxes | {f"Gaussian σ = {sigma}": gaussian(sigma) for sigma in (1, 2)}


def measure_smoothing(image: Array) -> list[tuple[str, float, float, float, float]]:
    """For each kernel: remaining noise by formula and as measured, loss of detail, error to the clean image.

    Noise is a fraction of the original standard deviation. The last two are root mean square differences between the
    clean image (brightness 0 to 1) and the smoothed clean and noisy image.
    """
    rows = []
    for name, kernel in smoothing_kernels().items():
        smooth_clean, smooth_noisy = convolve(kernel, image), convolve(kernel, _add_noise(image))
        margin = kernel.shape[0] // 2
        inside = image[margin : SIDE - margin, margin : SIDE - margin]
        expected, measured = float(np.sqrt((kernel**2).sum())), float((smooth_noisy - smooth_clean).std()) / NOISE
        lost, error = (float(np.sqrt(((smooth - inside) ** 2).mean())) for smooth in (smooth_clean, smooth_noisy))
        rows.append((name, expected, measured, lost, error))
    return rows


def _smoothing(image: Array) -> str:
    noisy = _add_noise(image)
    pictures = [_tile(noisy, f"<i>x</i> with noise, σ = {NOISE}")]
    pictures += [_tile(convolve(kernel, noisy), name) for name, kernel in list(smoothing_kernels().items())[2:]]
    rows = [
        [row_header(name), *(cell(format_fixed(value, 3)) for value in values)]
        for name, *values in measure_smoothing(image)
    ]
    headers = ["kernel", "remaining noise, √Σ<i>w</i>²", "remaining noise, measured", "lost detail"]
    headers.append("error to the clean image")
    return "".join(
        [
            "<h3>Smoothing</h3>",
            _formulas(
                "box: <i>w</i>[a, b] = 1 / k²",
                "Gaussian: <i>w</i>[a, b] ∝ exp(−(a² + b²) / 2σ²)",
                "remaining noise: √Σ<i>w</i>² of its standard deviation",
            ),
            intro(
                "A mean over neighbours keeps what they have in common and averages out the rest: of independent "
                "noise, √Σ<i>w</i>² remains. Edges differ between neighbours, so detail is lost too (last columns, "
                "root mean square differences). Some smoothing brings the noisy image closer to the clean one, too "
                "much moves it away again. A Gaussian gives near neighbours larger weights and leaves no square "
                "artefacts."
            ),
            tiles(pictures),
            table(headers, rows),
        ]
    )


def compare_transposed_convolution(image: Array) -> list[tuple[str, Array, Array, list[int]]]:
    """For each kernel: transposed convolution, convolution after unpooling, and how many kernels overlap at a pixel."""
    rows = []
    for name, kernel in (("3×3 tent", TENT), ("3×3 box", np.ones((3, 3))), ("4×4 box", np.ones((4, 4)))):
        transposed = transposed_convolve(kernel, image, STRIDE)
        unpooled = convolve(kernel, bed_of_nails(image, STRIDE), full=True)
        overlaps = transposed_convolve(np.ones_like(kernel), np.ones_like(image), STRIDE)
        border = len(kernel)
        counts = np.unique(overlaps[border:-border, border:-border]).astype(int).tolist()
        rows.append((name, transposed, unpooled, counts))
    return rows


def _transposed_convolution(image: Array) -> str:
    small = convolve(box(4), image)[::4, ::4]
    overlaps = transposed_convolve(np.ones((3, 3)), np.ones((9, 9)), STRIDE)
    pictures = [
        _tile(small, f"<i>x</i>, {small.shape[0]}×{small.shape[1]}"),
        _tile(bed_of_nails(small, STRIDE), "after unpooling with zeros"),
        _tile(transposed_convolve(TENT, small, STRIDE), "with a tent kernel: upsampled evenly"),
        _tile(overlaps / overlaps.max(), "overlaps of a 3×3 kernel: a checkerboard"),
    ]
    rows = [
        [row_header(name), _difference_cell(transposed, unpooled), cell(", ".join(map(str, counts)))]
        for name, transposed, unpooled, counts in compare_transposed_convolution(small)
    ]
    headers = [f"kernel, with stride {STRIDE}", "largest difference of both methods", "overlapping kernels per pixel"]
    return "".join(
        [
            "<h3>Transposed convolution</h3>",
            _formulas(
                "for all pixels: y[s·i + a, s·j + b] += <i>w</i>[a, b] · <i>x</i>[i, j]",
                "y = <i>w</i> ∗ unpool(<i>x</i>), with s − 1 zeros between pixels",
            ),
            intro(
                "For each pixel, the kernel times the pixel’s value is added to the output, s positions from that of "
                "its neighbour. Convolution after unpooling with zeros (“bed of nails”) gives the same. U-Net and "
                "DCGAN upsample their feature maps in this way. If the kernel’s side is not divisible by the stride, "
                "more kernels overlap at some pixels than at others. The result is a checkerboard pattern, unless the "
                "weights compensate for it, as those of the tent do."
            ),
            tiles(pictures),
            table(headers, rows),
        ]
    )


def _feature_maps(image: Array) -> Array:
    """K×H×W: the response of each of DETECTORS after a ReLU."""
    return np.stack([convolve(kernel, image).clip(min=0) for kernel in DETECTORS.values()])


def compare_global_average(image: Array) -> list[Comparison]:
    """Global average pooling is one large filter, and it does not depend on positions."""
    maps = _feature_maps(image)
    means, whole = global_average(maps), np.full(maps.shape[1:], 1 / maps[0].size)
    filtered = np.array([correlate(whole, feature_map)[0, 0] for feature_map in maps])
    shifted = global_average(np.roll(maps, SHIFT, axis=(1, 2)))
    return [
        ("the means, and one filter of equal weights as large as the feature map", means, filtered),
        (f"the means, and those after a circular shift by {SHIFT[0]} and {SHIFT[1]} px", means, shifted),
    ]


def _pooling(image: Array) -> str:
    maps = _feature_maps(image)
    pictures = [
        _tile(feature_map / feature_map.max(), f"{name}: mean {format_fixed(float(mean), 4)}")
        for name, feature_map, mean in zip(DETECTORS, maps, global_average(maps), strict=True)
    ]
    return "".join(
        [
            "<h3>Global average pooling</h3>",
            _formulas("y[k] = 1 / (H · W) · Σ <i>x</i>[k, i, j]"),
            intro(
                "The mean of each feature map: how strongly a feature is present, wherever it is. It has no weights, "
                "works for feature maps of any size, and replaces a dense layer over all positions in ResNet and CAM."
            ),
            tiles(pictures),
            _comparison_table(compare_global_average(image)),
        ]
    )
