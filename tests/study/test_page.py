"""The pair of pictures of a change: the same place of both visits."""

import io
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from microbleeds.scan import Scan
from microbleeds.steps import Candidate
from microbleeds.study.longitudinal import Change
from microbleeds.study.page import draw_pair, grey_windows, slice_plane

SHIFT_MM = 6.0  # of the follow-up against the baseline, towards the patient's right
SPOT = Candidate(1, (10.5, 0.5, 0.0), 8.0, 2.5, 0.1, 9, 0.9)


def visit(x_mm: float) -> SimpleNamespace:
    """A grey scan with a black spot of 2 mm at x, bright to the patient's left of it."""
    affine = np.diag([0.5, 0.5, 2.0, 1.0])
    affine[:3, 3] = -40, -40, -20
    x, y, z = (affine[i, i] * np.arange(n) + affine[i, 3] for i, n in enumerate((160, 160, 20)))
    voxels = np.where(x < x_mm - 5, 200.0, 100.0)[:, None, None] * np.ones((160, 160, 20))
    near = (abs(x - x_mm) < 1)[:, None, None] & (abs(y - 0.5) < 1)[:, None] & (abs(z) < 1)
    voxels[near] = voxels[:, :4] = 0  # an edge too, so that the window begins at 0
    scan = Scan(voxels.astype(np.float32), affine, "t2star")
    return SimpleNamespace(scan=scan, brain=np.ones(voxels.shape, bool))


@pytest.fixture(scope="module")
def found():
    """As a `Comparison`, of which the pictures need this."""
    matrix = np.eye(4)
    matrix[0, 3] = SHIFT_MM
    return SimpleNamespace(
        baseline=visit(10.5),
        follow_up=visit(10.5 + SHIFT_MM),
        registration=SimpleNamespace(matrix=matrix),
    )


def halves(found, change) -> tuple[np.ndarray, np.ndarray]:
    """The close-ups of baseline and follow-up, (240, 240, 3)."""
    png = draw_pair(found, change, slice_plane(found.baseline), grey_windows(found))
    sheet = np.asarray(Image.open(io.BytesIO(png)), int)
    height, width = sheet.shape[:2]
    gap = (width - 480) // 3
    top = height - gap - 240
    return tuple(sheet[top : top + 240, x : x + 240] for x in (gap, 2 * gap + 240))


def in_colour(picture: np.ndarray) -> int:
    return int((picture[..., 0] - picture[..., 2] > 150).sum())


def test_both_visits_show_the_place_in_the_middle(found):
    moved = replace(SPOT, xyz_mm=(10.5 + SHIFT_MM, 0.5, 0.0))
    changes = (
        Change(1, "persisting", SPOT, moved, 0.1),
        Change(1, "gone", SPOT, None),
        Change(1, "new", None, moved),
    )
    for change in changes:
        for picture in halves(found, change):
            assert picture[116:124, 116:124].max() < 20  # the spot
            assert picture[60:80, 100:140].mean() == pytest.approx(128, abs=30)
            assert picture[60:180, 205:225].mean() > 200  # the patient's left is on the right


def test_the_circle_is_dashed_where_nothing_was_found(found):
    first, second = halves(found, Change(1, "gone", SPOT, None))
    assert in_colour(second) < 0.8 * in_colour(first)
