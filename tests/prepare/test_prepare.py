from __future__ import annotations

from dataclasses import replace
from itertools import permutations

import numpy as np
import pytest
from numpy.testing import assert_allclose

from microbleeds.errors import UserError
from microbleeds.prepare.prepare import prepare
from microbleeds.scan import Scan
from microbleeds.settings import PrepareSettings

BLEED_MM = (9.0, -6.0, 3.0)  # see conftest.head_at
SETTINGS = PrepareSettings()


def stored(scan: Scan, brain: np.ndarray, order, flips):
    """The same object as another scanner would write it."""
    matrix = np.eye(4)[:, [*order, 3]]
    voxels, mask = scan.voxels.transpose(order), brain.transpose(order)
    for axis in flips:
        flip = np.eye(4)
        flip[axis, axis], flip[axis, 3] = -1, voxels.shape[axis] - 1
        matrix, voxels, mask = matrix @ flip, np.flip(voxels, axis), np.flip(mask, axis)
    return replace(scan, voxels=voxels, affine=scan.affine @ matrix), mask


def at(prepared, point):
    index = np.linalg.solve(prepared.grid.affine, [*point, 1.0])[:3]
    return tuple(np.round(index).astype(int))


@pytest.fixture(scope="module")
def expected(head):
    return prepare(*head, SETTINGS)


def test_image_symmetry_and_vessels_at_a_known_bleed_and_vein(expected):
    prepared = expected
    for array in (prepared.image, prepared.symmetry, prepared.vessels):
        assert array.dtype == np.float32 and array.shape == prepared.grid.shape
        assert array.min() >= 0 and array.max() <= 1
        assert not array[~prepared.brain].any()
    bleed, vein, tissue = (at(prepared, p) for p in (BLEED_MM, (-9, 5, 3), (9, 10, 3)))
    assert prepared.image[bleed] > 0.65 and prepared.image[vein] > 0.6
    assert_allclose(prepared.image[tissue], 0.5, atol=0.06)
    around = tuple(slice(i - 2, i + 3) for i in bleed[:2])
    z = bleed[2]
    assert prepared.symmetry[(*around, z)].max() == prepared.symmetry[4:-4, 4:-4, z].max() > 0.5
    assert prepared.vessels[vein] > 0.7 > 0.2 > prepared.vessels[(*around, z)].max()


@pytest.mark.parametrize("order", list(permutations(range(3))))
@pytest.mark.parametrize("flips", [(0,), (1, 2)])
def test_storage_order_does_not_matter(head, expected, order, flips):
    got = prepare(*stored(*head, order, flips), SETTINGS)
    assert_allclose(got.grid.affine, expected.grid.affine, atol=1e-6)
    assert (got.brain != expected.brain).mean() < 1e-4
    for name in ("image", "symmetry", "vessels"):
        difference = np.abs(getattr(got, name) - getattr(expected, name))
        assert np.quantile(difference, 0.999) < 0.02, name


def test_qsm_needs_no_inversion_and_no_bias_correction(head):
    scan, brain = head
    chi = np.where(brain, (150 - scan.voxels) / 1000, 0) + 0.05
    prepared = prepare(
        replace(scan, voxels=chi.astype(np.float32), contrast="qsm"), brain, SETTINGS
    )
    assert prepared.image[at(prepared, BLEED_MM)] > 0.4 > prepared.image[at(prepared, (9, 10, 3))]


def test_too_wide_a_mask_on_a_stripped_scan_makes_no_rim(head):
    scan, brain = head
    voxels = np.where(brain, scan.voxels, 0)
    i, j, k = at_voxel = np.round(np.linalg.solve(scan.affine, [9, 10, 3, 1.0])[:3]).astype(int)
    voxels[i - 1 : i + 2, j - 1 : j + 2, k] = 0  # a void inside stays brain
    wide = np.ones_like(brain)
    prepared = prepare(replace(scan, voxels=voxels), wide, SETTINGS)
    tight = prepare(replace(scan, voxels=voxels), brain | (voxels > 0), SETTINGS)
    assert prepared.brain.sum() < 1.2 * tight.brain.sum()
    void = at(prepared, scan.affine[:3, :3] @ at_voxel + scan.affine[:3, 3])
    assert prepared.brain[void] and prepared.image[void] > 0.95


def test_painting_and_radii_in_voxels_are_obeyed(head, expected):
    plain = expected
    painted = prepare(*head, replace(SETTINGS, paint_vessels=True))
    vein, bleed = (at(plain, p) for p in ((-9, 5, 3), BLEED_MM))
    assert painted.image[vein] < plain.image[vein] - 0.05
    assert painted.image[bleed] == plain.image[bleed]
    voxels = prepare(*head, replace(SETTINGS, symmetry_radii_voxels=(2.0, 3.0, 4.0, 6.0)))
    assert_allclose(voxels.symmetry, plain.symmetry, atol=1e-6)  # the same at 0.5 mm


def test_empty_mask(head):
    with pytest.raises(UserError, match="empty"):
        prepare(head[0], np.zeros_like(head[1]), SETTINGS)
