"""A head on a coarse grid along R, A and S: all that registration to the template looks at."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from nibabel.affines import apply_affine
from numpy.typing import NDArray
from scipy import ndimage

from microbleeds.mni.atlas import load_template
from microbleeds.prepare.grid import Grid, to_grid
from microbleeds.scan import Scan

if TYPE_CHECKING:
    import SimpleITK as sitk  # noqa: N813

WORK_MM = 4.0
MARGIN_MM = 12.0
SHADING_MM = 20.0  # standard deviation of what counts as coil shading
PARTLY = 0.3  # share of brain from which a coarse voxel's value is used
GREY = (50.0, 250.0)  # values of the brain; outside it is 0


@dataclass(frozen=True)
class CoarseHead:
    """All arrays (X, Y, Z), 4 mm.

    image: grey values, 0 outside the brain. brain: its share of each voxel. seen: whether the scan
    covers the voxel. affine: (4, 4) voxel index to mm (RAS+), axes parallel to R, A and S.
    """

    image: NDArray[np.float32]
    brain: NDArray[np.float32]
    seen: NDArray[np.bool_]
    affine: NDArray[np.float64]


def coarse_template() -> CoarseHead:
    """The MNI152 template."""
    template = load_template()
    values = template.values.astype(np.float32)
    inside = template.values > 0
    return CoarseHead(
        values, inside.astype(np.float32), np.ones(values.shape, bool), template.affine
    )


def coarse_scan(scan: Scan, brain: NDArray[np.bool_]) -> CoarseHead:
    """A scan, its shading evened out (not for QSM). brain: on the scan's grid; empty: all 0."""
    share, affine = _shrink(brain.astype(np.float32), scan.affine)
    values, _ = _shrink(np.where(brain, scan.voxels, 0).astype(np.float32), scan.affine)
    grid = _grid_around(share, affine)
    weight = to_grid(share, affine, grid, order=1)
    image = to_grid(values, affine, grid, order=1)
    seen = to_grid(np.ones_like(share), affine, grid, order=0) > 0
    inside = weight > PARTLY
    image = np.where(inside, image / np.maximum(weight, PARTLY), 0)
    if scan.contrast != "qsm":
        image = image / np.maximum(_shading(image, inside), 1e-6)
    low, high = np.percentile(image[inside], (1, 99)) if inside.any() else (0.0, 1.0)
    scaled = np.clip((image - low) / max(high - low, 1e-6), 0, 1) * (GREY[1] - GREY[0]) + GREY[0]
    return CoarseHead(np.where(inside, scaled, 0).astype(np.float32), weight, seen, grid.affine)


def to_itk(array: NDArray[Any], affine: NDArray[np.float64]) -> sitk.Image:
    """An image whose physical space is RAS mm; the affine's axes must be parallel to R, A, S."""
    import SimpleITK as sitk  # noqa: N813

    image = sitk.GetImageFromArray(np.ascontiguousarray(array.T))
    image.SetSpacing(np.diag(affine)[:3].tolist())
    image.SetOrigin(affine[:3, 3].tolist())
    return image


def _shrink(
    array: NDArray[np.float32], affine: NDArray[np.float64]
) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    """Block means that keep voxels under 4 mm, and their affine."""
    import SimpleITK as sitk  # noqa: N813

    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    factors = [
        max(1, min(int(WORK_MM / size), length // 2))
        for size, length in zip(spacing, array.shape, strict=True)
    ]
    small = sitk.GetArrayFromImage(sitk.BinShrink(sitk.GetImageFromArray(array), factors[::-1]))
    step = np.diag([*map(float, factors), 1.0])
    step[:3, 3] = (np.array(factors) - 1) / 2
    return small, affine @ step


def _grid_around(share: NDArray[np.float32], affine: NDArray[np.float64]) -> Grid:
    """A 4 mm grid along R, A and S around whatever holds brain, around all where nothing does."""
    points = apply_affine(affine, np.argwhere((share > 0) | (not share.any())))
    low = points.min(axis=0) - MARGIN_MM
    shape = np.ceil((points.max(axis=0) + MARGIN_MM - low) / WORK_MM).astype(int) + 1
    matrix = np.diag([WORK_MM] * 3 + [1.0])
    matrix[:3, 3] = low
    return Grid((int(shape[0]), int(shape[1]), int(shape[2])), matrix)


def _shading(image: NDArray[np.float32], inside: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Mean of the brain's values around each voxel."""
    sigma = SHADING_MM / WORK_MM
    total = ndimage.gaussian_filter(np.where(inside, image, 0), sigma)
    weight = ndimage.gaussian_filter(inside.astype(np.float32), sigma)
    mean: NDArray[np.float32] = total / np.maximum(weight, 1e-3)
    return mean
