"""Elongation against the axes of known ellipsoids, and the shapes that thick slices make."""

import numpy as np
import pytest

from microbleeds.prepare.grid import Grid
from microbleeds.steps.shape import diameter_mm, measure


def ellipsoid(semi_axes_mm, affine: np.ndarray) -> np.ndarray:
    index = np.indices((80, 80, 80)).reshape(3, -1).T
    mm = (index - 40) @ affine[:3, :3].T
    return index[np.sum((mm / semi_axes_mm) ** 2, axis=1) <= 1]


def elongation(voxels, affine) -> float:
    voxels = np.asarray(voxels)
    grid = Grid((80, 80, 80), affine)
    return measure(voxels, np.ones(len(voxels), np.float32), grid).elongation


@pytest.mark.parametrize("semi_axes", [(3, 3, 3), (4, 3, 2), (6, 2, 2)])
def test_elongation_of_ellipsoids(semi_axes):
    turned = np.eye(4)
    turned[:3, :3] = [[0.08, -0.06, 0], [0.06, 0.08, 0], [0, 0, 0.2]]  # oblique, anisotropic
    expected = 1 - min(semi_axes) / max(semi_axes)
    assert elongation(ellipsoid(semi_axes, turned), turned) == pytest.approx(expected, abs=0.04)


def test_few_thick_voxels_are_not_elongated_but_a_line_is():
    thick = np.diag([0.45, 0.45, 4.0, 1.0])
    square = [(i, j, 0) for i in range(3) for j in range(3)]
    assert elongation([(0, 0, 0)], thick) == 0
    assert elongation(square, thick) < 0.2
    assert elongation([*square, *((i, j, 1) for i, j, _ in square)], thick) < 0.85
    assert elongation([(i, j, 0) for i in range(20) for j in range(2)], thick) > 0.85


def test_centre_is_weighted_and_in_the_scanner():
    affine = np.diag([0.5, 0.5, 2.0, 1.0])
    affine[:3, 3] = 10, 20, 30
    voxels = np.array([[0, 0, 0], [4, 0, 0]])
    shape = measure(voxels, np.array([1, 3], np.float32), Grid((5, 1, 1), affine))
    assert shape.centre_mm == pytest.approx((11.5, 20, 30))
    assert shape.volume_mm3 == pytest.approx(1.0)
    assert diameter_mm(4 / 3 * np.pi) == pytest.approx(2.0)
