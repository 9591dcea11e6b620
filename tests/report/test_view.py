"""Turning a scan so that every picture is made alike."""

from dataclasses import replace

import numpy as np
import pytest

from microbleeds.report.view import AXIAL, CORONAL, PLANES, SAGITTAL, turned_to_ras

from .conftest import RIGHT_FRONT, SHAPE


def test_axes_run_right_front_and_up(head, brain):
    view = turned_to_ras(head, brain)
    i, j, k = np.rint(view.place(RIGHT_FRONT)).astype(int)
    assert view.voxels[i, j, k] == 0
    assert view.voxels[60, 50, 10] == 120 and view.voxels[20, 50, 10] == 100
    assert view.spacing == pytest.approx([2, 2, 5]) and view.plane == AXIAL


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("flipped", [False, True])
def test_slices_keep_the_files_numbers(axis, flipped):
    spacing = np.ones(3)
    spacing[axis] = 4
    affine = np.diag([*spacing, 1])
    voxels = np.zeros((7, 8, 9), np.float32)
    np.moveaxis(voxels, axis, 0)[2] = 1
    if flipped:
        affine[axis, axis] *= -1
    from microbleeds.scan import Scan

    view = turned_to_ras(Scan(voxels, affine, "t2star"), voxels > 0)
    assert view.plane == (SAGITTAL, CORONAL, AXIAL)[axis]
    (level,) = np.flatnonzero(view.brain.any(axis=view.plane.across))
    assert view.own_level(int(level)) == 2


def test_levels_stay_within_the_scan(head, brain):
    view = turned_to_ras(head, brain)
    for far in (-1e4, 1e4):
        for plane in PLANES:
            level = view.level(plane, (far, far, far))
            assert level == (0 if far < 0 else (*SHAPE,)[plane.axis] - 1)


def test_the_order_of_the_files_axes_does_not_matter(head, brain):
    order = [2, 0, 1]
    turned = replace(head, voxels=head.voxels.transpose(order), affine=head.affine[:, [*order, 3]])
    one, other = turned_to_ras(head, brain), turned_to_ras(turned, brain.transpose(order))
    np.testing.assert_array_equal(one.voxels, other.voxels)
    np.testing.assert_allclose(one.affine, other.affine)
    assert one.plane == other.plane
