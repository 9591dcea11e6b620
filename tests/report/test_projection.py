"""The brain seen through: what is dark stays dark, numbers stand at their microbleeds."""

import re
from dataclasses import replace

import numpy as np
import pytest

from microbleeds.report.projection import levelled, projections
from microbleeds.report.view import turned_to_ras

from .conftest import ROWS
from .test_svg import pixels


def test_every_microbleed_has_its_number_and_link_in_each_plane(head, brain):
    drawn = projections(turned_to_ras(head, brain), ROWS[:2], False)
    for width, svg in drawn:
        assert re.findall(r'href="#bleed-(\d)"', svg) == ["1", "2"]
        assert f'viewBox="0 0 {width:.2f}' in svg
    (x1, y1), (x2, y2) = re.findall(r'<circle cx="([\d.]+)" cy="([\d.]+)"', drawn[0][1])
    assert float(x1) < float(x2) and float(y1) < float(y2)  # right and front is left and top


def test_rings_lie_on_what_is_dark(head, brain):
    for _, svg in projections(turned_to_ras(head, brain), ROWS[:2], False):
        frame = r'<image x="([-\d.]+)" y="([-\d.]+)" width="([\d.]+)" height="([\d.]+)"'
        left, top, width, height = map(float, re.search(frame, svg).groups())
        grey = pixels(svg)
        rows, columns = grey.shape
        for x, y in re.findall(r'<circle cx="([\d.]+)" cy="([\d.]+)"', svg):
            row, column = (
                int((float(y) - top) / height * rows),
                int((float(x) - left) / width * columns),
            )
            assert grey[row, column] < 120
        assert np.median(grey) > 240


def test_shading_and_the_skull_base_are_levelled_away(head, brain):
    shading = np.linspace(0.5, 2, head.voxels.shape[1], dtype=np.float32)[:, None]
    shaded = replace(head, voxels=head.voxels * shading)
    plain, levelled_off = (levelled(turned_to_ras(s, brain), False)[0] for s in (head, shaded))
    for iron in (plain, levelled_off):
        darkest = np.array(np.unravel_index(iron.argmax(), iron.shape))
        place = turned_to_ras(head, brain).place(ROWS[0].xyz_mm)
        other = turned_to_ras(head, brain).place(ROWS[1].xyz_mm)
        assert min(np.abs(darkest - place).max(), np.abs(darkest - other).max()) <= 2
    assert np.count_nonzero(levelled_off > 0.5) == pytest.approx(
        np.count_nonzero(plain > 0.5), abs=12
    )


def test_qsm_shows_the_brightest(head, brain):
    qsm = replace(head, voxels=-head.voxels, contrast="qsm")
    iron = levelled(turned_to_ras(qsm, brain), True)[0]
    i, j, k = np.rint(turned_to_ras(qsm, brain).place(ROWS[0].xyz_mm)).astype(int)
    assert iron[i, j, k] > 80 and np.median(iron[iron > 0]) < 15


def test_voxels_smaller_than_a_millimetre_lose_no_bleed():
    from microbleeds.scan import Scan

    voxels = np.full((80, 80, 80), 100, np.float32)
    voxels[41, 41, 41] = 0
    view = turned_to_ras(
        Scan(voxels, np.diag([0.4, 0.4, 0.4, 1]), "t2star"), np.ones_like(voxels, bool)
    )
    iron, _, spacing = levelled(view, False)
    assert spacing == pytest.approx([0.8] * 3) and iron[20, 20, 20] == pytest.approx(1, abs=0.02)


def test_without_microbleeds_and_without_brain(head, brain):
    assert "<circle" not in projections(turned_to_ras(head, brain), (), False)[0][1]
    empty = turned_to_ras(head, np.zeros_like(brain))
    assert len(projections(empty, ROWS[:1], False)) == 3
