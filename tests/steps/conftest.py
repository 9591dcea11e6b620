"""A block of brain and blobs of probability in it."""

from collections.abc import Callable

import numpy as np
import pytest

from microbleeds.prepare import Prepared
from microbleeds.prepare.grid import Grid


@pytest.fixture
def block() -> Callable[..., Prepared]:
    def make(shape: tuple[int, int, int], affine: np.ndarray, rim: int = 2) -> Prepared:
        brain = np.zeros(shape, bool)
        brain[tuple(slice(rim, size - rim) for size in shape)] = True
        empty = np.zeros(shape, np.float32)
        return Prepared(empty, brain, empty, empty, Grid(shape, affine))

    return make


@pytest.fixture
def blob() -> Callable[..., np.ndarray]:
    def make(grid: Grid, centre, sigma_mm: float, height: float = 0.95) -> np.ndarray:
        """A Gaussian in mm around a voxel position."""
        offsets = np.moveaxis(np.indices(grid.shape), 0, -1) - np.asarray(centre)
        squared = np.sum((offsets @ grid.affine[:3, :3].T) ** 2, axis=-1)
        return (height * np.exp(-squared / (2 * sigma_mm**2))).astype(np.float32)

    return make
