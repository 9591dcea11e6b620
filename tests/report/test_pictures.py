"""What the pictures show, read back from the PNG."""

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from microbleeds.report import pictures
from microbleeds.report.pictures import draw_detections
from microbleeds.scan import Scan
from microbleeds.steps import Candidate

AFFINE = np.diag([1.0, 1.0, 3.0, 1.0])
AFFINE[:3, 3] = -40, -40, -30
BRAIN = np.zeros((80, 80, 20), bool)
BRAIN[10:70, 10:70, 3:17] = True


@pytest.fixture
def scan() -> Scan:
    """The patient's right half bright, the left half dark, a black dot on the right."""
    voxels = np.where(np.arange(80)[:, None, None] >= 40, 200, 100) * np.ones((80, 80, 20))
    voxels[60, 40, 10] = 0
    voxels += np.random.default_rng(0).normal(0, 1, voxels.shape)
    return Scan(voxels.astype(np.float32), AFFINE, "t2star", "head")


def detections(number: int) -> list[Candidate]:
    return [Candidate(n + 1, (20, 0, 0), 8.0, 2.5, 0.1, 9, 0.9) for n in range(number)]


def drawn(scan, brain, found, path) -> np.ndarray:
    draw_detections(scan, brain, found, path)
    return np.asarray(Image.open(path), float) / 255


def test_the_patients_right_is_on_the_left(scan, tmp_path):
    picture = drawn(scan, BRAIN, [], tmp_path / "p.png").mean(axis=2)
    height, width = picture.shape
    row = picture[height // 2]
    assert row[width // 2 - 100] > 0.8 and row[width // 2 + 100] < 0.3


def test_the_order_of_the_files_axes_does_not_matter(scan, tmp_path):
    order, flip = [2, 0, 1], np.diag([1.0, -1, 1, 1])
    flip[1, 3] = 79
    affine = (AFFINE @ flip)[:, [*order, 3]]
    turned = replace(scan, voxels=scan.voxels[:, ::-1].transpose(order), affine=affine)
    brain = BRAIN[:, ::-1].transpose(order)
    one = drawn(scan, BRAIN, detections(2), tmp_path / "1.png")
    other = drawn(turned, brain, detections(2), tmp_path / "2.png")
    np.testing.assert_allclose(one, other, atol=0.02)


def test_taller_with_every_row_of_close_ups_up_to_the_most_shown(scan, tmp_path, monkeypatch):
    monkeypatch.setattr(pictures, "_COLUMNS", 1)
    monkeypatch.setattr(pictures, "_CLOSE_UPS", 2)
    heights = [len(drawn(scan, BRAIN, detections(n), tmp_path / f"{n}.png")) for n in (0, 1, 2, 3)]
    assert heights[0] < heights[1] < heights[2] == heights[3]
    assert len(list(tmp_path.iterdir())) == 4  # no temporary file left


def test_qsm_shows_the_brightest_value(scan, tmp_path):
    voxels = np.zeros_like(scan.voxels)
    voxels[38:42, 38:42, 10] = 1.0
    qsm = replace(scan, voxels=voxels, contrast="qsm")
    assert drawn(qsm, BRAIN, [], tmp_path / "q.png")[200:-200].max() == 1.0
    dark = replace(qsm, contrast="t2star")
    assert drawn(dark, BRAIN, [], tmp_path / "t.png")[200:-200, 300:].max() < 0.1


@pytest.mark.parametrize("name", ["a$x_{$b", "M\udcfcller"])
def test_every_name_of_a_file_can_stand_above(scan, tmp_path, name):
    assert drawn(replace(scan, name=name), BRAIN, [], tmp_path / "p.png").size


def test_without_brain_and_outside_the_scan(scan, tmp_path):
    outside = [replace(detections(1)[0], xyz_mm=(20, 0, 500))]
    assert drawn(scan, np.zeros_like(BRAIN), outside, tmp_path / "p.png").size
