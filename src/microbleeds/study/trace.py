"""Whether what is seen at one visit is in the image of the other: darkness at a place."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from microbleeds.scan import Scan

STEP_MM = 0.5  # of the points at which scans are read
SLACK_MM = 1.0  # by which a place may be wrong after registration
LEAST_RADIUS_MM = 1.0
RING_MM = (3.0, 7.0)  # beyond the thing's edge


def darkness(
    scan: Scan,
    brain: NDArray[np.bool_],
    xyz_mm: NDArray[np.float64],
    diameters_mm: NDArray[np.float64],
    slack_mm: float = 0.0,
) -> NDArray[np.float64]:
    """How far balls around places (N, 3) stand out from the brain around them, (N,).

    For a magnitude the share of the signal that is missing, for a QSM the ppm that are too many:
    the mean of the ball against the median of a shell of brain around it. slack_mm: the highest
    value of places so far off counts. NaN where nothing of the ball or the shell is in view.
    """
    offsets = [np.zeros(3)] if slack_mm == 0 else list(_points(slack_mm, slack_mm / 2))
    values = np.full((len(xyz_mm), len(offsets)), np.nan)
    inverse = np.linalg.inv(scan.affine)
    for row, (place, diameter) in enumerate(zip(xyz_mm, diameters_mm, strict=True)):
        radius = max(diameter / 2, LEAST_RADIUS_MM)
        outer = radius + RING_MM[1]
        around = _points(outer, 1.0)
        shell = place + around[np.linalg.norm(around, axis=1) > radius + RING_MM[0]]
        ring = _sampled(scan.voxels, inverse, shell)[_sampled_mask(brain, inverse, shell)]
        if not len(ring) or np.isnan(level := float(np.nanmedian(ring))):
            continue
        ball = _points(radius, STEP_MM)
        for column, offset in enumerate(offsets):
            inner = _sampled(scan.voxels, inverse, place + offset + ball)
            if np.isnan(inner).any():
                continue
            excess = float(inner.mean()) - level
            values[row, column] = excess if scan.contrast == "qsm" else -excess / max(level, 1e-12)
    best: NDArray[np.float64] = np.max(np.nan_to_num(values, nan=-np.inf), axis=1, initial=-np.inf)
    return np.where(np.isfinite(best), best, np.nan)


def covered(
    scan: Scan, brain: NDArray[np.bool_], xyz_mm: NDArray[np.float64], outside_mm: float
) -> NDArray[np.bool_]:
    """Whether places (N, 3) lie in the scan and in its brain or no farther than that from it."""
    inverse = np.linalg.inv(scan.affine)
    near = _points(outside_mm, max(outside_mm / 2, STEP_MM))
    return np.array(
        [_sampled_mask(brain, inverse, place + near).any() for place in xyz_mm], np.bool_
    )


def _points(radius: float, step: float) -> NDArray[np.float64]:
    """A ball of points (P, 3) around 0, the middle included."""
    count = int(radius / step)
    axis = np.arange(-count, count + 1) * step
    points = np.array(list(product(axis, repeat=3)))
    inside: NDArray[np.float64] = points[np.linalg.norm(points, axis=1) <= radius + 1e-6]
    return inside


def _sampled(
    voxels: NDArray[np.float32], inverse: NDArray[Any], xyz_mm: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Linear values at places; NaN more than half a voxel outside the scan."""
    index = (xyz_mm @ inverse[:3, :3].T + inverse[:3, 3]).T
    limit = np.array(voxels.shape)[:, None] - 0.5
    outside = ((index < -0.5) | (index > limit)).any(axis=0)
    values = ndimage.map_coordinates(voxels, index, order=1, mode="nearest").astype(np.float64)
    return np.where(outside, np.nan, values)


def _sampled_mask(
    mask: NDArray[np.bool_], inverse: NDArray[Any], xyz_mm: NDArray[np.float64]
) -> NDArray[np.bool_]:
    index = np.rint(xyz_mm @ inverse[:3, :3].T + inverse[:3, 3]).astype(int)
    inside = np.all((index >= 0) & (index < mask.shape), axis=1)
    result = np.zeros(len(xyz_mm), bool)
    result[inside] = mask[tuple(index[inside].T)]
    return result
