"""Place, size and elongation of a handful of voxels, in mm."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from microbleeds.prepare.grid import Grid


@dataclass(frozen=True)
class Shape:
    """centre_mm: scanner mm. elongation: 0 for a sphere, near 1 for a line or a sheet."""

    centre_mm: tuple[float, float, float]
    volume_mm3: float
    elongation: float


def measure(voxels: NDArray[np.int_], weights: NDArray[np.float32], grid: Grid) -> Shape:
    """The shape of voxels (N, 3) on `grid`; the centre is the mean weighted by `weights` (N,)."""
    linear = grid.affine[:3, :3]
    x, y, z = linear @ np.average(voxels, axis=0, weights=weights) + grid.affine[:3, 3]
    return Shape(
        centre_mm=(float(x), float(y), float(z)),
        volume_mm3=float(len(voxels) * abs(np.linalg.det(linear))),
        elongation=_elongation(voxels, linear),
    )


def diameter_mm(volume_mm3: float) -> float:
    """Diameter of the sphere of that volume."""
    return float(np.cbrt(6 * volume_mm3 / np.pi))


def _elongation(voxels: NDArray[np.int_], linear: NDArray[np.float64]) -> float:
    """1 - shortest / longest principal axis of the union of voxel boxes.

    The boxes' own extent counts, so that a bleed in one thick slice is no disc. The ends of the
    longest axis may be filled only in part, so it is taken one voxel short: two thick slices alone
    do not make a line.
    """
    centred = voxels - voxels.mean(axis=0)
    covariance = centred.T @ centred / len(voxels) + np.eye(3) / 12  # of a unit box
    variances, axes = np.linalg.eigh(linear @ covariance @ linear.T)
    lengths = np.sqrt(12 * variances)  # of the box with that variance
    longest = float(np.max(lengths - np.linalg.norm(linear.T @ axes, axis=0)))
    shortest = float(lengths.min())
    return max(0.0, 1 - shortest / longest) if longest > 0 else 0.0
