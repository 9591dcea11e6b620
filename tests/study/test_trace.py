from dataclasses import replace

import numpy as np
import pytest

from microbleeds.scan import Scan
from microbleeds.study.trace import covered, darkness, shares, shifts


def scan_with_ball(centre, radius, depth, contrast="t2star", level=800.0):
    affine = np.diag([0.8, 0.8, 2.0, 1.0])
    affine[:3, 3] = (-20, -20, -20)
    voxels = np.full((50, 50, 20), level, np.float32)
    places = np.moveaxis(np.indices(voxels.shape), 0, -1) @ affine[:3, :3].T + affine[:3, 3]
    voxels[np.linalg.norm(places - centre, axis=-1) <= radius] += np.float32(depth)
    return Scan(voxels, affine, contrast), np.ones(voxels.shape, bool)


def test_darkness_is_the_share_of_signal_that_is_missing():
    scan, brain = scan_with_ball((0, 0, 0), 5.0, -600)
    values = darkness(scan, brain, np.array([[0, 0, 0], [10.0, 8, 6]]), np.array([6.0, 3.0]))
    assert values == pytest.approx([0.75, 0.0], abs=0.02)


def test_on_a_map_it_is_above_the_surroundings_in_standard_deviations_of_any_unit():
    scan, brain = scan_with_ball((0, 0, 0), 5.0, 0.4, "qsm", level=-0.05)
    noise = np.random.default_rng(0).normal(0, 0.05, scan.voxels.shape)
    for unit in (1, 1000, 1e-6):
        voxels = (unit * (scan.voxels + noise)).astype(np.float32)
        map_ = replace(scan, voxels=voxels)
        values = darkness(map_, brain, np.zeros((1, 3)), np.array([6.0]))
        assert values == pytest.approx([0.4 / 0.05], rel=0.05)


def test_at_the_edge_of_the_scan_what_is_in_view_counts():
    scan, brain = scan_with_ball((0, 0, 18.5), 4.0, -600)  # the last slice is at z = 18
    place, size = np.array([[0, 0, 18.5]]), np.array([3.0])
    for voxel in (None, np.diag([0.5, 0.5, 4.0])):
        assert darkness(scan, brain, place, size, voxel_mm=voxel) == pytest.approx([0.75], abs=0.1)


def test_the_darkest_of_shifted_places_counts():
    scan, brain = scan_with_ball((0, 0, 0), 2.0, -600)
    off, size = np.array([[1.0, 0.0, 0.0]]), np.array([3.0])
    back = np.array([[0.0, 0, 0], [-1, 0, 0], [1, 0, 0]])
    found = darkness(scan, brain, off, size, shifts_mm=back)
    assert found == pytest.approx(darkness(scan, brain, np.zeros((1, 3)), size))
    assert found > darkness(scan, brain, off, size) + 0.05


def test_shifts_are_half_a_millimetre_and_a_quarter_of_the_thicker_slice():
    thin, thick = np.diag([0.9, 0.9, 2.0]), np.diag([0.9, 5.0, 0.9])
    assert sorted(shifts(thin, thick)[:, 2]) == pytest.approx(
        [-1.25, -0.5, 0, 0, 0, 0, 0, 0.5, 1.25]
    )
    assert np.abs(shifts(thick, thin)).max(axis=0) == pytest.approx([0.5, 1.25, 0.5])


def test_a_share_is_between_nothing_and_all():
    seen = np.array([0.1, 0.3, -0.1, 0.1, np.nan, 0.1])
    here = np.array([0.2, 0.2, 0.2, -0.1, 0.2, np.nan])
    assert shares(seen, here) == pytest.approx([0.5, 1.0, 0.0, 1.0, 0.0, 0.0])


def test_averaged_over_a_thick_slice_a_ball_is_less_dark_and_one_point_spread_is_shared():
    """The mean over a ball of a ball that is smeared over 4 mm, against the sum done by hand."""
    scan, brain = scan_with_ball((0, 0, 0), 2.0, -600)
    voxel = np.diag([0.5, 0.5, 4.0])
    place, size = np.zeros((1, 3)), np.array([3.0])
    smeared = darkness(scan, brain, place, size, voxel_mm=voxel)
    steps = np.array([[0, 0, z] for z in (-1.6, -0.8, 0, 0.8, 1.6)])
    shifted = darkness(scan, brain, place + steps, np.repeat(size, 5))
    assert smeared == pytest.approx([shifted.mean()], abs=0.01)
    assert smeared[0] < darkness(scan, brain, place, size)[0] - 0.1


def test_thin_and_thick_slices_agree_better_once_each_is_averaged_over_the_other():
    """A ball of 3 mm in the middle of a slice of 4 mm and of one of 1.3 mm."""
    x, y, z = np.meshgrid(
        np.arange(-20, 20, 0.5), np.arange(-20, 20, 0.5), (np.arange(180) - 89.5) / 3, indexing="ij"
    )
    fine = np.where(np.sqrt(x**2 + y**2 + z**2) <= 1.5, 200, 800).astype(np.float32)
    place, size = np.zeros((1, 3)), np.array([3.0])
    plain, averaged = [], []
    edges = {cells: np.diag([0.5, 0.5, cells / 3]) for cells in (4, 12)}
    for cells, other in ((4, 12), (12, 4)):
        voxels = fine.reshape(80, 80, -1, cells).mean(-1)
        affine = np.eye(4)
        affine[:3, :3] = edges[cells]
        affine[:3, 3] = -20, -20, (cells / 2 - 90) / 3
        scan, brain = Scan(voxels, affine, "t2star"), np.ones(voxels.shape, bool)
        plain.append(darkness(scan, brain, place, size)[0])
        averaged.append(darkness(scan, brain, place, size, voxel_mm=edges[other])[0])
    assert plain[1] < 0.7 * plain[0]
    assert averaged[1] == pytest.approx(averaged[0], rel=0.1)


def test_a_place_outside_the_scan_has_no_darkness():
    scan, brain = scan_with_ball((0, 0, 0), 2.0, -600)
    assert np.isnan(darkness(scan, brain, np.array([[60.0, 0, 0]]), np.array([3.0]))).all()
    assert darkness(scan, brain, np.zeros((0, 3)), np.zeros(0)).shape == (0,)


def test_covered_is_in_the_brain_or_a_little_outside():
    scan, brain = scan_with_ball((0, 0, 0), 2.0, -600)
    brain[:25] = False  # x below 0
    places = np.array([[5.0, 0, 0], [-1.5, 0, 0], [-6.0, 0, 0], [90.0, 0, 0]])
    assert covered(scan, brain, places, 2.0).tolist() == [True, True, False, False]
