"""Discs of known contrast on known grounds."""

import numpy as np
import pytest

from microbleeds.steps.conspicuity import conspicuity

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
    found = conspicuity(image, disc, np.ones(disc.shape, bool), SPACING)
    assert found == pytest.approx([0.9 - level], abs=1e-6)


@pytest.mark.parametrize(("share", "shown"), [(0.2, 0.4), (0.45, 0.0)])
def test_a_dark_neighbour_hides_it_when_it_takes_much_of_the_ring(share, shown):
    x, y = np.indices((48, 48)) - 24
    angle = (np.arctan2(y, x) + np.pi) / (2 * np.pi)
    image, disc = scene(np.where(angle < share, 0.9, 0.5))
    found = conspicuity(image, disc, np.ones(disc.shape, bool), SPACING)
    assert found == pytest.approx([shown], abs=1e-6)


def test_outside_and_other_things_are_no_ground():
    image, disc = scene(np.full((48, 48), 0.5))
    inside = np.ones(disc.shape, bool)
    inside[:22], image[:22] = False, 0.0
    disc[30:32, 20:28, 1], image[30:32, 20:28, 1] = 3, 1.0
    found = conspicuity(image, disc, inside, SPACING)
    assert found == pytest.approx([0.4, 0.0, 0.5], abs=1e-6)  # number 2 is not there


def test_nothing_around_and_nothing_at_all():
    image, disc = scene(np.full((48, 48), 0.5))
    assert conspicuity(image, disc, disc > 0, SPACING).tolist() == [0.0]
    assert conspicuity(image, 0 * disc, disc == 0, SPACING).size == 0
