"""The working grid: in-plane spacing in mm, slices kept thick, axes RAS-like, slice axis last."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import nibabel as nib
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from microbleeds.errors import UserError
from microbleeds.settings import PrepareSettings

if TYPE_CHECKING:  # scan.py reads the contrast with a module of this package
    from microbleeds.scan import Scan

FWHM_PER_SIGMA = 2.3548
# Spacings closer than this ratio count as equal: nearly isotropic scans are sliced across the body
# as others are, not along whichever side of the voxel is longer by a little.
SAME_SPACING = 1.35
# Zero-filling makes thin slices across the body closer than the voxel's sides in them, by up to
# this ratio: twice, and a little for the rounding of headers.
FILLED = 2.1
VOXEL_ERROR = 1e-3  # in voxels: nearer than this to a voxel is the voxel


@dataclass(frozen=True)
class Grid:
    """Where an array stands in the scanner.

    shape: voxels along each axis; the last axis runs across slices.
    affine: (4, 4) voxel index to scanner mm (RAS+).
    """

    shape: tuple[int, int, int]
    affine: NDArray[np.float64]

    @property
    def spacing(self) -> NDArray[np.float64]:
        """Voxel size in mm, shape (3,)."""
        return np.asarray(np.linalg.norm(self.affine[:3, :3], axis=0))


def slice_axis(affine: NDArray[np.float64]) -> int:
    """Axis across slices: the largest spacing; among about equal ones the nearest to S-I.

    The nearest to S-I also where it is the finest and the two others, larger by up to `FILLED`,
    are about equal: zero-filled slices across the body, as no thick ones along it are.
    """
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    superior = np.abs(affine[2, :3]) / spacing
    up = int(np.argmax(superior))
    others = np.delete(spacing, up)
    if others.max() <= min(SAME_SPACING * others.min(), FILLED * spacing[up]):
        return up
    return int(np.argmax(np.where(spacing * SAME_SPACING >= spacing.max(), superior, -1.0)))


def working_grid(scan: Scan, brain_mask: NDArray[np.bool_], settings: PrepareSettings) -> Grid:
    """Grid around the brain, along the scan's own axes (an oblique angle stays in the affine).

    The axes are permuted so that slices come last, and flipped to run towards R, A and S as
    nearly as may be. Where the spacing does not change, grid points are scan voxels. What no voxel
    of the scan resolves is not computed: of a coarse scan the grid is coarser.

    brain_mask: bool, the scan's shape. Raises UserError when it is empty.
    """
    if not brain_mask.any():
        raise UserError(f"The brain mask of {scan.name} is empty; give one with --mask.")
    orientation = nib.io_orientation(scan.affine)
    across = slice_axis(scan.affine)
    in_plane = sorted({0, 1, 2} - {across}, key=lambda axis: float(orientation[axis, 0]))
    in_plane_mm = _in_plane_mm(min(scan.spacing[in_plane]), settings)
    wanted = (in_plane_mm, in_plane_mm, settings.min_slice_mm)
    shape, matrix, origin = [], np.eye(4), np.zeros(3)
    for new_axis, (axis, wanted_mm) in enumerate(zip((*in_plane, across), wanted, strict=True)):
        own = float(scan.spacing[axis])
        spacing = own if wanted_mm is None else wanted_mm
        if new_axis == 2:
            spacing = max(spacing, own)
        first, last = _extent(brain_mask, axis, settings.margin_mm / own)
        direction = 1.0 if orientation[axis, 1] > 0 else -1.0
        origin[axis] = first if direction > 0 else last
        matrix[:3, new_axis] = 0.0
        matrix[axis, new_axis] = direction * spacing / own
        shape.append(int(np.ceil((last - first) * own / spacing - 1e-3)) + 1)
    matrix[:3, 3] = origin
    return Grid((shape[0], shape[1], shape[2]), scan.affine @ matrix)


def _in_plane_mm(own_mm: float, settings: PrepareSettings) -> float | None:
    """The grid's spacing in the slice, None for that of the scan, whose finer side is `own_mm`."""
    if settings.in_plane_mm is None or settings.max_in_plane_mm is None:
        return settings.in_plane_mm
    return max(settings.in_plane_mm, min(own_mm, settings.max_in_plane_mm))


def to_grid(
    array: NDArray[Any], affine: NDArray[np.float64], grid: Grid, order: int
) -> NDArray[Any]:
    """Resample an array onto a grid; outside the array it is 0.

    order: 0 nearest (keeps the dtype, for labels), 1 linear, 3 cubic B-spline (float32).
    Where the grid is coarser, the array is first blurred to the grid's resolution, so that
    nothing aliases (Cardoso et al., MICCAI 2015: matched point spread functions).
    """
    step = np.linalg.inv(affine) @ grid.affine  # grid index to array index
    if order > 0:
        coarser = np.linalg.norm(step[:3, :3], axis=1)
        sigma = np.sqrt(np.maximum(coarser**2 - 1, 0)) / FWHM_PER_SIGMA
        array = np.asarray(array, np.float32)
        if sigma.max() > 0.05:
            array = ndimage.gaussian_filter(array, sigma, mode="nearest", truncate=3.0)
    return _resample(array, step, grid.shape, order)


