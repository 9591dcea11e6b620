"""Pictures in mm: read back from the SVG."""

import base64
import io
import re

import numpy as np
import pytest
from PIL import Image

from microbleeds.report.box import Box
from microbleeds.report.svg import drawing, edge_letters, grey_image, outlines, slice_image, text
from microbleeds.report.view import AXIAL, CORONAL, PLANES, SAGITTAL, turned_to_ras
from microbleeds.scan import Scan


def pixels(svg: str) -> np.ndarray:
    """The grey values of the first image in an SVG."""
    data = re.search(r"data:image/jpeg;base64,([^\"]+)", svg)[1]
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(data))), float)


@pytest.fixture(scope="module")
def ball():
    """A bright ball of 10 mm radius at (5, 10, 20) mm in voxels of 1 x 2 x 4 mm."""
    affine = np.diag([1.0, 2, 4, 1])
    affine[:3, 3] = -30, -30, -20
    x, y, z = (np.arange(n) * mm + start for n, mm, start in
               ((60, 1, -30), (40, 2, -30), (25, 4, -20)))  # fmt: skip
    distance = np.sqrt(
        (x[:, None, None] - 5) ** 2 + (y[None, :, None] - 10) ** 2 + (z[None, None] - 20) ** 2
    )
    voxels = np.clip(10.5 - distance, 0, 1).astype(np.float32)
    return turned_to_ras(Scan(voxels, affine, "t2star"), voxels > 0)


@pytest.mark.parametrize("plane", PLANES)
def test_a_ball_is_round_in_every_plane(ball, plane):
    left, top = ((5 + 30.5), (10 + 31), (20 + 22))[plane.across[0]], (35.5, 41, 42)[plane.across[1]]
    box = Box(left + 15, top + 15, 30, 30)
    grey = pixels(slice_image(ball, plane, ball.level(plane, (5, 10, 20)), box, 0.25)) > 127
    assert grey.shape == (120, 120)
    width, height = (np.flatnonzero(grey.any(axis=axis)) for axis in (0, 1))
    for side in (width, height):  # 20 mm, to the scan's largest voxel, and in the middle
        assert len(side) / 4 == pytest.approx(20, abs=2.1)
        assert (side.mean() + 0.5) / 4 == pytest.approx(15, abs=0.6)


def test_outside_the_scan_is_black(ball):
    box = Box(-100, -100, 10, 10)
    assert pixels(slice_image(ball, AXIAL, 0, box, 1.0)).max() == 0


def test_rows_begin_at_the_top_left_and_the_window_is_kept():
    values = np.array([[0, 50], [100, 400]], np.float32).repeat(16, 0).repeat(16, 1)
    grey = pixels(grey_image(values, (0, 200), Box(0, 0, 2, 2)))
    corners = grey[4, 4], grey[4, -5], grey[-5, 4], grey[-5, -5]
    assert corners == pytest.approx((0, 64, 127, 255), abs=4)
    assert pixels(grey_image(values, (3, 3), Box(0, 0, 2, 2))).max() == 255  # no division by 0


def test_an_outline_runs_along_the_outer_edges_of_the_voxels():
    mask = np.zeros((10, 10), bool)
    mask[2:6, 3:5] = True  # 4 voxels of 2 mm along the left axis, 2 of 5 mm along the top axis
    path = outlines(mask, np.array([2.0, 5.0]), Box(20, 50, 20, 50), "mask")
    points = np.array(re.findall(r"[ML]([\d.]+) ([\d.]+)", path), float)
    assert points.min(axis=0) == pytest.approx([20 - 12, 50 - 25], abs=0.11)
    assert points.max(axis=0) == pytest.approx([20 - 4, 50 - 15], abs=0.11)


@pytest.mark.parametrize(
    ("plane", "letters"), [(AXIAL, "RLAP"), (CORONAL, "RLSI"), (SAGITTAL, "APSI")]
)
def test_letters_at_left_right_top_bottom(plane, letters):
    places = re.findall(
        r'x="([\d.]+)" y="([\d.]+)".*?>(\w)<', edge_letters(plane, Box(0, 0, 30, 30), 2)
    )
    places = {letter: (float(x), float(y)) for x, y, letter in places}
    left, right, top, bottom = (places[letter] for letter in letters)
    assert left[0] < 3 < 27 < right[0] and top[1] < 4 < 26 < bottom[1]


def test_labels_are_escaped():
    assert "<b>" not in drawing(Box(0, 0, 1, 1), '<b>"', [text("<b>", 0, 0, 1)])
