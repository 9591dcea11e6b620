"""The outline of the brain mask on slices through it."""

import re

import numpy as np
import pytest

from microbleeds.report.box import box_around
from microbleeds.report.montage import mask_montage
from microbleeds.report.view import turned_to_ras
from microbleeds.scan import Scan


def montage(head, brain):
    view = turned_to_ras(head, brain)
    return view, mask_montage(view, box_around(view.outline(view.plane), view.spacing[:2]))


def test_first_to_last_slice_with_brain(head, brain):
    _, pictures = montage(head, brain)
    levels = np.flatnonzero(brain.any(axis=(0, 1)))
    numbers = [number for _, number in pictures]
    assert numbers == levels.tolist()


def test_at_most_twenty_slices_evenly_apart():
    voxels = np.ones((20, 20, 300), np.float32)
    scan = Scan(voxels, np.diag([1.0, 1, 1, 1]), "t2star")
    numbers = [number for _, number in montage(scan, voxels > 0)[1]]
    assert len(numbers) == 20 and numbers[0] == 0 and numbers[-1] == 299
    assert set(np.diff(numbers).tolist()) <= {15, 16}


def test_the_outline_encloses_the_mask_of_its_slice(head, brain):
    _, pictures = montage(head, brain)
    for svg, number in pictures:
        path = re.search(r'class="mask" d="([^"]+)"', svg)[1]
        outline = np.array(re.findall(r"[ML]([\d.]+) ([\d.]+)", path), float)
        area = 0.5 * abs(
            np.dot(outline[:, 0], np.roll(outline[:, 1], 1))
            - np.dot(outline[:, 1], np.roll(outline[:, 0], 1))
        )
        assert area == pytest.approx(brain[..., number].sum() * 4, rel=0.08, abs=20)


def test_without_brain(head, brain):
    assert montage(head, np.zeros_like(brain))[1] == []
