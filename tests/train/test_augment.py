from dataclasses import replace

import numpy as np
import pytest

from microbleeds.train.augment import (
    PUBLISHED_AUGMENT,
    AugmentSettings,
    augment,
    turn,
    vary_intensity,
)

STILL = AugmentSettings(
    gain=(1, 1), offset=(0, 0), gamma=(1, 1), noise_sd=(0, 0), blur_voxels=(0, 0)
)


def patch(shape=(6, 6, 4)):
    rng = np.random.default_rng(3)
    channels = rng.uniform(0.1, 1, (3, *shape)).astype(np.float32)
    labels = (channels[1] > 0.9).astype(np.uint8)
    return channels, labels


def test_labels_and_channels_move_together_in_all_sixteen_ways():
    channels, labels = patch()
    seen = set()
    for seed in range(300):
        moved, moved_labels = augment(channels, labels, STILL, np.random.default_rng(seed))
        np.testing.assert_array_equal(moved[1] > np.float32(0.9), moved_labels > 0)
        np.testing.assert_array_equal(np.sort(moved[0], axis=None), np.sort(channels[0], axis=None))
        seen.add(moved[2].tobytes())
    assert len(seen) == 16  # 8 of the square times 2 through the slices


def test_the_images_of_both_views_change_alike_and_nothing_else_does():
    channels, labels = patch()
    settings = replace(STILL, flip=False, transpose=False, gain=(0.8, 0.9), gamma=(1.2, 1.3))
    both = np.concatenate([channels, channels])
    changed, _ = augment(both, labels, settings, np.random.default_rng(0), views=2)
    np.testing.assert_array_equal(changed[0], changed[3])
    assert not np.array_equal(changed[0], channels[0])
    for index in (1, 2, 4, 5):
        np.testing.assert_array_equal(changed[index], both[index])


def test_oblong_patches_are_only_mirrored_and_keep_their_shape():
    channels, labels = patch((6, 4, 4))
    seen = set()
    for seed in range(200):
        moved, moved_labels = augment(channels, labels, STILL, np.random.default_rng(seed))
        assert moved.shape == channels.shape and moved_labels.shape == labels.shape
        seen.add(moved[2].tobytes())
    assert len(seen) == 8


def test_input_is_left_alone_and_only_the_image_changes_values():
    channels, labels = patch()
    before = channels.copy()
    settings = replace(AugmentSettings(), flip=False, transpose=False)
    moved, _ = augment(channels, labels, settings, np.random.default_rng(0))
    np.testing.assert_array_equal(channels, before)
    np.testing.assert_array_equal(moved[1:], channels[1:])
    assert np.abs(moved[0] - channels[0]).max() > 1e-3


def test_no_brain_stays_zero_and_values_stay_in_range():
    image = patch()[0][0]
    image[:2] = 0
    strong = replace(PUBLISHED_AUGMENT, offset=(0.2, 0.2), noise_sd=(1, 1), blur_voxels=(1, 1))
    varied = vary_intensity(image, strong, np.random.default_rng(0))
    assert varied.dtype == np.float32
    assert (varied[:2] == 0).all() and varied.min() >= 0 and varied.max() <= 1


def test_noise_has_the_published_variance():
    image = np.full((60, 60, 20), 0.5, np.float32)
    variances = [
        vary_intensity(image, PUBLISHED_AUGMENT, np.random.default_rng(seed)).var()
        for seed in range(20)
    ]
    assert min(variances) == pytest.approx(0.01, rel=0.2)
    assert max(variances) == pytest.approx(0.04, rel=0.2)


def test_a_turn_moves_a_linear_slope_by_its_angle():
    """Linear interpolation is exact on a plane: its gradient must turn and its middle must stay."""
    x, y = np.meshgrid(np.arange(24.0), np.arange(24.0), indexing="ij")
    plane = np.repeat((2 * x - y + 3)[None, :, :, None], 2, axis=3).astype(np.float32)
    turned = turn(plane, 30.0, 16)[0, :, :, 1]
    a = np.deg2rad(30)
    slope = (2 * np.cos(a) - np.sin(a), -2 * np.sin(a) - np.cos(a))
    i, j = np.meshgrid(np.arange(16) - 7.5, np.arange(16) - 7.5, indexing="ij")
    np.testing.assert_allclose(turned, 11.5 + 3 + slope[0] * i + slope[1] * j, atol=1e-4)


def test_a_quarter_turn_is_that_of_numpy_and_no_turn_the_middle():
    stack = patch((24, 24, 4))[0]
    middle = stack[:, 4:20, 4:20]
    np.testing.assert_allclose(turn(stack, 0, 16), middle, atol=1e-6)
    np.testing.assert_allclose(turn(stack, 90, 16), np.rot90(middle, -1, (1, 2)), atol=1e-5)
