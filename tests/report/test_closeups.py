"""Close-ups show the microbleed in the middle, in true proportion."""

import re
from dataclasses import replace

import numpy as np
import pytest

from microbleeds.report.box import box_around
from microbleeds.report.closeups import close_ups, slice_with_ring
from microbleeds.report.view import turned_to_ras

from .conftest import KEPT, ROWS
from .test_svg import pixels


@pytest.fixture(scope="module")
def view(head, brain):
    return turned_to_ras(head, brain)


@pytest.mark.parametrize("row", ROWS[:2])
def test_the_microbleed_is_dark_in_the_middle_of_each(view, row):
    for svg in close_ups(view, row, "microbleed"):
        assert 'viewBox="0 0 30.00 30.00"' in svg and '<path class="bar" d="M1.5 28.5h10"' in svg
        grey = pixels(svg)
        middle, around = grey[58:62, 58:62].mean(), grey[25:35, 55:65].mean()
        assert middle < 40 < 100 < around


def test_all_three_planes_have_their_letters(view):
    letters = [re.findall(r">(\w)</text>", svg) for svg in close_ups(view, KEPT, "microbleed")]
    assert letters == [list("RLAP"), list("RLSI"), list("APSI")]


def test_the_patients_right_is_on_the_left(view):
    axial, coronal, _ = close_ups(view, replace(KEPT, xyz_mm=(0.0, 5.0, 10.0)), "candidate")
    for svg in (axial, coronal):
        grey = pixels(svg)
        assert grey[:, 20:40].mean() > grey[:, 80:100].mean() + 20


def test_a_ring_in_the_whole_slice(view):
    box = box_around(view.outline(view.plane), view.spacing[:2])
    svg = slice_with_ring(view, KEPT, box, "microbleed 1")
    x, y = map(float, re.search(r'class="ring" cx="([\d.]+)" cy="([\d.]+)"', svg).groups())
    assert x < box.width / 2 and y < box.height / 2  # right and front: left and top
    scale = pixels(svg).shape[1] / box.width
    grey = pixels(svg)
    dark = grey[int(y * scale) - 1 : int(y * scale) + 2, int(x * scale) - 1 : int(x * scale) + 2]
    assert dark.mean() < 40
    assert "axial slice" in svg


def test_outside_the_scan(view):
    far = replace(KEPT, xyz_mm=(0.0, 0.0, 900.0))
    assert len(close_ups(view, far, "candidate")) == 3
    assert np.isfinite(pixels(close_ups(view, far, "candidate")[1])).all()
