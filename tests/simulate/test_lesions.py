import numpy as np
import pytest
from scipy import ndimage

from microbleeds.simulate import anatomy as an
from microbleeds.simulate.lesions import Bleed, LesionRanges, draw_bleed, place_bleeds, siderosis


def test_a_drawn_ellipsoid_has_its_volume() -> None:
    bleed = Bleed(np.array([[5.0, 5.2, 4.9]]), np.array([[1.5, 1.0, 2.0]]), 2.0)
    spacing = np.array([0.4, 0.4, 0.7])
    fraction = draw_bleed(bleed, np.zeros(3), spacing, (26, 26, 16))
    assert fraction.sum() * spacing.prod() == pytest.approx(4 / 3 * np.pi * 3.0, rel=0.03)
    centre = np.einsum("xyz,xyza->a", fraction, np.moveaxis(np.indices(fraction.shape), 0, -1))
    assert centre / fraction.sum() * spacing == pytest.approx(bleed.centre, abs=0.05)


def tissue_block() -> np.ndarray:
    labels = np.full((60, 60, 60), an.WHITE[0], np.int16)
    labels[:, :, :20] = an.CORTEX[0]
    labels[:10] = 0
    return labels


def test_bleeds_lie_in_tissue_apart_and_repeat_with_the_seed() -> None:
    labels = tissue_block()
    ranges = LesionRanges(count=(20, 20), cluster_chance=0.5)
    bleeds = place_bleeds(labels, ranges, np.random.default_rng(3))
    again = place_bleeds(labels, ranges, np.random.default_rng(3))
    assert len(bleeds) == 20
    assert all(np.array_equal(a.centres, b.centres) for a, b in zip(bleeds, again, strict=True))
    for i, one in enumerate(bleeds):
        assert labels[tuple(np.rint(one.centre).astype(int))] in an.TISSUE
        for other in bleeds[:i]:
            assert np.linalg.norm(one.centre - other.centre) > one.radii.max() + other.radii.max()


def test_no_tissue_no_bleeds() -> None:
    nothing = np.zeros((10, 10, 10), np.int16)
    assert place_bleeds(nothing, LesionRanges(count=(5, 5)), np.random.default_rng(0)) == ()


def test_count_range_is_kept() -> None:
    counts = {
        len(place_bleeds(tissue_block(), LesionRanges(count=(0, 3)), np.random.default_rng(s)))
        for s in range(30)
    }
    assert counts == {0, 1, 2, 3}


def test_siderosis_is_one_sheet_on_the_surface_of_the_cortex() -> None:
    """Not both banks of a sulcus 5 mm wide, nor the islands that stand in it."""
    labels = np.full((60, 60, 60), an.CORTEX[0], np.int16)
    labels[:, :, 28:33] = an.CSF[0]
    labels[::6, ::6, 30] = an.CORTEX[0]
    for seed in range(4):
        ppm = siderosis(labels, np.random.default_rng(seed))
        sheets, count = ndimage.label(ppm)  # by faces: what touches at a corner looks like dots
        assert count == 1 and (sheets > 0).sum() > 150 and 0.3 <= ppm.max() <= 1
        banks = [(ppm[:, :, z] > 0).any() for z in (27, 33)]
        assert sum(banks) == 1 and not ppm[:, :, 28:33].any()


def test_siderosis_needs_cortex_beside_fluid() -> None:
    labels = np.full((20, 20, 20), an.WHITE[0], np.int16)
    assert not siderosis(labels, np.random.default_rng(0)).any()
