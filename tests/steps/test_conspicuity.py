"""Discs of known contrast on known grounds."""

import numpy as np
import pytest

from microbleeds.steps.conspicuity import conspicuity, detectability, things_in_rings

SPACING = np.array([0.5, 0.5, 3.0])


def scene(ground):
    """A disc of 2 mm and 0.9 on a ground (X, Y), in the middle of three slices."""
    x, y = np.indices((48, 48)) - 24
    disc = np.zeros((48, 48, 3), np.int32)
    disc[:, :, 1] = np.hypot(x, y) * 0.5 <= 1
    image = np.repeat(ground[:, :, None], 3, axis=2).astype(np.float32)
    image[disc > 0] = 0.9
    return image, disc


@pytest.mark.parametrize("level", [0.2, 0.5, 1.0])
def test_on_even_ground_it_is_the_difference(level):
    image, disc = scene(np.full((48, 48), level))
    image[:, :, [0, 2]] = 0.0  # other slices do not matter
    found = conspicuity(image, things_in_rings(disc, np.ones(disc.shape, bool), SPACING))
    assert found == pytest.approx([0.9 - level], abs=1e-6)


@pytest.mark.parametrize(("share", "shown"), [(0.2, 0.4), (0.45, 0.0)])
def test_a_dark_neighbour_hides_it_when_it_takes_much_of_the_ring(share, shown):
    x, y = np.indices((48, 48)) - 24
    angle = (np.arctan2(y, x) + np.pi) / (2 * np.pi)
    image, disc = scene(np.where(angle < share, 0.9, 0.5))
    found = conspicuity(image, things_in_rings(disc, np.ones(disc.shape, bool), SPACING))
    assert found == pytest.approx([shown], abs=1e-6)


def test_outside_and_other_things_are_no_ground():
    image, disc = scene(np.full((48, 48), 0.5))
    inside = np.ones(disc.shape, bool)
    inside[:22], image[:22] = False, 0.0
    disc[30:32, 20:28, 1], image[30:32, 20:28, 1] = 3, 1.0
    found = conspicuity(image, things_in_rings(disc, inside, SPACING))
    assert found == pytest.approx([0.4, 0.0, 0.5], abs=1e-6)  # number 2 is not there


def test_nothing_around_and_nothing_at_all():
    image, disc = scene(np.full((48, 48), 0.5))
    assert conspicuity(image, things_in_rings(disc, disc > 0, SPACING)).tolist() == [0.0]
    assert conspicuity(image, things_in_rings(0 * disc, disc == 0, SPACING)).size == 0


@pytest.mark.parametrize(("spread", "size"), [(0.1, 1.0), (0.1, 2.0), (0.05, 1.0)])
def test_detectability_is_the_excess_over_the_noise_of_so_many_voxels(spread, size):
    """Rose's ratio in closed form: it doubles with the diameter and with half the noise."""
    x, y = np.indices((48, 48)) - 24
    disc = np.zeros((48, 48, 3), np.int32)
    disc[:, :, 1] = np.hypot(x, y) * 0.5 <= size
    noise = np.random.default_rng(1).normal(0.5, spread, disc.shape).astype(np.float32)
    image = np.where(disc > 0, np.float32(0.8), noise)
    (ratio,) = detectability(image, things_in_rings(disc, np.ones(disc.shape, bool), SPACING))
    assert ratio == pytest.approx(0.3 / spread * np.sqrt(disc.sum()), rel=0.15)


def test_dark_fluid_beside_a_bright_dot_does_not_hide_it():
    image, disc = scene(np.full((48, 48), 0.5))
    image += np.where(disc > 0, 0, np.random.default_rng(1).normal(0, 0.05, disc.shape))
    inside = np.ones(disc.shape, bool)
    (alone,) = detectability(image, things_in_rings(disc, inside, SPACING))
    image[:20] -= 0.4  # a fifth of the ring
    (beside,) = detectability(image, things_in_rings(disc, inside, SPACING))
    assert beside == pytest.approx(alone, rel=0.15)


def test_what_is_darker_than_its_ground_or_has_none_is_not_detectable():
    image, disc = scene(np.full((48, 48), 1.0))
    assert detectability(image, things_in_rings(disc, np.ones(disc.shape, bool), SPACING))[0] < 0
    assert detectability(image, things_in_rings(disc, disc > 0, SPACING)).tolist() == [0.0]
