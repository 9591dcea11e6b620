from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose

from microbleeds.errors import UserError
from microbleeds.prepare.intensity import bright

SHAPE = (20, 20, 10)


def masked(seed: int = 0):
    brain = np.zeros(SHAPE, bool)
    brain[2:-2, 2:-2, 1:-1] = True
    return np.random.default_rng(seed), brain


@pytest.mark.parametrize("contrast", ["t2star", "swi"])
def test_magnitude_tissue_void_and_fluid(contrast):
    rng, brain = masked()
    voxels = rng.normal(300, 10, SHAPE).astype(np.float32)
    voxels[5, 5, 5], voxels[6, 6, 6], voxels[7, 7, 7] = 0, 600, 60000
    image = bright(voxels, brain, contrast)
    assert image.dtype == np.float32
    assert_allclose(np.median(image[brain]), 0.5, atol=1e-3)
    assert image[5, 5, 5] == 1 and image[6, 6, 6] < 0.02 and image[7, 7, 7] == 0
    assert not image[~brain].any()
    voxels[7, 7, 7] = 300  # an outlier moves nothing else
    again = bright(voxels, brain, contrast)
    again[7, 7, 7] = image[7, 7, 7]
    assert_allclose(again, image, atol=1e-4)


@pytest.mark.parametrize(("scale", "offset"), [(1.0, 0.0), (1000.0, 0.0), (4.0e4, 2048.0)])
def test_susceptibility_in_any_unit_is_the_same(scale, offset):
    rng, brain = masked()
    ppm = rng.normal(0, 0.03, SHAPE)
    ppm[5, 5, 5] = 0.45  # a bleed: 15 sigma
    image = bright((ppm * scale + offset).astype(np.float32), brain, "qsm")
    assert_allclose(image, bright(ppm.astype(np.float32), brain, "qsm"), atol=1e-3)
    assert image[5, 5, 5] > 0.95
    inside = image[brain]
    assert_allclose([np.median(inside), np.std(inside)], [0.3, 0.05], atol=0.01)


@pytest.mark.parametrize(
    ("value", "contrast", "message"),
    [(0, "t2star", "no signal"), (-1, "swi", "no signal"), (0.2, "qsm", "constant")],
)
def test_nothing_to_scale_by(value, contrast, message):
    _, brain = masked()
    with pytest.raises(UserError, match=message):
        bright(np.full(SHAPE, value, np.float32), brain, contrast)


def test_empty_mask():
    with pytest.raises(UserError, match="empty"):
        bright(np.ones(SHAPE, np.float32), np.zeros(SHAPE, bool), "t2star")
