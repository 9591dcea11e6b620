import numpy as np
import pytest

from microbleeds.scan import Scan
from microbleeds.study.trace import covered, darkness


def scan_with_ball(centre, radius, depth, contrast="t2star", level=800.0):
    affine = np.diag([0.8, 0.8, 2.0, 1.0])
    affine[:3, 3] = (-20, -20, -20)
    voxels = np.full((50, 50, 20), level, np.float32)
    places = np.moveaxis(np.indices(voxels.shape), 0, -1) @ affine[:3, :3].T + affine[:3, 3]
    voxels[np.linalg.norm(places - centre, axis=-1) <= radius] += np.float32(depth)
    return Scan(voxels, affine, contrast), np.ones(voxels.shape, bool)


def test_darkness_is_the_share_of_signal_that_is_missing():
    scan, brain = scan_with_ball((0, 0, 0), 5.0, -600)
    values = darkness(scan, brain, np.array([[0, 0, 0], [10.0, 8, 6]]), np.array([3.0, 3.0]))
    assert values == pytest.approx([0.75, 0.0], abs=0.02)


def test_on_a_map_it_is_ppm_above_the_surroundings():
    scan, brain = scan_with_ball((0, 0, 0), 5.0, 0.4, "qsm", level=-0.05)
    values = darkness(scan, brain, np.zeros((1, 3)), np.array([3.0]))
    assert values == pytest.approx([0.4], abs=0.02)


def test_slack_forgives_a_place_that_is_a_little_off():
    scan, brain = scan_with_ball((0, 0, 0), 2.0, -600)
    off, size = np.array([[1.0, 0.0, 0.0]]), np.array([3.0])
    assert darkness(scan, brain, off, size, 1.0) > darkness(scan, brain, off, size) + 0.05


def test_a_place_outside_the_scan_has_no_darkness():
    scan, brain = scan_with_ball((0, 0, 0), 2.0, -600)
    assert np.isnan(darkness(scan, brain, np.array([[60.0, 0, 0]]), np.array([3.0]))).all()
    assert darkness(scan, brain, np.zeros((0, 3)), np.zeros(0)).shape == (0,)


def test_covered_is_in_the_brain_or_a_little_outside():
    scan, brain = scan_with_ball((0, 0, 0), 2.0, -600)
    brain[:25] = False  # x below 0
    places = np.array([[5.0, 0, 0], [-1.5, 0, 0], [-6.0, 0, 0], [90.0, 0, 0]])
    assert covered(scan, brain, places, 2.0).tolist() == [True, True, False, False]
