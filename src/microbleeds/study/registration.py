"""Where the head of one scan lies in another: a rigid transform in mm, and how good it is."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
from nibabel.affines import apply_affine
from numpy.typing import NDArray
from scipy import ndimage

from microbleeds.errors import UserError
from microbleeds.mni.coarse import to_itk
from microbleeds.prepare.grid import Grid, to_grid
from microbleeds.scan import Scan
from microbleeds.threads import limit_simpleitk

LEVELS_MM = (8.0, 4.0, 2.0)  # grids, from coarse to fine; the result is judged on the last
MARGIN_MM = 12.0
TURNS_DEG = (-18.0, 0.0, 18.0)
SLIDES_MM = (-40.0, -20.0, 0.0, 20.0, 40.0)  # along the scanner's z: slabs of the head
STARTS = 4  # of all that are tried, so many are followed
LOCAL_MM = 6.0  # similarity compares what is finer than this
DEEP_MM = 4.0  # inside the brain's edge, where masks do not matter


_Maps = NDArray[np.float32]


@dataclass(frozen=True)
class Registration:
    """Of a baseline and a follow-up scan.

    matrix: (4, 4) scanner mm of the baseline to scanner mm of the follow-up.
    overlap: Dice coefficient of the two brain masks where both scans have voxels.
    similarity: correlation of the two images within both brains after all that is smoother than
    `LOCAL_MM` was taken away: sulci, veins and nuclei of one brain agree, those of two do not.
    common: share of the smaller brain that the other scan holds as well.
    """

    matrix: NDArray[np.float64]
    overlap: float
    similarity: float
    common: float

    @property
    def turn_deg(self) -> float:
        """Angle by which the head turned."""
        return float(np.rad2deg(np.arccos(np.clip((np.trace(self.matrix[:3, :3]) - 1) / 2, -1, 1))))

    def to_follow_up(self, xyz_mm: NDArray[np.float64]) -> NDArray[np.float64]:
        """Places of the baseline, (N, 3) mm, in the follow-up."""
        return np.asarray(apply_affine(self.matrix, xyz_mm))

    def to_baseline(self, xyz_mm: NDArray[np.float64]) -> NDArray[np.float64]:
        """Places of the follow-up, (N, 3) mm, in the baseline."""
        return np.asarray(apply_affine(np.linalg.inv(self.matrix), xyz_mm))


@dataclass(frozen=True)
class _Head:
    """A scan on a grid along the scanner's axes around its brain, as SimpleITK images.

    detail: what differs from its surroundings in the brain; near: the brain and what is around it;
    covered: where the scan has voxels.
    """

    stripped: Any
    detail: Any
    brain: Any
    near: Any
    covered: Any
    centre: NDArray[np.float64]


def register(
    baseline: Scan,
    baseline_brain: NDArray[np.bool_],
    follow_up: Scan,
    follow_up_brain: NDArray[np.bool_],
    threads: int = 0,
) -> Registration:
    """The rigid transform under which two scans of a head share most information.

    Mutual information (Mattes et al., IEEE Trans Med Imaging 22:120, 2003) by SimpleITK, over 27
    turns and five slides about both headers and about the brains' centres at 8 mm, the best four
    of them followed to 2 mm. Brain masks: bool on the scans' own grids. Raises UserError when a
    brain is too thin for that.
    """
    limit_simpleitk(threads)
    first, second = _fine(baseline, baseline_brain), _fine(follow_up, follow_up_brain)
    transforms: list[Any] = []
    for spacing in LEVELS_MM:
        fixed = _head(*first, spacing, baseline.name)
        moving = _head(*second, spacing, follow_up.name)
        fine = spacing == LEVELS_MM[-1]
        found = [
            _follow(fixed, moving, start, fine) for start in transforms or _starts(fixed, moving)
        ]
        transforms = [min(found, key=lambda pair: pair[0])[1]]
    return _judge(fixed, moving, transforms[0])


def _fine(scan: Scan, mask: NDArray[np.bool_]) -> tuple[_Maps, Grid]:
    """Image in [0, 1], share of brain and of coverage, (3, X, Y, Z), on the finest grid."""
    places = apply_affine(scan.affine, np.argwhere(mask))
    low, high = places.min(axis=0) - MARGIN_MM, places.max(axis=0) + MARGIN_MM
    grid = _grid(low, high, LEVELS_MM[-1])
    image = to_grid(scan.voxels, scan.affine, grid, order=1)
    inside = to_grid(mask, scan.affine, grid, order=1)
    covered = to_grid(np.ones(mask.shape, np.float32), scan.affine, grid, order=0)
    brain = _of_brain(inside, scan.name, LEVELS_MM[-1])
    dark, bright = np.percentile(image[brain], (1, 99))
    image = np.clip((image - dark) / max(float(bright - dark), 1e-12), 0, 1)
    return np.stack([image, inside, covered]).astype(np.float32), grid


def _grid(low: NDArray[np.float64], high: NDArray[np.float64], spacing: float) -> Grid:
    x, y, z = (int(n) for n in np.ceil((high - low) / spacing) + 1)
    affine = np.diag([spacing] * 3 + [1.0])
    affine[:3, 3] = low
    return Grid((x, y, z), affine)


def _head(maps: _Maps, fine: Grid, spacing: float, name: str) -> _Head:
    grid = _grid(fine.affine[:3, 3], apply_affine(fine.affine, np.array(fine.shape) - 1), spacing)
    image, inside, covered = (to_grid(part, fine.affine, grid, order=1) for part in maps)
    brain = _of_brain(inside, name, spacing)
    near = ndimage.binary_dilation(brain, iterations=round(MARGIN_MM / spacing))
    centre = apply_affine(grid.affine, np.argwhere(brain).mean(axis=0))
    masks = (mask.astype(np.uint8) for mask in (brain, near, covered >= 0.5))
    images = (image * brain, _detail(image, brain, spacing))
    stripped, detail, inside, around, scanned = (
        to_itk(array, grid.affine) for array in (*images, *masks)
    )
    return _Head(stripped, detail, inside, around, scanned, centre)


def _of_brain(share: NDArray[np.float32], name: str, spacing: float) -> NDArray[np.bool_]:
    """Where a grid is in the brain. Raises UserError when that is nowhere."""
    brain: NDArray[np.bool_] = share >= 0.5
    if not brain.any():
        raise UserError(
            f"The brain mask of {name} is too thin to be registered (nothing of it is left on a "
            f"grid of {spacing:g} mm); look at it, or run detect with a better one (--mask) and "
            "compare the results."
        )
    return brain


def _detail(
    image: NDArray[np.float32], inside: NDArray[np.bool_], spacing: float
) -> NDArray[np.float32]:
    """What is left of an image inside after the mean of its surroundings there is taken away.

    Coils shade every scan in another way: that must neither move the head nor tell heads apart.
    """
    width = LOCAL_MM / spacing
    weight = ndimage.gaussian_filter(inside.astype(np.float32), width)
    smooth = ndimage.gaussian_filter(np.where(inside, image, 0), width)
    detail: NDArray[np.float32] = np.where(inside, image - smooth / np.maximum(weight, 1e-6), 0)
    return detail


def _method(fixed: _Head, moving: _Head, fine: bool) -> Any:
    """What is compared where both scans have something to compare."""
    import SimpleITK as sitk  # noqa: N813

    method = sitk.ImageRegistrationMethod()
    if fine:
        method.SetMetricAsCorrelation()
    else:
        method.SetMetricAsMattesMutualInformation(32)
    method.SetInterpolator(sitk.sitkLinear)
    method.SetMetricFixedMask(fixed.brain if fine else fixed.near)
    method.SetMetricMovingMask(moving.brain if fine else moving.covered)
    method.SetOptimizerAsRegularStepGradientDescent(
        learningRate=2.0, minStep=0.005, numberOfIterations=100, relaxationFactor=0.5
    )
    method.SetOptimizerScalesFromPhysicalShift()
    return method


def _follow(fixed: _Head, moving: _Head, start: Any, fine: bool) -> tuple[float, Any]:
    """The metric (less is better) and the transform that the optimiser reaches from a start.

    Stripped while the pose is rough, since the brain's outline leads from afar; at last the brain
    alone decides, so that the masks' errors do not.
    """
    import SimpleITK as sitk  # noqa: N813

    method = _method(fixed, moving, fine)
    transform = sitk.Euler3DTransform(start)
    method.SetInitialTransform(transform, inPlace=True)
    images = (fixed.detail, moving.detail) if fine else (fixed.stripped, moving.stripped)
    try:
        method.Execute(*images)
    except RuntimeError:  # the start leaves too little in common
        return np.inf, start
    return float(method.GetMetricValue()), transform


def _starts(fixed: _Head, moving: _Head) -> list[Any]:
    """The transforms to start from: the best of many by the metric at the coarsest level."""
    import SimpleITK as sitk  # noqa: N813

    method = _method(fixed, moving, fine=False)
    rated: list[tuple[float, Any]] = []
    shift = moving.centre - fixed.centre
    slides = [np.zeros(3), *(shift + np.array([0, 0, slide]) for slide in SLIDES_MM)]
    for turns, translation in product(product(TURNS_DEG, repeat=3), slides):
        transform = sitk.Euler3DTransform(fixed.centre.tolist())
        transform.SetRotation(*np.deg2rad(turns).tolist())
        transform.SetTranslation(translation.tolist())
        method.SetInitialTransform(transform)
        try:
            value = method.MetricEvaluate(fixed.stripped, moving.stripped)
        except RuntimeError:  # nothing in common
            continue
        rated.append((float(value), transform))
    rated.sort(key=lambda pair: pair[0])
    return [transform for _, transform in rated[:STARTS]]


def _judge(fixed: _Head, moving: _Head, transform: Any) -> Registration:
    import SimpleITK as sitk  # noqa: N813

    def on_fixed(image: Any, interpolator: int) -> NDArray[Any]:
        return np.asarray(
            sitk.GetArrayFromImage(sitk.Resample(image, fixed.brain, transform, interpolator, 0.0))
        )

    first, second = (
        sitk.GetArrayFromImage(fixed.brain) > 0,
        on_fixed(moving.brain, sitk.sitkNearestNeighbor) > 0,
    )
    covered = (sitk.GetArrayFromImage(fixed.covered) > 0) & (
        on_fixed(moving.covered, sitk.sitkNearestNeighbor) > 0
    )
    sizes = (first & covered).sum(), (second & covered).sum()
    smaller = min(int(first.sum()), int((sitk.GetArrayFromImage(moving.brain) > 0).sum()))
    deep = ndimage.binary_erosion(
        first & second & covered, iterations=round(DEEP_MM / LEVELS_MM[-1])
    )
    images = (sitk.GetArrayFromImage(fixed.detail), on_fixed(moving.detail, sitk.sitkLinear))
    return Registration(
        matrix=_matrix(transform),
        overlap=float(2 * (first & second & covered).sum() / max(int(sum(sizes)), 1)),
        similarity=_correlation(images[0][deep], images[1][deep]),
        common=float(min(min(sizes) / max(smaller, 1), 1.0)),
    )


def _matrix(transform: Any) -> NDArray[np.float64]:
    matrix = np.eye(4)
    matrix[:3, :3] = np.reshape(transform.GetMatrix(), (3, 3))
    matrix[:3, 3] = transform.TransformPoint((0.0, 0.0, 0.0))
    return matrix


def _correlation(first: NDArray[np.float32], second: NDArray[np.float32]) -> float:
    """Of values (N,); 0 where there are none or all are alike."""
    if first.size < 2 or min(first.std(), second.std()) < 1e-6:
        return 0.0
    return float(np.corrcoef(first, second)[0, 1])
