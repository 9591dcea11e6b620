"""Candidates of blobs whose number, place and size are known."""

from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage

from microbleeds.models.config import NetworkConfig
from microbleeds.models.engine import Engine
from microbleeds.settings import CandidateSettings
from microbleeds.steps.candidates import find_candidates, microbleed_probability

THICK = np.array([[0, 0.5, 0, -30.0], [-0.5, 0, 0, 12.0], [0, 0, 3.0, 5.0], [0, 0, 0, 1.0]])
FINE = np.diag([0.5, 0.5, 0.5, 1.0])
SETTINGS = CandidateSettings(threshold=0.3, peak_distance_mm=2.0, valley=0.1)


def test_place_and_size_of_one_bleed(block, blob):
    prepared = block((40, 44, 14), THICK)
    probability = blob(prepared.grid, (20.3, 17.6, 6.2), 2.0)
    found = find_candidates(probability, prepared, SETTINGS)
    (row,) = found.table
    expected = THICK[:3, :3] @ (20.3, 17.6, 6.2) + THICK[:3, 3]
    np.testing.assert_allclose(row.xyz_mm, expected, atol=0.25)
    voxels = np.count_nonzero(probability >= 0.3)
    assert row.volume_mm3 == pytest.approx(voxels * 0.75)
    assert np.pi / 6 * row.diameter_mm**3 == pytest.approx(row.volume_mm3)
    assert row.detector_probability == pytest.approx(probability.max())
    np.testing.assert_array_equal(found.labels == 1, probability >= 0.3)
    assert found.labels.dtype == np.int32


def test_a_peak_just_above_the_threshold_keeps_its_size(block, blob):
    prepared = block((40, 44, 14), THICK)
    weak = blob(prepared.grid, (20, 18, 6), 2.0, height=0.5)
    (row,) = find_candidates(weak, prepared, CandidateSettings(threshold=0.48)).table
    half = np.count_nonzero(weak >= 0.25) * 0.75  # full width at half maximum
    assert row.volume_mm3 == pytest.approx(half) and row.volume_mm3 > 20
    assert not find_candidates(weak, prepared, CandidateSettings(threshold=0.52)).table


def test_a_weak_neighbour_is_no_part_of_a_strong_peak(block, blob):
    prepared = block((48, 48, 20), FINE)
    strong = blob(prepared.grid, (18, 24, 10), 0.8)
    pair = np.maximum(strong, blob(prepared.grid, (26, 24, 10), 0.8, height=0.28))
    (row,) = find_candidates(pair, prepared, SETTINGS).table
    assert row.volume_mm3 == pytest.approx(np.count_nonzero(strong >= 0.3) * 0.125)


def test_edge_distance_agrees_with_a_distance_map(block, blob):
    prepared = block((40, 44, 14), THICK)
    probability = blob(prepared.grid, (8, 30, 6), 0.4) + blob(prepared.grid, (30, 20, 3), 0.4)
    rows = find_candidates(probability, prepared, SETTINGS).table
    distance = ndimage.distance_transform_edt(prepared.brain, sampling=prepared.grid.spacing)
    assert [row.edge_mm for row in rows] == pytest.approx([distance[8, 30, 6], distance[30, 20, 3]])


def test_touching_bleeds_are_told_apart(block, blob):
    prepared = block((48, 48, 20), FINE)
    pair = np.maximum(
        blob(prepared.grid, (20, 24, 10), 1.0), blob(prepared.grid, (27, 24, 10), 1.0)
    )
    assert ndimage.label(pair >= 0.3)[1] == 1
    found = find_candidates(pair, prepared, SETTINGS)
    centres = sorted(row.xyz_mm[0] for row in found.table)
    np.testing.assert_allclose(centres, [10.0, 13.5], atol=0.3)
    assert np.count_nonzero(found.labels == 1) == np.count_nonzero(found.labels == 2)


@pytest.mark.parametrize("affine", [FINE, THICK])
def test_noise_does_not_split_one_bleed(block, blob, affine):
    prepared = block((40, 40, 20), affine)
    noise = np.random.default_rng(3).uniform(-0.04, 0.04, prepared.grid.shape)
    bleed = blob(prepared.grid, (20, 20, 10), 3.0)
    noisy = np.where(bleed > 0.3, bleed + noise, 0).astype(np.float32)
    assert len(find_candidates(noisy, prepared, SETTINGS).table) == 1


def test_peaks_nearer_than_the_distance_stay_one(block):
    prepared = block((20, 20, 20), FINE)
    probability = np.zeros((20, 20, 20), np.float32)
    probability[8:13, 10, 10] = [0.9, 0.6, 0.5, 0.6, 0.8]  # peaks 2 mm apart
    near, far = (CandidateSettings(0.3, mm, 0.1) for mm in (2.1, 2.0))
    assert len(find_candidates(probability, prepared, near).table) == 1
    assert len(find_candidates(probability, prepared, far).table) == 2


def test_diagonal_neighbours_belong_together(block):
    prepared = block((12, 12, 12), FINE)
    probability = np.zeros((12, 12, 12), np.float32)
    probability[[5, 6], [5, 6], [5, 6]] = 0.8
    assert len(find_candidates(probability, prepared, SETTINGS).table) == 1


def test_nothing_outside_the_brain_and_nothing_at_all(block):
    prepared = block((12, 12, 12), FINE)
    probability = np.zeros((12, 12, 12), np.float32)
    probability[0, 0, 0] = 0.9
    probability[6, 6, 6] = 0.12
    found = find_candidates(probability, prepared, SETTINGS)
    assert not found.table and not found.labels.any()
    assert found.highest_probability == pytest.approx(0.12)


def test_a_view_of_brain_alone_has_no_edge(block):
    prepared = block((8, 8, 8), FINE, rim=0)
    probability = np.zeros((8, 8, 8), np.float32)
    probability[4, 4, 4] = 0.9
    assert find_candidates(probability, prepared, SETTINGS).table[0].edge_mm == np.inf


class Lopsided(Engine):
    """Sees everything one voxel too far along X."""

    def run(self, batch, /):
        moved = np.roll(batch[:, 0], 1, axis=1)
        return np.stack([1 - moved, moved], axis=1)


def test_what_a_detector_sees_to_one_side_is_balanced_by_the_mirror_image():
    detector = Lopsided(Path(), config=NetworkConfig())
    channels = np.full((3, 16, 8, 4), 0.2, np.float32)
    channels[0, 5, 3, 2] = 0.8
    once = microbleed_probability(detector, channels, CandidateSettings())
    np.testing.assert_allclose(once, np.roll(channels[0], 1, axis=0), atol=1e-6)
    both = microbleed_probability(detector, channels, CandidateSettings(mirrored=True))
    expected = np.full_like(both, 0.2)
    expected[[4, 6], 3, 2] = 0.5  # odds of 4 and 1/4 have a geometric mean of 1
    np.testing.assert_allclose(both, expected, atol=1e-6)


def test_certainty_has_finite_log_odds():
    detector = Lopsided(Path(), config=NetworkConfig())
    channels = np.zeros((3, 16, 8, 4), np.float32)
    channels[0, 5, 3, 2] = 1
    both = microbleed_probability(detector, channels, CandidateSettings(mirrored=True))
    assert both[4, 3, 2] == pytest.approx(0.5, abs=1e-3)
    assert both[0, 0, 0] == pytest.approx(0, abs=1e-3)
