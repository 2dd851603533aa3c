"""Elastic deformation: every pixel displaced by a smooth random field.

The field is cubic between the normal displacements of a coarse grid, as U-Net was trained (Ronneberger et al.
2015, https://arxiv.org/abs/1505.04597: grid 3, std 10 on 512×512 pixels); or, with grid 0, white noise smoothed
by a Gaussian (Simard et al. 2003, https://doi.org/10.1109/ICDAR.2003.1227801). albumentations' own field is
scaled by its largest value, so that equal options would deform large images less; albumentations does the remapping.
"""

from math import pi, sqrt
from typing import Any

import cv2
import numpy as np
from albumentations.augmentations.geometric.distortion import BaseDistortion
from numpy.typing import NDArray

from pipeline.augment.transforms.parts.affine import within
from pipeline.sample import IGNORE


class _Elastic(BaseDistortion):
    """Normally distributed displacements, interpolated between the centres of grid×grid equal tiles."""

    def __init__(self, std: float, grid: int, sigma: float, p: float) -> None:
        super().__init__(
            interpolation=cv2.INTER_LINEAR,
            mask_interpolation=cv2.INTER_NEAREST,
            keypoint_remapping_method="mask",
            border_mode=cv2.BORDER_CONSTANT,
            fill=0,
            fill_mask=IGNORE,
            p=p,
        )
        self.std, self.grid, self.sigma = std, grid, sigma

    def get_params_dependent_on_data(self, params: dict[str, Any], data: dict[str, Any]) -> dict[str, Any]:
        """The source coordinates of each pixel."""
        height, width = params["shape"][:2]
        field = self._field(height, width)
        across, down = np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32)[:, None]
        return {"map_x": field[..., 0] + across, "map_y": field[..., 1] + down}

    def apply_to_keypoints(
        self, keypoints: NDArray[Any], map_x: NDArray[np.float32], map_y: NDArray[np.float32], **params: Any
    ) -> NDArray[Any]:
        """Move each keypoint to the pixel whose source is nearest to it; -1 if none is within a pixel.

        albumentations' own method draws discs, which cover each other, and drops keypoints whose disc is lost.
        """
        moved = keypoints.astype(np.float64)
        for point in moved:
            across, down = point[0] - 0.5 - map_x, point[1] - 0.5 - map_y
            row, column = np.unravel_index(np.argmin(across**2 + down**2), across.shape)
            remainder = across[row, column], down[row, column]
            point[:2] = (column + 0.5 + remainder[0], row + 0.5 + remainder[1]) if max(np.abs(remainder)) <= 1 else -1
        return moved

    def _field(self, height: int, width: int) -> NDArray[np.float32]:
        """H×W×2 displacements in pixels, in x and y."""
        standard_normal = self.random_generator.standard_normal
        if self.grid:
            displacements = self.std * standard_normal((self.grid, self.grid, 2), np.float32)
            return np.asarray(cv2.resize(displacements, (width, height), interpolation=cv2.INTER_CUBIC))
        smooth = cv2.GaussianBlur(standard_normal((height, width, 2), np.float32), (0, 0), self.sigma)
        return np.asarray(
            smooth * np.float32(self.std * 2 * self.sigma * sqrt(pi))
        )  # smoothing divided the std by 2σ√π


def build(*, std: float = 1.0, grid: int = 3, sigma: float = 4.0, p: float = 0.5) -> BaseDistortion:
    """Displacements of `std` px; `grid` control points per side, or 0 for one per pixel, smoothed by `sigma` px."""
    within(0, 1000, std=std)
    within(0, 64, grid=grid)
    within(0.5, 1000, sigma=sigma)
    return _Elastic(std, grid, sigma, p)
