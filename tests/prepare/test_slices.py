import numpy as np
import pytest

from microbleeds.prepare.slices import brain_boxes
from microbleeds.prepare.symmetry import radial_symmetry
from microbleeds.prepare.vessels import vesselness


def test_boxes_hold_the_brain_of_each_slice_and_the_room_there_is():
    brain = np.zeros((12, 9, 4), bool)
    brain[3:5, 2:8, 1] = True
    brain[0, 0, 3] = brain[11, 4, 3] = True
    assert list(brain_boxes(brain, (2, 1))) == [
        (slice(1, 7), slice(1, 9), 1),
        (slice(0, 14), slice(0, 6), 3),  # an end beyond the array does no harm
    ]
    assert list(brain_boxes(np.zeros((2, 2, 2), bool), (1, 1))) == []


@pytest.mark.parametrize("rim", [0, 20])
def test_maps_do_not_depend_on_what_surrounds_the_brain(rim):
    """Each slice is computed in the box that its brain needs; nothing else may matter."""
    rng = np.random.default_rng(0)
    x, y, z = np.indices((70, 60, 5))
    brain = (x - 35) ** 2 + (y - 30) ** 2 < (21 - 4 * abs(z - 2)) ** 2
    image = (rng.random(brain.shape) * brain).astype(np.float32)
    wide = [np.pad(array, ((rim, rim), (rim, rim), (0, 0))) for array in (image, brain)]
    spacing = np.array([0.5, 0.6, 2.0])
    kept = np.s_[rim : rim + 70, rim : rim + 60]
    symmetry = radial_symmetry(*wide, spacing, (1.0, 3.0), 2.0)[kept]
    vessels = vesselness(*wide, spacing, (0.5, 1.0))[kept]
    assert symmetry.max() > 0.2 and vessels.max() > 0.2
    np.testing.assert_array_equal(symmetry, radial_symmetry(image, brain, spacing, (1.0, 3.0), 2.0))
    np.testing.assert_array_equal(vessels, vesselness(image, brain, spacing, (0.5, 1.0)))
    for number in range(5):  # and slices know nothing of one another
        one = np.s_[:, :, number : number + 1]
        alone = radial_symmetry(image[one], brain[one], spacing, (1.0, 3.0), 2.0)
        np.testing.assert_array_equal(symmetry[one], alone)
