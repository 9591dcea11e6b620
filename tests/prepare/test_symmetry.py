from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy import ndimage

from microbleeds.prepare.symmetry import HALF, radial_symmetry


def plain(image, brain, spacing, radii_mm, alpha):
    """The transform of the paper pixel by pixel, bright symmetry only."""
    width, height, slices = image.shape
    dx, dy = spacing[:2]
    pixel = np.sqrt(dx * dy)
    total = np.zeros(image.shape)
    for radius in radii_mm:
        k = 8.0 if radius / pixel < 1.5 else 9.9
        for z in range(slices):
            votes, weight = np.zeros((width, height)), np.zeros((width, height))
            for x in range(1, width - 1):
                for y in range(1, height - 1):
                    cross = [(x, y), (x - 1, y), (x + 1, y), (x, y - 1), (x, y + 1)]
                    if not all(brain[a, b, z] for a, b in cross):
                        continue
                    gx = (image[x + 1, y, z] - image[x - 1, y, z]) / (2 * dx)
                    gy = (image[x, y + 1, z] - image[x, y - 1, z]) / (2 * dy)
                    size = np.hypot(gx, gy)
                    if size == 0:
                        continue
                    a = x + round(gx / size * radius / dx)
                    b = y + round(gy / size * radius / dy)
                    if 0 <= a < width and 0 <= b < height:
                        votes[a, b] += 1
                        weight[a, b] += size * pixel
            strength = weight / k * (np.minimum(votes, k) / k) ** alpha
            n = radius / pixel
            total[:, :, z] += n * ndimage.gaussian_filter(strength, 0.25 * n, mode="constant")
    mean = total / len(radii_mm)
    return np.where(brain, mean / (mean + HALF), 0)


def disc(radius, spacing, contrast=0.3, extent=24.0, edge=0.5):
    x, y = ((np.arange(int(extent / s)) - int(extent / s) // 2) * s for s in spacing[:2])
    distance = np.hypot(x[:, None], y[None])
    inside = np.clip((radius - distance) / edge + 0.5, 0, 1)
    return (0.5 + contrast * inside).astype(np.float32)[:, :, None]


def transform(image, spacing, radii=(1.0, 1.5, 2.0, 3.0), brain=None):
    brain = np.ones(image.shape, bool) if brain is None else brain
    return radial_symmetry(image, brain, np.asarray(spacing), radii, 2.0)


@pytest.mark.parametrize("spacing", [(0.5, 0.5, 2.0), (0.4, 0.7, 3.0)])
@pytest.mark.parametrize("alpha", [1.0, 2.0])
def test_against_the_pixel_by_pixel_transform(spacing, alpha):
    noise = np.random.default_rng(3).random((26, 31, 3))
    image = ndimage.gaussian_filter(noise, (1, 1, 0)).astype(np.float32)
    brain = np.zeros(image.shape, bool)
    brain[6:-6, 6:-6] = True
    brain[6:9, 6:9, 1] = False
    spacing = np.array(spacing)
    got = radial_symmetry(image, brain, spacing, (1.0, 2.0), alpha)
    expected = plain(image.astype(float), brain, spacing, (1.0, 2.0), alpha)
    different = np.abs(got - expected) > 1e-4
    assert expected.max() > 0.2
    assert different.mean() < 0.01  # a rounding tie in float32 may move one vote


@pytest.mark.parametrize("spacing", [(0.5, 0.5, 2.0), (0.25, 0.25, 2.0), (0.6, 0.4, 2.0)])
@pytest.mark.parametrize("radius", [1.5, 2.0, 3.0])
def test_a_disc_peaks_at_its_centre_and_at_its_radius(spacing, radius):
    image = disc(radius, spacing)
    maps = {r: transform(image, spacing, (r,)) for r in (1.0, 1.5, 2.0, 3.0)}
    assert max(maps, key=lambda r: maps[r].max()) == radius
    peak = np.unravel_index(maps[radius].argmax(), image.shape)
    middle = np.array(image.shape[:2]) // 2
    assert np.abs((np.array(peak[:2]) - middle) * spacing[:2]).max() <= 0.6
    assert maps[radius].max() > 0.8


def test_spacing_matters_little():
    peaks = [transform(disc(2.0, (s, s)), (s, s, 2.0)).max() for s in (0.25, 0.35, 0.5, 0.7)]
    assert max(peaks) - min(peaks) < 0.15


def test_a_dark_disc_gives_nothing_at_its_centre():
    image = disc(2.0, (0.5, 0.5), contrast=-0.3)
    middle = tuple(slice(n // 2 - 2, n // 2 + 3) for n in image.shape[:2])
    assert transform(image, (0.5, 0.5, 2.0))[middle].max() < 1e-3


def test_rim_of_the_mask_does_not_vote():
    x, y = np.indices((60, 60)) - 30
    brain = (np.hypot(x, y) < 6)[:, :, None]  # 3 mm: one of the radii
    image = np.where(brain, 0.5, 0).astype(np.float32)
    assert not transform(image, (0.5, 0.5, 2.0), brain=brain).any()


def test_slices_do_not_mix_and_an_outlier_changes_only_its_neighbourhood():
    image = np.concatenate([disc(2.0, (0.5, 0.5)), np.full((48, 48, 2), 0.5, np.float32)], axis=2)
    before = transform(image, (0.5, 0.5, 2.0))
    assert before[:, :, 0].max() > 0.4 and not before[:, :, 1:].any()
    image[24, 24, 2] = 1.0
    assert_allclose(transform(image, (0.5, 0.5, 2.0))[:, :, :2], before[:, :, :2], atol=1e-6)


def test_a_bleed_at_the_border_of_the_array_is_safe():
    image = disc(2.0, (0.5, 0.5))[24:]  # half a disc
    result = transform(image, (0.5, 0.5, 2.0))
    assert result.dtype == np.float32 and np.isfinite(result).all()
    assert result.min() >= 0 and result.max() < 1