def cut(array: NDArray[Any], corner: NDArray[np.int_], shape: tuple[int, int, int]) -> NDArray[Any]:
    """The box of `shape` at voxel `corner` of (C, X, Y, Z), copied; 0 outside the array."""
    result = np.zeros((array.shape[0], *shape), array.dtype)
    source, target = [slice(None)], [slice(None)]
    for start, size, length in zip(corner, shape, array.shape[1:], strict=True):
        low, high = np.clip([start, start + size], 0, length)
        source.append(slice(low, high))
        target.append(slice(low - start, high - start))
    if all(s.stop > s.start for s in source[1:]):
        result[tuple(target)] = array[tuple(source)]
    return result


def labels_to_scan(labels: NDArray[np.int32], grid: Grid, scan: Scan) -> NDArray[np.int32]:
    """Labels on the scan's own grid, nearest neighbour; no label value is ever lost.

    A label too small to reach any scan voxel's centre gets the free scan voxel nearest to its
    own centre.
    """
    step = np.linalg.inv(grid.affine) @ scan.affine
    shape = (scan.voxels.shape[0], scan.voxels.shape[1], scan.voxels.shape[2])
    result: NDArray[np.int32] = _resample(labels, step, shape, 0)
    for value in np.setdiff1d(labels[labels > 0], result[result > 0]):
        centre = np.argwhere(labels == value).mean(axis=0)
        centre = np.linalg.solve(step, [*centre, 1.0])[:3]
        result[_nearest_free(result, centre, scan.spacing)] = value
    return result


def _extent(mask: NDArray[np.bool_], axis: int, margin: float) -> tuple[int, int]:
    """First and last index of the mask along an axis, with a margin in voxels, inside it."""
    present = np.flatnonzero(mask.any(axis=tuple({0, 1, 2} - {axis})))
    pad = int(np.ceil(margin))
    return max(int(present[0]) - pad, 0), min(int(present[-1]) + pad, mask.shape[axis] - 1)


def _resample(
    array: NDArray[Any], step: NDArray[np.float64], shape: tuple[int, int, int], order: int
) -> NDArray[Any]:
    """Values of an array at `step @ index` for every index of the new shape.

    Works between voxel indices, so sheared affines are as good as any; SimpleITK's axes are
    NumPy's in reverse. Where all of them are voxels these are copied, which is quicker.
    """
    if (whole := _whole_steps(step, shape)) is not None:
        return _copied(array, whole, shape)
    import SimpleITK as sitk  # noqa: N813

    interpolator = {0: sitk.sitkNearestNeighbor, 1: sitk.sitkLinear, 3: sitk.sitkBSpline}[order]
    transform = sitk.AffineTransform(step[2::-1, 2::-1].ravel().tolist(), step[2::-1, 3].tolist())
    image = sitk.GetImageFromArray(array)
    result = sitk.Resample(
        image, shape[::-1], transform, interpolator, (0.0,) * 3, (1.0,) * 3, np.eye(3).ravel(), 0.0
    )
    return np.asarray(sitk.GetArrayFromImage(result))


def _whole_steps(step: NDArray[np.float64], shape: tuple[int, int, int]) -> NDArray[np.int_] | None:
    """`step` in whole numbers where it only swaps, flips and shifts axes, else None."""
    whole = np.rint(step).astype(int)
    swapped = np.abs(whole[:3, :3])
    error = np.abs(step - whole)[:3] @ [*shape, 1.0]
    if error.max() > VOXEL_ERROR or not np.array_equal(swapped @ swapped.T, np.eye(3)):
        return None
    return whole


def _copied(
    array: NDArray[Any], whole: NDArray[np.int_], shape: tuple[int, int, int]
) -> NDArray[Any]:
    """Voxels at `whole @ index` for every index of the new shape, 0 outside the array."""
    axes = np.abs(whole[:3, :3]).argmax(axis=0)
    view, corner = array.transpose(axes), whole[axes, 3]
    for new, axis in enumerate(axes):
        if whole[axis, new] < 0:
            view = np.flip(view, new)
            corner[new] = view.shape[new] - 1 - corner[new]
    copied: NDArray[Any] = cut(view[None], corner, shape)[0]
    return copied


def _nearest_free(
    labels: NDArray[np.int32], centre: NDArray[np.float64], spacing: NDArray[np.float64]
) -> tuple[int, ...]:
    """Index of the background voxel nearest to a position (in voxels), searched close by."""
    last = np.array(labels.shape) - 1
    low = np.clip(np.round(centre).astype(int) - 3, 0, last)
    high = np.clip(np.round(centre).astype(int) + 3, 0, last) + 1
    box = labels[low[0] : high[0], low[1] : high[1], low[2] : high[2]]
    index = np.indices(box.shape).reshape(3, -1).T
    distance = np.linalg.norm((index + low - centre) * spacing, axis=1)
    distance[box.ravel() != 0] += 1e6  # taken only when nothing is free
    return tuple((index[np.argmin(distance)] + low).tolist())
