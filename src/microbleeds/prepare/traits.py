"""What a scan is like, in a few numbers: to tell one that is unlike all that the networks saw."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt, find_objects

from microbleeds.prepare.grid import Grid, slice_axis
from microbleeds.prepare.intensity import MAD_TO_SIGMA, robust_sd
from microbleeds.scan import Scan
from microbleeds.settings import Contrast

_COARSE_MM = 2.0
_SLICES = 20  # in which the noise is measured
_RIM_MM, _DEEP_MM = 6.0, 15.0
_DARK, _BRIGHT = 0.75, 0.25  # in the prepared magnitude: half and one and a half times tissue
_QSM_HIGH, _QSM_LOW = 0.5, 0.1  # in the prepared QSM: four sigmas to either side of the median
_SECOND_DIFFERENCE = 6**0.5  # its standard deviation for white noise of 1


@dataclass(frozen=True)
class Traits:
    """Lengths in mm; shares and ratios without unit.

    in_plane_mm: the larger voxel side in the slice; slice_mm: distance between slices.
    brain_cm3: volume of the mask. cut: brain area on a face of the image, of the largest section
    along that axis (the worst of six faces): how much the field of view cuts off.
    noise: of the voxels from their neighbours in the slice, in units of the median tissue (QSM:
    of the spread of the whole brain). dark, bright: shares of the brain with less than half, and
    more than one and a half times, the median signal (QSM: four sigmas above and below it).
    rim: how much darker (in the prepared image, where tissue is 0.5 and a void 1) the outer 6 mm
    of the brain are than what lies deeper than 15 mm; 0 where there is nothing so deep. Where the
    field of view ends is no rim.
    """

    in_plane_mm: float
    slice_mm: float
    brain_cm3: float
    cut: float
    noise: float
    dark: float
    bright: float
    rim: float


def measure_traits(
    scan: Scan,
    brain: NDArray[np.bool_],
    image: NDArray[np.float32],
    inside: NDArray[np.bool_],
    grid: Grid,
) -> Traits:
    """The traits of a scan.

    brain: on its grid, not empty. image, inside, grid: what `prepare_image` makes of both.
    """
    across = slice_axis(scan.affine)
    in_plane = [axis for axis in range(3) if axis != across]
    strides = np.maximum(np.rint(_COARSE_MM / grid.spacing), 1).astype(int)
    every = tuple(slice(step // 2, None, step) for step in strides)
    image, inside = image[every], inside[every]
    values = image[inside]
    dark, bright = values > _DARK, values < _BRIGHT
    if scan.contrast == "qsm":
        dark, bright = values < _QSM_LOW, values > _QSM_HIGH
    return Traits(
        in_plane_mm=float(max(scan.spacing[in_plane])),
        slice_mm=float(scan.spacing[across]),
        brain_cm3=float(brain.sum() * scan.spacing.prod() / 1000),
        cut=_cut(brain),
        noise=_noise(*_some_slices(scan.voxels, brain, across), scan.contrast, in_plane),
        dark=_share(dark),
        bright=_share(bright),
        rim=_rim(image, inside, grid.spacing * strides),
    )


def _cut(brain: NDArray[np.bool_]) -> float:
    shares = []
    for axis in range(3):
        areas = brain.sum(axis=tuple(other for other in range(3) if other != axis))
        shares += [areas[0] / areas.max(), areas[-1] / areas.max()]
    return float(max(shares))


def _rim(
    image: NDArray[np.float32], inside: NDArray[np.bool_], spacing: NDArray[np.float64]
) -> float:
    if inside.all():  # no edge in view to be deep from
        return 0.0
    depth = distance_transform_edt(inside, spacing)
    outer, deep = image[inside & (depth <= _RIM_MM)], image[depth > _DEEP_MM]
    return _median(outer) - _median(deep) if outer.size and deep.size else 0.0


def _some_slices(
    voxels: NDArray[np.float32], brain: NDArray[np.bool_], across: int
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """The brain's box in both, of its slices some twenty: enough for a median."""
    box = list(find_objects(brain.astype(np.uint8))[0])
    slices = box[across]
    box[across] = slice(slices.start, slices.stop, max(1, (slices.stop - slices.start) // _SLICES))
    return voxels[tuple(box)], brain[tuple(box)]


def _noise(
    voxels: NDArray[np.float32], brain: NDArray[np.bool_], contrast: Contrast, in_plane: list[int]
) -> float:
    """From the median absolute second difference, which edges and vessels hardly move."""
    values = voxels[brain]
    level = float(np.median(values))
    unit = robust_sd(values) if contrast == "qsm" else level
    spreads = []
    for axis in in_plane:
        difference = np.abs(np.diff(voxels, 2, axis=axis))
        middle = np.moveaxis(np.moveaxis(brain, axis, 0)[1:-1], 0, axis)
        spreads.append(MAD_TO_SIGMA * _median(difference[middle]) / _SECOND_DIFFERENCE)
    return float(np.mean(spreads)) / unit if unit > 0 else 0.0


def _share(where: NDArray[np.bool_]) -> float:
    return float(where.mean()) if where.size else 0.0


def _median(values: NDArray[np.float32]) -> float:
    return float(np.median(values)) if values.size else 0.0
