from dataclasses import replace

import numpy as np
import pytest

from microbleeds.simulate import HeadSettings
from microbleeds.simulate.echoes import record_echoes
from microbleeds.simulate.images import Frame, _standing_out, _visible, scan_images
from microbleeds.simulate.lesions import Bleed
from microbleeds.simulate.scanner import Protocol, slice_weights
from microbleeds.simulate.tissue import FineGrid, Tissue

SHAPE, CELL = (80, 80, 80), 0.5
PROTOCOL = Protocol(acquired_mm=0.5, pixel_mm=0.5, slice_mm=1.0, snr=500.0, k_filter=0.0)


def scan(radius, susceptibility, contrasts=("qsm",), **protocol):
    """A bleed in the middle of a cube of water, 40 mm wide; returns the head and its voxel."""
    grid = FineGrid(SHAPE, np.full(3, CELL), np.zeros(3), slice_weights(2, 0.0), np.eye(3))
    one = np.ones(SHAPE, np.float32)
    tissue = Tissue(one.copy(), 20 * one, 0 * one, 0 * one)
    bleed = Bleed(np.full((1, 3), 20.0), np.full((1, 3), radius), susceptibility)
    protocol = replace(PROTOCOL, **protocol)
    echoes = record_echoes(tissue, (bleed,), grid, protocol, "qsm" in contrasts)
    labels = np.full((40, 40, 40), 2, np.int16)
    head = scan_images(echoes, labels, (bleed,), grid, protocol, contrasts, HeadSettings(),
                       np.random.default_rng(0))  # fmt: skip
    voxel = np.linalg.inv(head.affine) @ [*head.truth[0].xyz_mm, 1]
    return head, tuple(np.rint(voxel[:3]).astype(int))


def frame(*seeds, voxel=(1.0, 1.0, 1.0)):
    brain = np.ones((20, 20, 20), bool)
    return Frame(np.array(voxel), np.eye(4), np.array([0, 0, 1.0]), np.reshape(seeds, (-1, 3)),
                 brain)  # fmt: skip


def test_qsm_gives_back_a_weak_source():
    """No phase wraps: thresholded division underestimates a little, as it is known to."""
    head, place = scan(3.0, 0.2)
    centre = head.images["qsm"][place]
    assert 0.12 < centre < 0.24
    far = head.images["qsm"][5:15, 5:15, 5:15]
    assert abs(far.mean()) < 0.02


def test_qsm_stays_bright_where_phase_wraps():
    head, place = scan(1.0, 3.5)  # the field at the poles, 2.3 ppm, is two turns at 8 ms
    box = tuple(slice(i - 1, i + 2) for i in place)
    assert head.images["qsm"][box].mean() > 0.15
    assert head.labels["qsm"][place] == 1


def test_qsm_truth_is_what_the_maps_noise_lets_through():
    """A faint bleed of 0.25 ppm: seen in a quiet map, lost in a noisy one."""
    quiet, place = scan(1.2, 0.25)
    assert quiet.labels["qsm"][place] == 1 and quiet.truth[0].volume_mm3["qsm"] > 0
    noisy, _ = scan(1.2, 0.25, snr=8.0, field_t=1.5)
    assert not noisy.labels["qsm"].any() and noisy.truth[0].volume_mm3["qsm"] == 0


@pytest.mark.parametrize(("texture", "shown"), [(0.02, True), (0.2, False)])
def test_a_bleed_that_texture_makes_as_often_is_not_seen(texture, shown):
    labels = np.zeros((20, 20, 20), np.int32)
    labels[10, 10:12, 10] = 1
    quiet = np.where(labels > 0, np.float32(0.3), np.float32(0))
    ground = np.random.default_rng(1).normal(0, texture, labels.shape) * (labels == 0)
    kept = _standing_out(quiet, (quiet + ground).astype(np.float32), labels, frame(), 0.1)
    assert kept.any() == shown  # 0.3 over the texture, times the root of two voxels: 21 and 2.1


def test_swi_shows_more_of_a_bleed_than_the_magnitude():
    head, place = scan(0.6, 1.5, ("t2star", "swi"))
    volume = head.truth[0].volume_mm3
    assert volume["swi"] > volume["t2star"] > 0
    for image in head.images.values():
        assert image[place] < 0.5 * np.median(image)


def test_zero_filling_changes_the_grid_and_not_the_place():
    coarse, at = scan(0.8, 2.0, ("t2star",), acquired_mm=1.0, pixel_mm=1.0)
    fine, there = scan(0.8, 2.0, ("t2star",), acquired_mm=1.0, pixel_mm=0.5)
    assert fine.brain.shape[0] == 2 * coarse.brain.shape[0]
    assert coarse.truth[0].xyz_mm == pytest.approx(fine.truth[0].xyz_mm, abs=1e-6)
    for head, voxel in ((coarse, at), (fine, there)):
        found = np.argwhere(head.labels["t2star"] == 1).mean(0)
        assert found == pytest.approx(np.array(voxel), abs=0.8)


def test_qsm_needs_the_short_echo():
    grid = FineGrid((8, 8, 8), np.ones(3), np.zeros(3), slice_weights(2, 0.0), np.eye(3))
    one = np.ones((8, 8, 8), np.float32)
    echoes = record_echoes(Tissue(one, one, one, one), (), grid, PROTOCOL, qsm=False)
    labels = np.full((8, 8, 8), 2, np.int16)
    with pytest.raises(ValueError, match="short echo"):
        scan_images(echoes, labels, (), grid, PROTOCOL, ("qsm",), HeadSettings(),
                    np.random.default_rng(0))  # fmt: skip


def test_changed_voxels_go_to_the_nearest_bleed_in_mm():
    change = np.zeros((20, 20, 20))
    change[5:12, 5, 5] = 1
    labels = _visible(change, 0.5, frame((5, 5, 5), (11, 5, 5)))
    assert labels[5:12, 5, 5].tolist() == [1, 1, 1, 1, 2, 2, 2]
    change = np.zeros((20, 20, 20))
    change[8, 8, 8] = 1  # two voxels from the one, three from the other, but thin ones
    labels = _visible(change, 0.5, frame((8, 8, 6), (5, 8, 8), voxel=(1, 1, 3)))
    assert labels[8, 8, 8] == 2


def test_far_changes_and_detached_pieces_are_no_bleed():
    change = np.zeros((20, 20, 20))
    change[9:12, 9:12, 9:12] = 1
    change[14, 10, 10] = change[10, 10, 19] = 1  # ringing near; something 9 mm away
    labels = _visible(change, 0.5, frame((10, 10, 10)))
    assert labels.sum() == 27 and labels[14, 10, 10] == labels[10, 10, 19] == 0


def test_nothing_visible_or_no_bleeds_give_empty_labels():
    change = np.full((20, 20, 20), 0.4)
    assert not _visible(change, 0.5, frame((10, 10, 10))).any()
    assert not _visible(change, 0.1, frame()).any()
