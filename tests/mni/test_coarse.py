"""Heads on the coarse grid."""

import numpy as np
import pytest

from microbleeds.mni.coarse import WORK_MM, coarse_scan
from microbleeds.scan import Scan
from microbleeds.simulate.deform import rotation


def test_shading_goes_and_tissue_contrast_stays():
    shape = (96, 96, 30)
    x, y, z = np.indices(shape)
    brain = ((x - 48) / 42) ** 2 + ((y - 48) / 42) ** 2 + ((z - 15) / 13) ** 2 < 1
    core = ((x - 48) / 14) ** 2 + ((y - 48) / 14) ** 2 + ((z - 15) / 5) ** 2 < 1
    voxels = (np.where(core, 60.0, 100.0) * (0.4 + 1.2 * x / 96) + 500 * ~brain).astype(np.float32)
    affine = np.diag([2.0, 2.0, 6.0, 1.0])
    affine[:3, :3] = rotation(np.deg2rad([20.0, 0, 0])) @ affine[:3, :3]
    head = coarse_scan(Scan(voxels, affine, "t2star"), brain)
    assert np.diag(head.affine)[:3] == pytest.approx([WORK_MM] * 3)
    assert head.brain.sum() * WORK_MM**3 == pytest.approx(brain.sum() * 24.0, rel=0.03)
    assert (head.image[head.brain < 0.2] == 0).all()
    middle = affine[:3, :3] @ [48, 48, 15]

    def value(offset):
        voxel = np.rint((middle + offset - head.affine[:3, 3]) / WORK_MM).astype(int)
        return head.image[tuple(voxel)]

    left, right = value([-45.0, 0, 0]), value([45.0, 0, 0])
    assert value([0, 0, 0]) < 0.8 * left
    assert left == pytest.approx(right, rel=0.25)  # 0.4 to 1.6 times before


def test_no_brain_is_a_head_of_nothing():
    voxels = np.ones((20, 20, 20), np.float32)
    head = coarse_scan(Scan(voxels, np.diag([4.0, 4, 4, 1]), "t2star"), voxels > 1)
    assert not head.brain.any() and not head.image.any()
