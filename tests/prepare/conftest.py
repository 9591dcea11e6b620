"""A simulated head small enough for every test: an ellipsoid with a bleed, a vein and a ramp."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from microbleeds.scan import Scan

BLEED_MM = np.array([9.0, -6.0, 3.0])  # scanner mm


def head_at(points: NDArray[np.float64]) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Signal and brain mask of the object at points (..., 3) in scanner mm."""
    x, y, z = np.moveaxis(points, -1, 0)
    brain = (x / 28) ** 2 + (y / 36) ** 2 + (z / 24) ** 2 < 1
    signal = 200 + 1.0 * x + 0.5 * y - 0.7 * z  # no symmetry, so that a flip shows
    signal -= 120 * np.exp(-np.sum((points - BLEED_MM) ** 2, axis=-1) / (2 * 1.3**2))
    signal -= 120 * np.exp(-((x + 9) ** 2 + (z - 3) ** 2) / (2 * 1.0**2))  # a vein along y
    return np.where(brain, signal, 20).astype(np.float32), brain


def make_head(
    affine: NDArray[np.float64], shape: tuple[int, int, int]
) -> tuple[Scan, NDArray[np.bool_]]:
    """The object sampled at the voxels of a grid."""
    index = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), axis=-1)
    voxels, brain = head_at(index @ affine[:3, :3].T + affine[:3, 3])
    return Scan(voxels, affine, "t2star"), brain


def centred(matrix: NDArray[np.float64], shape: tuple[int, int, int]) -> NDArray[np.float64]:
    """Affine with the middle voxel at scanner (0, 0, 0)."""
    affine = np.eye(4)
    affine[:3, :3] = matrix
    affine[:3, 3] = -matrix @ (np.array(shape) // 2)
    return affine


@pytest.fixture(scope="session")
def head() -> tuple[Scan, NDArray[np.bool_]]:
    shape = (70, 86, 21)
    return make_head(centred(np.diag([1.0, 1.0, 3.0]), shape), shape)
