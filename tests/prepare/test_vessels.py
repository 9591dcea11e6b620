from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from skimage.feature import hessian_matrix, hessian_matrix_eigvals

from microbleeds.prepare.vessels import GAMMA, _ridge, paint_vessels, vesselness

SCALES = (0.5, 1.0)


def profile(distance, radius, contrast=0.3):
    inside = np.clip((radius - distance) / 0.5 + 0.5, 0, 1)
    return (0.5 + contrast * inside).astype(np.float32)[:, :, None]


def plane(spacing, extent=30.0):
    x, y = ((np.arange(int(extent / s)) - int(extent / s) // 2) * s for s in spacing[:2])
    return np.meshgrid(x, y, indexing="ij")


def score(image, spacing):
    return vesselness(image, np.ones(image.shape, bool), np.asarray(spacing), SCALES)


@pytest.mark.parametrize("spacing", [(0.5, 0.5, 3.0), (0.4, 0.6, 3.0)])
@pytest.mark.parametrize("radius", [0.75, 1.0, 1.5])
def test_tubes_score_high_and_discs_low(spacing, radius):
    x, y = plane(spacing)
    middle = tuple(n // 2 for n in x.shape)
    for angle in (0.0, 0.6, 1.57):
        tube = score(profile(np.abs(x * np.cos(angle) + y * np.sin(angle)), radius), spacing)
        assert tube[middle] > 0.8
    assert score(profile(np.hypot(x, y), radius), spacing).max() < 0.15  # its flanks, too
    assert score(profile(np.abs(x), radius, -0.2), spacing)[middle] == 0  # a bright sulcus


def test_ridge_against_scikit_image():
    image = np.random.default_rng(0).uniform(-0.5, 0.5, (40, 40)).astype(np.float32)
    sigma = 2.0
    where, line, cosine, sine = _ridge(image, np.ones(image.shape, bool), np.array([sigma, sigma]))
    score_ = np.zeros_like(image)
    score_.ravel()[where] = line
    hessian = hessian_matrix(
        image, sigma, order="rc", use_gaussian_derivatives=True, mode="reflect"
    )
    low, high = sorted(hessian_matrix_eigvals(hessian) * sigma**2, key=np.mean)
    ridge = (low < 0) & (np.abs(low) > np.abs(high))
    expected = np.exp(-((high / low) ** 2) / (2 * 0.5**2))
    expected = expected * (1 - np.exp(-(low**2 + high**2) / (2 * GAMMA**2))) * ridge
    inner = slice(8, -8)
    assert expected[inner, inner].max() > 0.1
    different = np.abs(score_[inner, inner] - expected[inner, inner]) > 0.03
    assert different.mean() < 0.01  # the measure jumps at saddles
    assert_allclose(cosine**2 + sine**2, 1, atol=1e-3)


def test_the_rim_of_the_brain_is_no_vessel():
    x, y = plane((0.5, 0.5))
    brain = (np.hypot(x, y) < 10)[:, :, None]
    image = np.where(brain, 0.5, 0).astype(np.float32)
    assert vesselness(image, brain, np.array([0.5, 0.5, 2.0]), SCALES).max() < 0.01


def test_painting_takes_vessels_out_and_leaves_bleeds():
    x, y = plane((0.5, 0.5, 2.0))
    image = np.maximum(profile(np.abs(x + 6), 1.0), profile(np.hypot(x - 6, y), 1.5))
    image = np.repeat(image, 3, axis=2)
    brain = np.zeros(image.shape, bool)
    brain[3:-3, 3:-3] = True
    marked = image > 0.6  # vein and bleed alike
    painted = paint_vessels(image, brain, marked.astype(np.float32))
    vein, bleed = (x < 0) & brain[:, :, 0], (x > 0) & brain[:, :, 0]
    assert_allclose(painted[vein & marked[:, :, 0]], 0.5, atol=0.1)
    assert_array_equal(painted[bleed], image[bleed])
    assert_array_equal(painted[~brain], image[~brain])


def test_painting_fills_layer_by_layer_from_brain_only():
    brain = np.zeros((9, 17, 5), bool)
    brain[1:8] = True
    image = np.where(brain, 0.4, 0).astype(np.float32)
    vessel = np.zeros(brain.shape, bool)
    vessel[3:6, :, :] = True  # a slab three thick and long, so two layers deep
    image[vessel] = 0.9
    painted = paint_vessels(image, brain, vessel.astype(np.float32))
    assert_allclose(painted[1:8], 0.4, atol=1e-5)
    assert not painted[[0, 8]].any()


def test_painting_with_nothing_to_fill_from_ends():
    image = np.full((6, 12, 2), 0.7, np.float32)
    ones = np.ones(image.shape, np.float32)
    brain = np.zeros(image.shape, bool)
    brain[2, 1:11] = True  # a line that is all vessel
    assert_array_equal(paint_vessels(image, brain, ones), image)
