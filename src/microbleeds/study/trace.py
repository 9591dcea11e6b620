"""Whether what is seen at one visit is in the image of the other: darkness at a place."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
from nibabel.affines import apply_affine
from numpy.typing import NDArray
from scipy import ndimage

from microbleeds.prepare.intensity import robust_sd
from microbleeds.scan import Scan

STEP_MM = 0.5  # of the points at which scans are read
SLACK_MM = 0.5  # by which a place may be wrong after registration
SLACK_SLICES = 0.25  # by which slices that lie otherwise may move a thing, of the thicker ones
LEAST_RADIUS_MM = 1.0
RING_MM = (1.0, 5.0)  # beyond the thing's edge
SHARP_MM = 0.75  # a voxel is averaged over in steps of about this


def darkness(
    scan: Scan,
    brain: NDArray[np.bool_],
    xyz_mm: NDArray[np.float64],
    diameters_mm: NDArray[np.float64],
    voxel_mm: NDArray[np.float64] | None = None,
    shifts_mm: NDArray[np.float64] | None = None,
) -> NDArray[np.float64]:
    """How far balls around places (N, 3) stand out from the brain around them, (N,).

    For a magnitude the share of the signal that is missing, for a QSM what is too much, in robust
    standard deviations of the brain, so that ppm and ppb give the same: the mean of the ball
    against the median of a shell of brain around it. voxel_mm: (3, 3), edges in columns, of a voxel
    over which the scan is averaged first. Averaged each over the other's voxel, two scans have
    nearly one point spread, and a thing is as dark in both. shifts_mm: (K, 3), of the place; the
    highest value counts. NaN where less than half of the ball or nothing of the shell is in view.
    """
    offsets = np.zeros((1, 3)) if shifts_mm is None else shifts_mm
    blur = np.zeros((1, 3)) if voxel_mm is None else _voxel_points(voxel_mm)
    spread = max(robust_sd(scan.voxels[brain]), 1e-12) if scan.contrast == "qsm" else np.nan
    best = np.full(len(xyz_mm), np.nan)
    for row, (place, diameter) in enumerate(zip(xyz_mm, diameters_mm, strict=True)):
        radius = max(diameter / 2, LEAST_RADIUS_MM)
        around = _points(radius + RING_MM[1], 1.0)
        shell = place + around[np.linalg.norm(around, axis=1) > radius + RING_MM[0]]
        shell = shell[_sampled_mask(brain, np.linalg.inv(scan.affine), shell)]
        ring = _averaged(scan, shell, blur)
        ring = ring[np.isfinite(ring)]
        if not len(ring):
            continue
        level = float(np.median(ring))
        ball = place + _points(radius, STEP_MM)
        excess = np.array([_mean(_averaged(scan, ball + off, blur)) for off in offsets]) - level
        dark = excess / spread if scan.contrast == "qsm" else -excess / max(level, 1e-12)
        best[row] = np.fmax.reduce(dark)
    return best


def shifts(
    voxel_mm: NDArray[np.float64], other_voxel_mm: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Where a thing may be shown in a scan that was seen at a place of another, (K, 3) mm.

    voxel_mm, other_voxel_mm: (3, 3), edges in columns, both in the mm of the scan.
    """
    sizes, others = (np.linalg.norm(edges, axis=0) for edges in (voxel_mm, other_voxel_mm))
    across = voxel_mm[:, sizes.argmax()] / sizes.max()
    slices = SLACK_SLICES * max(sizes.max(), others.max()) * across
    return np.vstack([_points(SLACK_MM, SLACK_MM), slices, -slices])


def shares(seen: NDArray[np.float64], here: NDArray[np.float64]) -> NDArray[np.float64]:
    """How much of the darkness here (N,) is seen at the other visit (N,), from 0 to 1.

    1 where nothing is dark here, so that nothing can have come; 0 where either is not in view.
    """
    dark = ~(here <= 0)
    share = np.where(dark, seen / np.where(dark, here, 1), 1)
    clipped: NDArray[np.float64] = np.clip(np.nan_to_num(share), 0, 1)
    return clipped


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


def _averaged(
    scan: Scan, xyz_mm: NDArray[np.float64], blur: NDArray[np.float64]
) -> NDArray[np.float64]:
    """The scan at places (N, 3), each the mean of what is in view of `blur` (P, 3) around it."""
    read = _sampled(
        scan.voxels, np.linalg.inv(scan.affine), (xyz_mm[:, None] + blur).reshape(-1, 3)
    ).reshape(len(xyz_mm), len(blur))
    seen = np.isfinite(read)
    total: NDArray[np.float64] = np.where(seen, read, 0).sum(axis=1)
    return total / np.where(seen.any(axis=1), seen.sum(axis=1), np.nan)


def _mean(values: NDArray[np.float64]) -> float:
    """Of those in view; NaN where they are less than half."""
    seen = values[np.isfinite(values)]
    return float(seen.mean()) if 2 * len(seen) >= len(values) else np.nan


def _voxel_points(edges_mm: NDArray[np.float64]) -> NDArray[np.float64]:
    """Points (P, 3) spread evenly over a voxel with these edges (3, 3, in columns) around 0."""
    counts = np.maximum(1, np.rint(np.linalg.norm(edges_mm, axis=0) / SHARP_MM).astype(int))
    along = [(np.arange(count) + 0.5) / count - 0.5 for count in counts]
    points: NDArray[np.float64] = np.array(list(product(*along))) @ edges_mm.T
    return points


def _sampled(
    voxels: NDArray[np.float32], inverse: NDArray[Any], xyz_mm: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Linear values at places; NaN more than half a voxel outside the scan."""
    index = apply_affine(inverse, xyz_mm).T
    limit = np.array(voxels.shape)[:, None] - 0.5
    outside = ((index < -0.5) | (index > limit)).any(axis=0)
    values = ndimage.map_coordinates(voxels, index, order=1, mode="nearest").astype(np.float64)
    return np.where(outside, np.nan, values)


def _sampled_mask(
    mask: NDArray[np.bool_], inverse: NDArray[Any], xyz_mm: NDArray[np.float64]
) -> NDArray[np.bool_]:
    index = np.rint(apply_affine(inverse, xyz_mm)).astype(int)
    inside = np.all((index >= 0) & (index < mask.shape), axis=1)
    result = np.zeros(len(xyz_mm), bool)
    result[inside] = mask[tuple(index[inside].T)]
    return result
