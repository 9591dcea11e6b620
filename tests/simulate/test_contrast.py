import numpy as np
import pytest
from scipy import ndimage

from microbleeds.simulate.contrast import _deform, random_head, smooth_noise, thick_slices
from microbleeds.simulate.heads import make_head

SHAPE = (32, 40, 32)


@pytest.fixture(scope="module")
def head(head_numbers):
    return make_head(head_numbers)


def draws(head, count):
    return [random_head(head, SHAPE, np.random.default_rng(seed)) for seed in range(count)]


def test_examples_are_what_the_network_is_given(head):
    volumes = []
    for image, mask in draws(head, 12):
        assert image.shape == mask.shape == SHAPE
        assert image.dtype == np.float32 and mask.dtype == bool
        assert image.min() >= 0 and image.max() <= 1 and np.isfinite(image).all()
        volumes.append(mask.mean())
    assert np.ptp(volumes) > 0.1  # sizes and crops differ
    assert np.median(volumes) > 0.1


def test_the_seed_decides_everything(head):
    (first, mask), (again, same) = (
        random_head(head, SHAPE, np.random.default_rng(3)) for _ in range(2)
    )
    assert np.array_equal(first, again) and np.array_equal(mask, same)
    other, _ = random_head(head, SHAPE, np.random.default_rng(4))
    assert not np.array_equal(first, other)


def test_some_heads_are_stripped_some_cut_and_some_neither(head):
    flat = []  # how much of what is near the brain has one and the same value
    for image, mask in draws(head, 40):
        near = ndimage.binary_dilation(mask, iterations=5) & ~ndimage.binary_dilation(mask)
        values, counts = np.unique(image[near], return_counts=True)
        flat.append(counts.max() / counts.sum() if len(values) else 0)
    assert 0.1 < np.mean(np.array(flat) > 0.8) < 0.6
    assert np.mean(np.array(flat) < 0.3) > 0.3


def test_contrasts_differ(head):
    """The rim of the brain (cortex) is brighter than its depth in some, darker in others."""
    brighter = []
    for image, mask in draws(head, 40):
        depth = ndimage.distance_transform_edt(mask)
        if (depth > 5).any():
            brighter.append(image[(depth > 1) & (depth <= 2)].mean() > image[depth > 5].mean())
    assert 0.2 < np.mean(brighter) < 0.8


def test_mask_moves_with_the_labels(head):
    """Deformed together, cortex and white matter stay inside the mask and skin outside."""
    kinds = np.array(head.tissues)
    for seed in range(4):
        picture = _deform(head, SHAPE, np.random.default_rng(seed))
        tissue = kinds[picture.labels]
        assert picture.mask[tissue == "grey"].all()
        for outer in ("bone", "soft", "air"):  # a little of the first two beside the stem
            assert picture.mask[tissue == outer].mean() < 0.03


def test_smooth_noise_is_standard_normal_and_smooth():
    rng = np.random.default_rng(0)
    fields = np.array([smooth_noise((13, 9, 17), 5, rng) for _ in range(300)])
    corners = fields[:, [0, 0, -1], [0, -1, -1], [0, -1, 0]]  # knots lie on the corners
    assert abs(corners.mean()) < 0.1 and abs(corners.std() - 1) < 0.1
    assert np.diff(fields, axis=3).std() < 0.6 * fields.std()  # white noise: 1.4


def test_slices_average_and_thin_ones_change_nothing():
    rng = np.random.default_rng(1)
    image = rng.random((8, 9, 30)).astype(np.float32)
    assert np.allclose(thick_slices(image, 2, 1.0, 0.0), image)
    assert np.allclose(thick_slices(np.ones_like(image), 0, 2.7, 0.4), 1)
    step = np.zeros((4, 4, 40), np.float32)
    step[:, :, 20:] = 1
    seen = thick_slices(step, 2, 4.0, 0.5)
    edge = (seen[0, 0] > 0.01) & (seen[0, 0] < 0.99)
    assert 3 <= edge.sum() <= 9 and seen[0, 0, :14].max() == 0 and seen[0, 0, 27:].min() == 1
    assert np.array_equal(thick_slices(step, 0, 3.0, 0.2), step)
