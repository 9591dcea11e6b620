from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from microbleeds.prepare.bias import correct_bias

SPACING = np.array([1.0, 1.0, 3.0])


def phantom(seed: int = 0):
    """Two tissues in blocks, and a smooth field of about 1 to 2 across them."""
    rng = np.random.default_rng(seed)
    shape = (72, 80, 24)
    x, y, z = (
        np.linspace(-1, 1, n).reshape(s)
        for n, s in zip(shape, ((-1, 1, 1), (1, -1, 1), (1, 1, -1)), strict=True)
    )
    brain = x**2 + y**2 + z**2 < 0.9
    tissue = np.where(np.indices(shape).sum(axis=0) // 9 % 2, 100.0, 130.0)
    field = np.exp(0.4 * x + 0.3 * y * y - 0.2 * z)
    voxels = tissue * field + rng.normal(0, 2, shape)
    return np.where(brain, voxels, 0).astype(np.float32), brain, tissue, field


def spread(values: np.ndarray) -> float:
    return float(np.std(np.log(values)))


def test_most_of_a_known_field_is_removed():
    voxels, brain, tissue, field = phantom()
    corrected = correct_bias(voxels, brain, SPACING)
    assert corrected.dtype == np.float32 and corrected.shape == voxels.shape
    assert spread(field[brain]) > 0.15
    assert spread(corrected[brain] / tissue[brain]) < 0.4 * spread(field[brain])


def test_zeros_and_voids_inside_neither_crash_nor_bend_the_field():
    voxels, brain, _, _ = phantom()
    plain = correct_bias(voxels, brain, SPACING)
    holed = voxels.copy()
    holed[30:34, 40:44, 10:12] = 0
    holed[40, 40, 12] = -5
    corrected = correct_bias(holed, brain, SPACING)
    assert np.isfinite(corrected).all()
    same = brain & (holed == voxels)
    assert spread(corrected[same] / plain[same]) < 0.02
    assert (corrected[30:34, 40:44, 10:12] == 0).all()


@pytest.mark.parametrize("shape", [(72, 80, 1), (72, 80, 2), (5, 80, 24)])
def test_thin_volumes(shape):
    voxels, brain, _, _ = phantom()
    centre = tuple(
        slice((n - m) // 2, (n - m) // 2 + m) for n, m in zip(voxels.shape, shape, strict=True)
    )
    assert np.isfinite(correct_bias(voxels[centre], brain[centre], SPACING)).all()


def test_nothing_to_fit_leaves_the_image():
    voxels, brain, _, _ = phantom()
    assert_array_equal(correct_bias(voxels * 0, brain, SPACING), voxels * 0)
    assert_array_equal(correct_bias(voxels, np.zeros_like(brain), SPACING), voxels)
    single = np.zeros_like(brain)
    single[36, 40, 12] = True
    assert_array_equal(correct_bias(voxels, single, SPACING), voxels)
