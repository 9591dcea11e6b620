"""Patches against scipy's interpolation; the second view against means of blocks."""

import numpy as np
import pytest
from scipy.ndimage import map_coordinates
from skimage.measure import block_reduce

from microbleeds.prepare.grid import Grid
from microbleeds.steps.patches import averaged, extract_patches, extract_views, views_of

AFFINE = np.array(
    [[0.48, 0.0, 0.4, -20.0], [0.0, 0.5, 0.0, 7.0], [-0.14, 0.0, 3.0, 31.0], [0, 0, 0, 1.0]]
)
GRID = Grid((40, 36, 14), AFFINE)
CENTRES = np.array([[20.2, 17.9, 6.3], [1.0, 34.6, 12.8], [300.0, 10.0, 5.0]])  # middle, rim, far


def in_scanner(voxels: np.ndarray) -> np.ndarray:
    return voxels @ AFFINE[:3, :3].T + AFFINE[:3, 3]


@pytest.fixture
def channels() -> np.ndarray:
    return np.random.default_rng(1).random((2, *GRID.shape), np.float32)


def test_patches_agree_with_scipy_at_the_rim_and_outside_too(channels):
    shape, spacing = (7, 6, 5), (0.7, 0.4, 2.0)
    patches = extract_patches(channels, GRID, in_scanner(CENTRES), shape, spacing)
    steps = [
        (np.arange(n) - (n - 1) / 2) * mm / voxel
        for n, mm, voxel in zip(shape, spacing, GRID.spacing, strict=True)
    ]
    for patch, centre in zip(patches, CENTRES, strict=True):
        points = np.meshgrid(*(c + s for c, s in zip(centre, steps, strict=True)), indexing="ij")
        for seen, channel in zip(patch, channels, strict=True):
            expected = map_coordinates(channel, points, order=1, mode="grid-constant", cval=0)
            np.testing.assert_allclose(seen, expected, atol=1e-5)
    assert patches.dtype == np.float32 and patches.shape == (3, 2, *shape)
    assert patches[1].any() and not patches[2].any()


def test_the_centre_of_an_odd_box_is_the_value_at_the_centre(channels):
    patches = extract_patches(
        channels, GRID, in_scanner(np.array([[11.0, 12.0, 5.0]])), (3, 3, 3), (1.0, 1.0, 1.0)
    )
    np.testing.assert_allclose(patches[0, :, 1, 1, 1], channels[:, 11, 12, 5], atol=1e-5)


@pytest.mark.parametrize("slice_mm", [1.1, 2.0, 4.0])
def test_no_thin_slice_is_left_out_of_a_patch(slice_mm):
    """Slices thinner than the patch's 2 mm come one by one, thicker ones lie 2 mm apart there."""
    grid = Grid((30, 30, 20), np.diag([0.5, 0.5, slice_mm, 1.0]))
    volume = np.zeros((1, *grid.shape), np.float32)
    volume[0, 15, 15, 9:12] = 1, 2, 3
    near, far = views_of(volume, grid, (0.5, 0.5, 2.0), (3, 3, 2))
    step = min(slice_mm, 2.0)
    assert near.spacing_mm == pytest.approx((0.5, 0.5, step))
    assert far.spacing_mm == pytest.approx((1.5, 1.5, 2 * step))
    patch = extract_views([near], np.array([[7.5, 7.5, 10 * slice_mm]]), (9, 9, 8))[0, 0, 4, 4]
    places = 10 + step / slice_mm * (np.arange(8) - 3.5)
    expected = np.interp(places, np.arange(20), volume[0, 15, 15])
    np.testing.assert_allclose(patch, expected, atol=1e-5)


def test_without_spacing_the_voxels_come_as_they_are(channels):
    centre = in_scanner(np.array([[20.4, 17.6, 6.1], [0.2, 17.6, 6.1]]))
    inner, rim = extract_patches(channels.astype(np.float16), GRID, centre, (4, 5, 2), None)
    half = channels.astype(np.float16).astype(np.float32)
    np.testing.assert_array_equal(inner, half[:, 18:22, 16:21, 5:7])
    np.testing.assert_array_equal(rim[:, 2:], half[:, 0:2, 16:21, 5:7])
    assert not rim[:, :2].any()


def test_no_centres_give_no_patches(channels):
    patches = extract_patches(channels, GRID, np.empty((0, 3)), (4, 4, 4), (1.0, 1.0, 1.0))
    assert patches.shape == (0, 2, 4, 4, 4)


def test_a_coarse_copy_holds_the_means_of_blocks_in_their_middle(channels):
    coarse, grid = averaged(channels, GRID, (1.5, 1.2, 4.0))  # 3 x 2 x 1 voxels fit
    expected = block_reduce(channels, (1, 3, 2, 1), np.mean)
    np.testing.assert_allclose(coarse, expected, atol=1e-3)
    assert coarse.dtype == np.float16 and grid.shape == expected.shape[1:] == (14, 18, 14)
    np.testing.assert_allclose(grid.spacing, GRID.spacing * (3, 2, 1))
    np.testing.assert_allclose(  # the middle of the first block, in the scanner
        grid.affine[:3, 3], in_scanner(np.array([1.0, 0.5, 0.0]))
    )


def test_the_second_view_shows_more_of_the_same_place():
    """A ramp in millimetres: its mean over a block is its value in the middle."""
    index = np.indices((60, 60, 30)).astype(np.float32)
    grid = Grid((60, 60, 30), np.diag([0.5, 0.5, 1.0, 1.0]))
    ramp = index * np.array([0.5, 0.5, 1.0], np.float32)[:, None, None, None]
    centre = np.array([[14.0, 15.0, 14.0]])
    views = views_of(ramp, grid, (0.5, 0.5, 1.0), (3, 3, 2))
    near, far = np.split(extract_views(views, centre, (9, 7, 5))[0], 2)
    for view, spacing in ((near, (0.5, 0.5, 1.0)), (far, (1.5, 1.5, 2.0))):
        for axis, (size, mm) in enumerate(zip((9, 7, 5), spacing, strict=True)):
            expected = centre[0, axis] + (np.arange(size) - (size - 1) / 2) * mm
            seen = np.moveaxis(view[axis], axis, 0).reshape(size, -1)
            np.testing.assert_allclose(seen, expected[:, None] * np.ones_like(seen), atol=0.01)


def test_without_context_there_is_one_view(channels):
    views = views_of(channels, GRID, None)
    assert len(views) == 1
    np.testing.assert_array_equal(
        extract_views(views, in_scanner(CENTRES), (4, 4, 2)),
        extract_patches(channels, GRID, in_scanner(CENTRES), (4, 4, 2), None),
    )


def test_a_second_view_of_grid_voxels_is_wider_than_they_are(channels):
    views = views_of(channels, GRID, None, (2, 2, 1))
    assert views[1].spacing_mm == pytest.approx(GRID.spacing * (2, 2, 1))
