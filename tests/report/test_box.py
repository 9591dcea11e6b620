"""Parts of planes in mm, against values that can be said beforehand."""

import numpy as np
import pytest

from microbleeds.report.box import Box, box_around, plane_in_box, shades

SPACING = np.array([2.0, 5.0])


def test_the_box_around_a_mask_has_a_margin():
    mask = np.zeros((10, 10), bool)
    mask[2:6, 3:5] = True
    box = box_around(mask, np.array([2.0, 5.0]))
    assert (box.left, box.top, box.width, box.height) == (12 + 8, 25 + 8, 8 + 16, 10 + 16)
    empty = box_around(np.zeros((10, 10), bool), np.array([2.0, 5.0]))
    assert (empty.width, empty.height) == (20 + 16, 50 + 16)


def test_a_ramp_is_read_where_it_is():
    left, top = np.meshgrid((np.arange(20) + 0.5) * 2, (np.arange(10) + 0.5) * 5, indexing="ij")
    box = Box(30, 40, 10, 20)  # from 20 to 30 mm along the left axis, 20 to 40 along the top one
    seen = plane_in_box((left + 100 * top).astype(np.float32), SPACING, box, 1.0, 0)
    assert seen.shape == (20, 10)
    assert seen[0, 0] == pytest.approx(29.5 + 100 * 39.5, rel=1e-5)
    assert seen[-1, -1] == pytest.approx(20.5 + 100 * 20.5, rel=1e-5)


def test_what_stands_outside_is_what_was_asked_for():
    seen = plane_in_box(np.ones((4, 4), np.float32), SPACING, Box(-100, -100, 6, 6), 1.0, 7)
    assert (seen == 7).all()


def test_shades_stop_at_black_and_white():
    values = np.array([-1, 0, 50, 100, 400], np.float32)
    assert shades(values, (0, 100)).tolist() == [0, 0, 127, 255, 255]
    assert shades(values, (3, 3)).max() == 255  # no division by 0
