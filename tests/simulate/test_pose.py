import numpy as np
import pytest
from scipy import ndimage

from microbleeds.simulate.lesions import Bleed
from microbleeds.simulate.pose import Pose
from microbleeds.simulate.vessels import Tubes

POSE = Pose((5.0, -8.0, 12.0), (2.0, -1.5, 3.0))


def test_an_image_goes_where_its_points_go():
    image = np.zeros((40, 44, 36))
    place = np.array([[25.0, 14.0, 20.0]])
    image[tuple(place[0].astype(int))] = 1
    image = ndimage.gaussian_filter(image, 2)
    moved = POSE.image(image, order=3)
    expected = POSE.points(place, image.shape)[0]
    assert np.linalg.norm(expected - place[0]) > 3
    assert ndimage.center_of_mass(np.maximum(moved, 0)) == pytest.approx(expected, abs=0.05)


def test_lengths_stay_and_the_middle_only_shifts():
    points = np.random.default_rng(0).uniform(0, 40, (6, 3))
    moved = POSE.points(points, (40, 40, 40))
    apart = [np.linalg.norm(p[:, None] - p[None], axis=2) for p in (points, moved)]
    assert apart[0] == pytest.approx(apart[1])
    middle = np.full((1, 3), 19.5)
    assert POSE.points(middle, (40, 40, 40)) - middle == pytest.approx(np.array([POSE.shift_mm]))


def test_no_pose_changes_nothing_not_even_a_byte():
    image = np.random.default_rng(0).normal(size=(5, 6, 7)).astype(np.float32)
    tubes = Tubes(np.ones((2, 3), np.float32), np.ones(2, np.float32))
    bleed = Bleed(np.ones((1, 3)), np.ones((1, 3)), 1.0)
    still = Pose()
    assert still.image(image, 3) is image
    assert still.tubes(tubes, (9, 9, 9)) is tubes and still.bleed(bleed, (9, 9, 9)) is bleed
