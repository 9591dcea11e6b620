from dataclasses import replace

import numpy as np
import pytest
from scipy import ndimage
from scipy.spatial.transform import Rotation

from microbleeds.simulate import anatomy as an
from microbleeds.simulate.deform import AnatomyRanges, deform, rotation, stretch

STILL = {"scale": 0.0, "rotation_deg": 0.0, "elastic_mm": 0.0, "ventricle_growth": 0.0,
         "atrophy": 0.0, "folia": 0.0}  # fmt: skip
SHAPE = (60, 60, 60)


def another(head, seed=0, **ranges):
    return deform(head, SHAPE, AnatomyRanges(**{**STILL, **ranges}), np.random.default_rng(seed))


def volume(labels, numbers):
    return an.select(labels, numbers).sum()


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_stretch_is_linear_interpolation(axis):
    rng = np.random.default_rng(0)
    array = rng.normal(size=(7, 5, 6)).astype(np.float32)
    positions = np.sort(rng.uniform(-2, 9, 23)).astype(np.float32)  # some beyond both ends
    found = stretch(array, positions, axis)
    line = np.arange(array.shape[axis])
    expected = np.apply_along_axis(lambda v: np.interp(positions, line, v), axis, array)
    assert found.dtype == np.float32 and found == pytest.approx(expected, abs=1e-5)
    places = np.meshgrid(*(positions if a == axis else np.arange(n)
                           for a, n in enumerate(array.shape)), indexing="ij")  # fmt: skip
    scipys = ndimage.map_coordinates(array, places, order=1, mode="nearest")
    assert found == pytest.approx(scipys, abs=1e-5)


def test_stretch_of_a_single_sample_repeats_it_and_leaves_the_input_alone():
    array = np.full((1, 2), 3.0, np.float32)
    assert np.array_equal(stretch(array, np.array([0, 0.5, 4], np.float32), 0), np.full((3, 2), 3))
    ramp = np.arange(4, dtype=np.float32)
    stretch(ramp, np.array([0.5, 1.5], np.float32), 0)
    assert np.array_equal(ramp, np.arange(4))


def test_rotation_agrees_with_scipy():
    angles = np.array([0.3, -0.7, 1.1])
    assert rotation(angles) == pytest.approx(Rotation.from_euler("XYZ", angles).as_matrix())


def test_thin_bone_that_breaks_when_a_head_is_bent_leaves_no_dots(small_head):
    labels = small_head.labels.copy()
    labels[30, 30, 3:30] = an.SKULL
    for seed in range(3):
        spur = replace(small_head, labels=labels)
        bent = another(spur, seed, rotation_deg=12.0, elastic_mm=2.5, elastic_smoothness_mm=24.0)
        parts, count = ndimage.label(an.select(bent, (0, an.SKULL, an.MARROW)))
        assert count and np.bincount(parts.ravel())[1:].min() > an.ISLAND_MM3


def test_without_deformation_a_head_is_itself_or_its_mirror_image(small_head):
    sides = set()
    for seed in range(6):
        labels = another(small_head, seed)
        left, right = (np.argwhere(labels == n).mean(0) for n in an.WHITE)
        sides.add(left[0] < right[0])
        for number in (*an.CORTEX, *an.VENTRICLES[:1], an.DENTATE, 515):
            same = (small_head.labels == number).sum()
            assert (labels == number).sum() == pytest.approx(same, rel=0.02)
    assert sides == {True, False}


def test_deformed_labels_are_labels_of_the_head_centred_on_its_brain(small_head):
    ranges = AnatomyRanges()
    for seed in range(3):
        labels = deform(small_head, (64, 60, 66), ranges, np.random.default_rng(seed))
        assert labels.shape == (64, 60, 66) and labels.dtype == small_head.labels.dtype
        assert set(np.unique(labels)) <= set(np.unique(small_head.labels))
        brain = np.argwhere(an.select(labels, an.TISSUE)).mean(0)
        assert np.abs(brain - (np.array(labels.shape) - 1) / 2).max() < 5


def test_size_stays_within_the_scale_range_and_uses_it(small_head):
    whole = volume(small_head.labels, an.TISSUE)
    ratios = [
        volume(another(small_head, s, scale=0.08, rotation_deg=12), an.TISSUE) / whole
        for s in range(8)
    ]
    assert 0.92**3 - 0.02 < min(ratios) < 0.97 < 1.03 < max(ratios) < 1.08**3 + 0.02


def test_ventricles_grow_within_their_range(small_head):
    before = volume(small_head.labels, an.LATERAL_VENTRICLES)
    for seed in range(4):
        after = volume(another(small_head, seed, ventricle_growth=0.3), an.LATERAL_VENTRICLES)
        # lengths grow by no more than 1 / (1 - 0.3), shrink by no more than 1 / (1 + 0.09)
        assert 1.09**-3 - 0.1 < after / before < 0.7**-3 + 0.1


def test_atrophy_turns_thin_cortex_into_fluid_and_nothing_else():
    labels = np.full(SHAPE, an.CSF[0], np.int16)
    labels[20:40, 20:40, 20:40] = an.WHITE[0]
    labels[10, 10:50, 10:50] = labels[50, 10:50, 10:50] = an.CORTEX[0]  # wet on both sides
    head = an.Anatomy(labels, "plates")
    whole, shrunk = (another(head, 2, atrophy=a) for a in (0, 0.9))
    changed = whole != shrunk
    assert changed.sum() > 1000
    assert set(np.unique(whole[changed])) <= set(an.CORTEX)
    assert set(np.unique(shrunk[changed])) == set(an.CSF)


def test_folia_are_sheets_of_fluid_in_the_cerebellar_cortex_only():
    labels = np.full(SHAPE, an.WHITE[0], np.int16)
    labels[10:50, 10:50, 10:50] = an.CEREBELLUM_CORTEX[0]
    head = an.Anatomy(labels, "block")
    shares = []
    for seed in range(6):
        cut = another(head, seed, folia=0.3) == an.CSF[0]
        block = another(head, seed) == an.CEREBELLUM_CORTEX[0]
        assert not (cut & ~block).any()
        shares.append(cut.sum() / block.sum())
        middle = cut[25:35, 15:45, 15:45]
        assert np.abs(np.diff(middle.astype(int), axis=2)).mean() >= 0.5 * middle.mean()  # thin
    assert min(shares) < 0.1 < 0.15 < max(shares) < 0.33


def test_the_seed_decides(small_head):
    first, again, other = (
        deform(small_head, SHAPE, AnatomyRanges(), np.random.default_rng(s)) for s in (1, 1, 2)
    )
    assert np.array_equal(first, again) and (first != other).mean() > 0.02
