"""The student's probability, its mirror images, calibration and threshold."""

from dataclasses import replace

import numpy as np
import pytest
from nibabel.affines import apply_affine

from microbleeds.prepare.grid import Grid
from microbleeds.settings import Calibration, DiscriminateSettings
from microbleeds.steps import Candidate, Candidates
from microbleeds.steps.discriminate import (
    HOPELESS,
    calibrated,
    discriminate,
    joint_probability,
    mirrored_probability,
)

GRID = Grid((40, 36, 14), np.diag([0.5, 0.5, 3.0, 1.0]))


def test_calibration_moves_the_log_odds_along_a_line():
    given = np.array([0.0, 0.5, 0.8, 1.0])
    found = calibrated(given, Calibration(-1.0, 0.5))
    assert found[1:3] == pytest.approx([1 / (1 + np.e), 2 / (2 + np.e)])  # odds 1, 4: half of ln 4
    assert (np.diff(found) > 0).all() and found[0] > 0 and found[-1] < 1
    np.testing.assert_allclose(calibrated(given, Calibration())[1:3], given[1:3])


def test_the_joint_probability_is_the_weighted_mean_of_the_log_odds():
    both = joint_probability(np.array([0.9, 0.5, 0.0]), np.array([0.2, 0.5, 1.0]), 0.25)
    odds = (0.9 / 0.1) ** 0.25 * (0.2 / 0.8) ** 0.75
    assert both[:2] == pytest.approx([odds / (1 + odds), 0.5])
    assert np.isfinite(both).all()
    alone = joint_probability(np.array([0.9]), np.array([0.2]), 0.0)
    assert alone == pytest.approx([0.2])  # as published


class Brightness:
    """A student that calls a patch probable when its middle is bright."""

    def __init__(self) -> None:
        self.batches: list[int] = []

    def run(self, batch: np.ndarray) -> np.ndarray:
        self.batches.append(len(batch))
        bright = batch[:, 0, 1, 1, 1]
        return np.stack([1 - bright, bright], axis=1)


def test_mirrored_views_are_averaged_as_log_odds():
    patches = np.full((2, 1, 3, 3, 3), 0.5, np.float32)
    corners = [0.9, 0.8, 0.3, 0.6]  # of the first patch, in the middle slice
    patches[0, 0, ::2, ::2, 1] = np.reshape(corners, (2, 2))

    class Corner:
        def run(self, batch: np.ndarray) -> np.ndarray:
            seen = batch[:, 0, 0, 0, 1]
            return np.stack([1 - seen, seen], axis=1)

    geometric = np.prod([c / (1 - c) for c in corners]) ** 0.25
    expected = [geometric / (1 + geometric), 0.5]
    once = Corner().run(patches)[:, 1]
    assert mirrored_probability(Corner(), patches, once) == pytest.approx(expected)


def bright_row() -> tuple[np.ndarray, Candidates]:
    """A volume that grows brighter along 40 voxels of a row, and a candidate on each of them."""
    channels = np.zeros((1, *GRID.shape), np.float32)
    voxels = np.array([[i, 10, 5] for i in range(40)], float)
    channels[0, :, 10, 5] = np.linspace(0, 1, 40)
    table = tuple(
        Candidate(n + 1, tuple(xyz), 5.0, 2.0, 0.1, 9.0, 0.8)
        for n, xyz in enumerate(apply_affine(GRID.affine, voxels))
    )
    return channels, Candidates(np.zeros(GRID.shape, np.int32), table, 0.8)


ONE_VOXEL = DiscriminateSettings(threshold=0.3, patch_shape=(3, 3, 3), patch_spacing_mm=None)


def test_mirror_images_are_looked_at_only_where_there_is_a_doubt():
    channels, candidates = bright_row()
    student = Brightness()
    mirrored = replace(ONE_VOXEL, mirrored=True)
    rated = discriminate(candidates, channels, GRID, student, mirrored, "t2star")
    once = discriminate(candidates, channels, GRID, Brightness(), ONE_VOXEL, "t2star")
    doubtful = (np.linspace(0, 1, 40) >= HOPELESS).sum()
    assert sum(student.batches) == 40 + 3 * doubtful and doubtful < 40
    for seen, first in zip(rated.table, once.table, strict=True):  # the middle is no corner
        assert seen.student_probability == pytest.approx(first.student_probability, abs=1e-5)


def test_every_candidate_is_rated_and_only_the_improbable_dropped():
    channels, candidates = bright_row()
    student = Brightness()
    rated = discriminate(candidates, channels, GRID, student, ONE_VOXEL, "t2star")
    seen = np.array([row.student_probability for row in rated.table])
    np.testing.assert_allclose(seen, np.linspace(0, 1, 40), atol=1e-6)
    assert [row.kept for row in rated.table] == [p >= 0.3 for p in np.linspace(0, 1, 40)]
    assert rated.table[0].reason == "step 2: probability 0.000 < 0.3"
    assert sum(student.batches) == 40 and len(student.batches) > 1


def test_each_contrast_has_its_own_calibration():
    channels, candidates = bright_row()
    settings = replace(ONE_VOXEL, calibration={"swi": Calibration(-1.0, 0.5)})

    def joint(contrast):
        rated = discriminate(candidates, channels, GRID, Brightness(), settings, contrast)
        return np.array([row.joint_probability for row in rated.table])

    np.testing.assert_allclose(joint("swi"), calibrated(joint("t2star"), Calibration(-1.0, 0.5)))
    np.testing.assert_array_equal(joint("qsm"), joint("t2star"))
    raw, settings = joint("qsm"), replace(settings, other_calibration=Calibration(0.5, 2.0))
    np.testing.assert_allclose(joint("qsm"), calibrated(raw, Calibration(0.5, 2.0)))
    np.testing.assert_allclose(joint("swi"), calibrated(raw, Calibration(-1.0, 0.5)))
