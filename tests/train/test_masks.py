import numpy as np
import pytest

from microbleeds.train.masks import PATCH_SD_MM, imperfect_mask

SPACING = np.array([0.5, 0.5, 3.0])
RADIUS_MM = 24.0


def ball():
    """A ball of 24 mm in anisotropic voxels."""
    axes = np.indices((140, 140, 24)).transpose(1, 2, 3, 0)
    return np.linalg.norm((axes - [70, 70, 12]) * SPACING, axis=-1) < RADIUS_MM


def radius_mm(mask):
    """Of the ball of the mask's volume."""
    return float(np.cbrt(mask.sum() * SPACING.prod() * 3 / (4 * np.pi)))


@pytest.mark.parametrize("shift", [-3.0, 0.0, 4.0])
def test_the_mask_moves_by_the_millimetres_drawn(shift):
    moved = imperfect_mask(ball(), SPACING, (shift, shift), np.random.default_rng(0))
    assert radius_mm(moved) == pytest.approx(RADIUS_MM + shift, abs=0.8)


def test_some_places_are_wider_and_others_narrower_and_the_seed_decides():
    whole = ball()
    moved = [imperfect_mask(whole, SPACING, (0, 0), np.random.default_rng(s)) for s in (1, 1, 2, 3)]
    assert np.array_equal(moved[0], moved[1]) and not np.array_equal(moved[0], moved[2])
    shell = 4 * np.pi * RADIUS_MM**2 * PATCH_SD_MM / SPACING.prod()  # voxels, one sd thick
    for mask in moved:  # of a normal distribution 0.4 sd lie on each side, in thick slices less
        assert 0.05 < (mask & ~whole).sum() / shell < 0.4
        assert 0.05 < (whole & ~mask).sum() / shell < 0.4


def test_an_empty_mask_stays_empty():
    nothing = np.zeros((40, 40, 9), bool)
    assert not imperfect_mask(nothing, SPACING, (1, 1), np.random.default_rng(0)).any()
