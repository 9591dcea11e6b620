from __future__ import annotations

import itertools

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy import ndimage

from microbleeds.errors import UserError
from microbleeds.prepare.grid import Grid, labels_to_scan, slice_axis, to_grid, working_grid
from microbleeds.scan import Scan
from microbleeds.settings import PrepareSettings

OWN = PrepareSettings(in_plane_mm=None, min_slice_mm=None, margin_mm=0.0)


def rotation(axis: int, degrees: float) -> np.ndarray:
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    a, b = [other for other in range(3) if other != axis]
    matrix = np.eye(3)
    matrix[a, a] = matrix[b, b] = c
    matrix[a, b], matrix[b, a] = -s, s
    return matrix


def as_scan(voxels: np.ndarray, affine: np.ndarray) -> Scan:
    return Scan(voxels.astype(np.float32), affine, "t2star")


@pytest.mark.parametrize(
    ("spacing", "expected"),
    [
        ((0.5, 0.5, 4), 2),
        ((4, 0.5, 0.5), 0),
        ((1, 1, 1), 2),
        ((1, 1.05, 1), 2),
        ((1, 1.4, 1), 1),
        ((1.09, 1.09, 0.98), 2),
        ((1.1, 1.1, 0.5), 0),
    ],
)
def test_slice_axis_is_the_coarsest_else_the_superior_one(spacing, expected):
    assert slice_axis(np.diag([*spacing, 1.0])) == expected


@pytest.mark.parametrize(
    ("own", "expected"),
    [(0.4, 0.5), (0.5, 0.5), (0.65, 0.65), (0.8, 0.8), (1.1, 0.8)],
)
def test_spacing_in_the_slice_is_the_scans_own_between_two_limits(own, expected):
    settings = PrepareSettings(in_plane_mm=0.5, max_in_plane_mm=0.8, margin_mm=0.0)
    scan = as_scan(np.ones((40, 30, 10)), np.diag([own, own, 3.0, 1.0]))
    grid = working_grid(scan, scan.voxels > 0, settings)
    assert_allclose(grid.spacing, [expected, expected, 3.0])


def test_the_finer_side_of_a_voxel_decides_and_one_spacing_alone_is_kept():
    scan = as_scan(np.ones((40, 30, 10)), np.diag([0.6, 0.9, 3.0, 1.0]))
    both = PrepareSettings(in_plane_mm=0.5, max_in_plane_mm=0.8)
    assert_allclose(working_grid(scan, scan.voxels > 0, both).spacing, [0.6, 0.6, 3.0])
    one = PrepareSettings(in_plane_mm=0.5)
    assert_allclose(working_grid(scan, scan.voxels > 0, one).spacing, [0.5, 0.5, 3.0])


@pytest.mark.parametrize(
    ("spacing", "expected"),
    [
        ((1.03, 1.03, 0.66), 2),  # zero-filled across
        ((1.2, 1.3, 0.66), 2),
        ((0.9375, 0.9375, 0.46875), 2),
        ((1.0, 1.4, 0.66), 1),
        ((0.7, 2.0, 0.7), 1),  # coronal
        ((0.9, 1.3, 0.65), 1),
        ((1.5, 0.9, 0.9), 0),  # sagittal
        ((4.0, 0.9, 0.45), 0),
    ],
)
@pytest.mark.parametrize("tilt", [0, 15])
def test_thin_slices_across_the_body_are_not_taken_for_thick_ones_along_it(spacing, expected, tilt):
    affine = np.eye(4)
    affine[:3, :3] = rotation(0, tilt) @ np.diag(spacing)
    assert slice_axis(affine) == expected


def test_slice_axis_of_isotropic_voxels_stored_sagittally():
    affine = np.zeros((4, 4))
    affine[[1, 2, 0, 3], [0, 1, 2, 3]] = 1.0  # i runs to A, j to S, k to R
    assert slice_axis(affine) == 1


def test_own_spacing_is_a_lossless_permutation_for_every_storage_order():
    voxels = np.random.default_rng(0).random((12, 14, 9)).astype(np.float32)
    affine = np.diag([0.9, 0.9, 3.0, 1.0])
    affine[:3, :3] = rotation(0, 20) @ affine[:3, :3]  # oblique
    affine[:3, 3] = [-5, 7, 11]
    for order in itertools.permutations(range(3)):
        for flips in itertools.product((False, True), repeat=3):
            stored, matrix = voxels.transpose(order), np.eye(4)[:, [*order, 3]]
            for axis in np.flatnonzero(flips):
                flip = np.eye(4)
                flip[axis, axis], flip[axis, 3] = -1, stored.shape[axis] - 1
                stored, matrix = np.flip(stored, axis), matrix @ flip
            scan = as_scan(stored, affine @ matrix)
            grid = working_grid(scan, np.ones(stored.shape, bool), OWN)
            assert_allclose(grid.affine, affine, atol=1e-9)
            assert_allclose(to_grid(stored, scan.affine, grid, 1), voxels, atol=1e-5)
            assert_array_equal(to_grid(stored, scan.affine, grid, 0), voxels)


def test_spacing_margin_and_extent(head):
    scan, brain = head
    settings = PrepareSettings(margin_mm=4.0)
    grid = working_grid(scan, brain, settings)
    assert_allclose(grid.spacing, [0.5, 0.5, 3.0])
    points = np.argwhere(brain) @ scan.affine[:3, :3].T + scan.affine[:3, 3]
    far = (np.array(grid.shape) - 1) @ grid.affine[:3, :3].T + grid.affine[:3, 3]
    assert (grid.affine[:3, 3] <= points.min(axis=0) - [4, 4, 3] + 1e-6).all()
    assert (far >= points.max(axis=0) + np.array([4, 4, 3]) - 1e-6).all()
    assert (far <= points.max(axis=0) + 4 + 3).all()  # and not much more
    thin = working_grid(as_scan(scan.voxels, np.diag([0.6, 0.6, 0.7, 1.0])), brain, settings)
    assert_allclose(thin.spacing, [0.5, 0.5, 1.0])


