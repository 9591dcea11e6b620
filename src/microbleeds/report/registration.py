"""Where a scan stands in MNI space: affine registration to the template, and whether it is sound."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from scipy import fft, ndimage

from microbleeds.prepare.grid import Grid, to_grid
from microbleeds.report.atlas import load_template
from microbleeds.scan import Scan
from microbleeds.threads import allowed_threads

if TYPE_CHECKING:
    import SimpleITK as sitk  # noqa: N813

WORK_MM, SEARCH_MM = 4.0, 8.0
MARGIN_MM = 12.0
SHADING_MM = 20.0  # standard deviation of what counts as coil shading
PITCHES_DEG, SIZES = (-15.0, 0.0, 15.0), (0.9, 1.05)
STARTS = 3
LEAST_AFFINE_MM = 90.0  # a thinner slab does not tell all twelve parameters
LEAST_OVERLAP = 0.85  # Dice of scan's and template's brain
STRETCH = (0.7, 1.4)
LARGEST_TURN_DEG = 50.0


@dataclass(frozen=True)
class Registration:
    """matrix: (4, 4) scanner mm to MNI mm, both RAS+. overlap: Dice of the brains in the field of
    view. problem: why it cannot be trusted; empty when it can.
    """

    matrix: NDArray[np.float64]
    overlap: float
    problem: str = ""


@dataclass(frozen=True)
class _Coarse:
    """A scan on an isotropic RAS grid: grey values (0 outside the brain), brain and field of view."""

    image: NDArray[np.float32]
    brain: NDArray[np.float32]
    seen: NDArray[np.bool_]
    affine: NDArray[np.float64]


def register_to_mni(scan: Scan, brain: NDArray[np.bool_], threads: int = 0) -> Registration:
    """Affine registration of a scan to the MNI152 template, by what its brain mask holds.

    The start is searched over translations, sizes and pitches by the overlap of the brains within
    the field of view, so that a slab finds its level; mutual information (Mattes et al., IEEE Trans
    Med Imaging 22:120, 2003) then picks among the best starts and refines. A slab under 90 mm keeps
    one size for all axes. brain: on the scan's grid.
    """
    coarse, template = _coarsen(scan, brain), load_template()
    fixed = _Coarse(template.values.astype(np.float32), (template.values > 0).astype(np.float32),
                    np.ones(template.values.shape, bool), template.affine)  # fmt: skip
    best, lowest = np.eye(4), np.inf
    for start in _starts(coarse, fixed):
        matrix, value = _refine(coarse, fixed, start, "similarity", 2, threads)
        if value < lowest:
            best, lowest = matrix, value
    thick = np.ptp(np.argwhere(coarse.brain > 0.5), axis=0).min() * WORK_MM
    kind = "affine" if thick >= LEAST_AFFINE_MM else "similarity"
    matrix, _ = _refine(coarse, fixed, best, kind, 1, threads)
    return _checked(matrix, coarse, fixed)


def _coarsen(scan: Scan, brain: NDArray[np.bool_]) -> _Coarse:
    """The brain with its shading evened out, 4 mm, along R, A and S."""
    inside, affine = _shrink(brain.astype(np.float32), scan.affine)
    values, _ = _shrink(np.where(brain, scan.voxels, 0).astype(np.float32), scan.affine)
    where = np.argwhere(inside > 0.5)
    world = np.where(inside > 0.5)
    points = np.stack(world, 1) @ affine[:3, :3].T + affine[:3, 3]
    low = points.min(axis=0) - MARGIN_MM
    shape = np.ceil((points.max(axis=0) + MARGIN_MM - low) / WORK_MM).astype(int) + 1
    matrix = np.diag([WORK_MM] * 3 + [1.0])
    matrix[:3, 3] = low
    grid = Grid((int(shape[0]), int(shape[1]), int(shape[2])), matrix)
    del where
    weight = to_grid(inside, affine, grid, order=1)
    image = to_grid(values, affine, grid, order=1)
    seen = to_grid(np.ones_like(inside), affine, grid, order=0) > 0
    image = np.where(weight > 0.3, image / np.maximum(weight, 0.3), 0)
    if scan.contrast != "qsm":
        image = image / np.maximum(_smooth(image, weight), 1e-6)
    filled = image[weight > 0.5]
    low_value, high_value = np.percentile(filled, (1, 99))
    scaled = np.clip((image - low_value) / max(high_value - low_value, 1e-6), 0, 1) * 200 + 50
    return _Coarse(np.where(weight > 0.3, scaled, 0).astype(np.float32), weight, seen, matrix)


def _smooth(image: NDArray[np.float32], weight: NDArray[np.float32]) -> NDArray[np.float32]:
    sigma = SHADING_MM / WORK_MM
    inside = (weight > 0.3).astype(np.float32)
    total = ndimage.gaussian_filter(image * inside, sigma)
    smooth: NDArray[np.float32] = total / np.maximum(ndimage.gaussian_filter(inside, sigma), 1e-3)
    return smooth


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


def _starts(scan: _Coarse, template: _Coarse) -> list[NDArray[np.float64]]:
    """The best translations over all sizes and pitches, scanner mm to MNI mm."""
    zoom = SEARCH_MM / WORK_MM
    brain, seen = scan.brain[::2, ::2, ::2], scan.seen[::2, ::2, ::2].astype(np.float32)
    brain = brain * seen
    target = template.brain[::2, ::2, ::2]
    shape = [
        fft.next_fast_len(a + b, real=True) for a, b in zip(brain.shape, target.shape, strict=True)
    ]
    middle = (np.array(target.shape) - 1) / 2
    brain_f, seen_f = (np.conj(fft.rfftn(a, shape)) for a in (brain, seen))
    assert zoom == 2
    found = []
    for pitch, size in product(PITCHES_DEG, SIZES):
        angle = np.deg2rad(pitch)
        turn = size * np.array(
            [[1, 0, 0], [0, np.cos(angle), -np.sin(angle)], [0, np.sin(angle), np.cos(angle)]]
        )  # scanner mm to MNI mm
        moved = ndimage.affine_transform(target, turn, middle - turn @ middle, order=1)
        moved_f = fft.rfftn(moved, shape)
        common = fft.irfftn(moved_f * brain_f, shape)
        covered = fft.irfftn(moved_f * seen_f, shape)
        dice = 2 * common / (brain.sum() + np.maximum(covered, 0))
        for _ in range(2):
            peak = np.array(np.unravel_index(dice.argmax(), dice.shape))
            value = float(dice[tuple(peak)])
            _clear(dice, peak)
            shift = np.where(peak > np.array(shape) // 2, peak - shape, peak)
            # scan voxel v sees the moved template at v + shift
            to_target = np.eye(4)
            to_target[:3, :3] = turn
            to_target[:3, 3] = turn @ shift + middle - turn @ middle
            coarse = np.diag([2.0, 2, 2, 1])
            matrix = template.affine @ coarse @ to_target @ np.linalg.inv(scan.affine @ coarse)
            found.append((value, matrix))
    found.sort(key=lambda pair: -pair[0])
    return [matrix for _, matrix in found[:STARTS]]


def _clear(dice: NDArray[np.float64], peak: NDArray[np.int64]) -> None:
    """Take the neighbourhood of a peak out of the search, 2 voxels around, in place."""
    axes = [np.arange(p - 2, p + 3) % n for p, n in zip(peak, dice.shape, strict=True)]
    dice[np.ix_(*axes)] = 0


def _refine(
    scan: _Coarse,
    template: _Coarse,
    start: NDArray[np.float64],
    kind: str,
    shrink: int,
    threads: int,
) -> tuple[NDArray[np.float64], float]:
    """The matrix after refinement, and the metric there (lower is better)."""
    import SimpleITK as sitk  # noqa: N813

    fixed, moving = _to_itk(scan.image, scan.affine), _to_itk(template.image, template.affine)
    around = ndimage.binary_dilation(scan.brain > 0.3, iterations=2) & scan.seen
    centre = scan.affine[:3, :3] @ ndimage.center_of_mass(scan.brain) + scan.affine[:3, 3]
    first = sitk.AffineTransform(start[:3, :3].ravel().tolist(), start[:3, 3].tolist())
    step: Any = sitk.AffineTransform(3) if kind == "affine" else sitk.Similarity3DTransform()
    step.SetCenter(centre.tolist())
    method = sitk.ImageRegistrationMethod()
    method.SetNumberOfThreads(allowed_threads(threads))
    method.SetMetricAsMattesMutualInformation(32)
    method.SetMetricFixedMask(_to_itk(around.astype(np.uint8), scan.affine))
    method.SetInterpolator(sitk.sitkLinear)
    method.SetMovingInitialTransform(first)
    method.SetInitialTransform(step, inPlace=True)
    method.SetOptimizerAsRegularStepGradientDescent(1.0 * shrink, 0.02, 60, 0.6)
    method.SetOptimizerScalesFromPhysicalShift()
    method.SetShrinkFactorsPerLevel([shrink])
    method.SetSmoothingSigmasPerLevel([shrink - 1])
    method.Execute(fixed, moving)
    own = np.eye(4)
    own[:3, :3] = np.array(step.GetMatrix()).reshape(3, 3)
    own[:3, 3] = np.array(step.TransformPoint((0.0, 0.0, 0.0)))
    return start @ own, float(method.GetMetricValue())


def _to_itk(array: NDArray[Any], affine: NDArray[np.float64]) -> sitk.Image:
    """An image whose physical space is RAS mm; both grids run along the axes."""
    import SimpleITK as sitk  # noqa: N813

    image = sitk.GetImageFromArray(np.ascontiguousarray(array.T))
    image.SetSpacing(np.diag(affine)[:3].tolist())
    image.SetOrigin(affine[:3, 3].tolist())
    return image


def _checked(matrix: NDArray[np.float64], scan: _Coarse, template: _Coarse) -> Registration:
    """The registration with its overlap, and what speaks against it."""
    step = np.linalg.inv(template.affine) @ matrix @ scan.affine
    there = ndimage.affine_transform(
        template.brain, step[:3, :3], step[:3, 3], scan.brain.shape, order=1
    )
    here, there = (scan.brain > 0.5) & scan.seen, (there > 0.5) & scan.seen
    overlap = 2 * float((here & there).sum()) / max(float(here.sum() + there.sum()), 1.0)
    turn, stretch, _ = np.linalg.svd(matrix[:3, :3])
    del turn
    u, _, vt = np.linalg.svd(matrix[:3, :3])
    angle = np.degrees(np.arccos(np.clip((np.trace(u @ vt) - 1) / 2, -1, 1)))
    problem = ""
    if np.linalg.det(matrix[:3, :3]) <= 0 or not (
        STRETCH[0] <= stretch.min() and stretch.max() <= STRETCH[1]
    ):
        problem = f"it would stretch the head {stretch.min():.2f} to {stretch.max():.2f} times"
    elif angle > LARGEST_TURN_DEG:
        problem = f"it would turn the head by {angle:.0f} degrees"
    elif overlap < LEAST_OVERLAP:
        problem = f"the brains overlap by {overlap:.2f} (Dice), less than {LEAST_OVERLAP:g}"
    return Registration(matrix, overlap, problem)