def test_margin_ends_with_the_scan():
    mask = np.ones((10, 10, 5), bool)
    grid = working_grid(as_scan(mask, np.diag([0.5, 0.5, 3.0, 1.0])), mask, PrepareSettings())
    assert grid.shape == mask.shape


def test_empty_mask_is_a_user_error():
    mask = np.zeros((10, 10, 5), bool)
    with pytest.raises(UserError, match="empty"):
        working_grid(as_scan(mask, np.eye(4)), mask, PrepareSettings())


@pytest.mark.parametrize("order", [1, 3])
def test_a_linear_function_of_scanner_mm_is_reproduced_on_any_grid(order):
    affine = np.eye(4)
    affine[:3, :3] = rotation(2, 30) @ np.diag([0.8, -0.8, 2.0])
    affine[0, 1] += 0.1  # sheared, as registration leaves it
    affine[:3, 3] = [3, -2, 5]
    index = np.stack(np.meshgrid(*map(np.arange, (30, 30, 12)), indexing="ij"), axis=-1)
    coefficients = np.array([1.0, -2.0, 0.5])
    ramp = (index @ affine[:3, :3].T + affine[:3, 3]) @ coefficients
    target = np.eye(4)
    target[:3, :3] = affine[:3, :3] @ rotation(1, 10) * 0.7
    target[:3, 3] = affine[:3, :3] @ [10, 10, 4] + affine[:3, 3]
    grid = Grid((8, 8, 4), target)
    inside = np.stack(np.meshgrid(*map(np.arange, grid.shape), indexing="ij"), axis=-1)
    expected = (inside @ target[:3, :3].T + target[:3, 3]) @ coefficients
    assert_allclose(to_grid(ramp, affine, grid, order), expected, atol=0.15)


@pytest.mark.parametrize("order", [0, 1])
def test_voxels_that_are_copied_are_those_that_interpolation_gives(order):
    """Against SciPy: axes swapped and flipped, a shift of whole voxels, partly outside."""
    array = np.random.default_rng(0).random((9, 8, 7), np.float32)
    for axes in itertools.permutations(range(3)):
        for signs in itertools.product((1, -1), repeat=3):
            step = np.eye(4)
            step[:3, :3] = np.diag(signs) @ np.eye(3)[list(axes)]
            step[:3, 3] = [3 if sign > 0 else 5 for sign in signs]
            expected = ndimage.affine_transform(
                array, step[:3, :3], step[:3, 3], (6, 8, 10), order=order
            )
            got = to_grid(array, np.eye(4), Grid((6, 8, 10), step), order)
            assert_allclose(got, expected, atol=1e-6)
            assert got.dtype == np.float32 and got.max() > 0
    beyond = np.eye(4)
    beyond[:3, 3] = [20, 0, 0]
    assert not to_grid(array, np.eye(4), Grid((4, 4, 4), beyond), order).any()


def test_down_sampling_does_not_alias():
    stripes = np.zeros((64, 8, 8), np.float32)
    stripes[::2] = 1.0  # the finest pattern the array can hold
    grid = Grid((20, 8, 8), np.diag([3.0, 1.0, 1.0, 1.0]))
    coarse = to_grid(stripes, np.eye(4), grid, 1)[2:-2]
    assert_allclose(coarse, 0.5, atol=0.05)


def test_outside_the_array_is_zero():
    affine = np.eye(4)
    affine[0, 3] = 100.0
    assert not to_grid(np.ones((5, 5, 5)), np.eye(4), Grid((4, 4, 4), affine), 1).any()


def test_labels_survive_a_coarser_grid_and_agree_elsewhere():
    scan = as_scan(np.zeros((10, 10, 6)), np.diag([2.0, 2.0, 3.0, 1.0]))
    grid = Grid((39, 39, 6), np.diag([0.5, 0.5, 3.0, 1.0]))
    labels = np.zeros(grid.shape, np.int32)
    labels[17, 17, 2] = 4  # between the scan's voxel centres
    labels[18, 18, 2] = 9  # its nearest scan voxel is the same one
    labels[4:13, 20:29, 3:5] = 70000
    result = labels_to_scan(labels, grid, scan)
    assert result.dtype == np.int32 and result.shape == scan.voxels.shape
    assert_array_equal(np.unique(result), [0, 4, 9, 70000])
    for value in (4, 9):
        (found,) = np.argwhere(result == value)
        assert np.abs(found - [4.4, 4.4, 2]).max() < 1.1
    assert_array_equal(result == 70000, labels[::4, ::4] == 70000)


def test_labels_return_to_the_storage_order_of_the_scan():
    affine = np.zeros((4, 4))
    affine[:, :3] = np.eye(4)[:, [2, 0, 1]] * [-3.0, 0.5, -0.5]
    affine[:, 3] = [40, -5, 8, 1]
    scan = as_scan(np.ones((7, 24, 20)), affine)
    grid = working_grid(scan, np.ones(scan.voxels.shape, bool), PrepareSettings())
    stored = np.zeros(scan.voxels.shape, np.int32)
    stored[2, 5:8, 11] = 3
    assert_array_equal(labels_to_scan(to_grid(stored, affine, grid, 0), grid, scan), stored)
