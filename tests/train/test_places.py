from dataclasses import replace

import numpy as np
import pytest

from microbleeds.errors import UserError
from microbleeds.prepare.grid import Grid
from microbleeds.steps import Candidate, Candidates
from microbleeds.steps.patches import extract_patches, extract_views, views_of
from microbleeds.train.augment import AugmentSettings
from microbleeds.train.cases import UNRATED, Case
from microbleeds.train.inference import NEAR_MM, Found
from microbleeds.train.places import (
    PatchSampler,
    Places,
    find_doubts,
    find_places,
    sort_places,
)

STILL = AugmentSettings(False, False, (1, 1), (0, 0), (1, 1), (0, 0), (0, 0), (1, 1))
AFFINE = np.array([[0.5, 0, 0, -8], [0, 0.5, 0, 4], [0, 0, 2, 10], [0, 0, 0, 1]])
SHAPE = (60, 60, 16)


def mm(voxel):
    return AFFINE[:3, :3] @ voxel + AFFINE[:3, 3]


def case():
    """Microbleeds at voxels (20, 20, 8) and (40, 40, 8), two voxels wide each."""
    labels = np.zeros(SHAPE, np.uint16)
    labels[20:22, 20:22, 8], labels[40:42, 40:42, 8] = 1, 2
    image = np.where(labels > 0, 0.9, 0.4).astype(np.float16)
    centres = np.array([[20.5, 20.5, 8], [40.5, 40.5, 8]])
    stack = np.stack([image, image, image])
    arrays = {"channels": stack, "labels": labels, "brain": np.ones(SHAPE, bool)}
    return Case("one", arrays.__getitem__, centres, Grid(SHAPE, AFFINE))


def with_channels(one, channels):
    return replace(one, array=lambda name: channels if name == "channels" else one.array(name))


def candidates(*boxes):
    """Candidates filling boxes of voxels."""
    labels = np.zeros(SHAPE, np.int32)
    table = []
    for index, box in enumerate(boxes, 1):
        labels[box] = index
        centre = np.argwhere(labels == index).mean(axis=0)
        table.append(Candidate(index, tuple(mm(centre)), 1, 1, 0, 9, 0.1 * index))
    return Candidates(labels, tuple(table), 0.5)


def test_candidates_on_or_beside_a_microbleed_are_positive_all_others_negative():
    places = sort_places(
        case(),
        candidates(
            np.s_[10:22, 20, 8],  # reaches the first, its centre is 2.5 mm away
            np.s_[20:22, 24, 8],  # 1.5 mm beside it
            np.s_[20:22, 30:32, 8],  # 4.5 mm beside it
            np.s_[0:2, 0:2, 2],
        ),
    )
    expected = [(20.5, 20.5, 8), (40.5, 40.5, 8), (15.5, 20, 8), (20.5, 24, 8)]
    np.testing.assert_allclose(places.positive, [mm(voxel) for voxel in expected])
    expected = [(20.5, 30.5, 8), (0.5, 0.5, 2)]
    np.testing.assert_allclose(places.negative[:2], [mm(voxel) for voxel in expected])
    assert len(places.negative) > 10
    voxels = np.array([mm(voxel) for voxel in np.argwhere(case().labels)])
    gaps = np.linalg.norm(places.negative[:, None] - voxels, axis=-1).min(axis=1)
    assert gaps.min() > NEAR_MM
    np.testing.assert_allclose(places.found.confidence, [0.1, 0.2, 0.3, 0.4])
    np.testing.assert_allclose(places.found.truth_mm, [mm((20.5, 20.5, 8)), mm((40.5, 40.5, 8))])


def test_candidates_on_what_is_too_small_teach_nothing():
    one = case()
    one.labels[one.labels == 2] = UNRATED
    one = replace(one, centres=one.centres[:1])
    found = candidates(np.s_[39:42, 40, 8], np.s_[20:22, 30:32, 8])
    places = sort_places(one, found)
    np.testing.assert_allclose(places.positive, [mm((20.5, 20.5, 8))])
    np.testing.assert_allclose(places.negative[0], mm((20.5, 30.5, 8)))
    gaps = np.linalg.norm(places.negative - mm((40, 40, 8)), axis=1)
    assert gaps.min() > NEAR_MM
    # and what was found there is neither a hit nor false when the detector is judged
    np.testing.assert_allclose(places.found.xyz_mm, [mm((20.5, 30.5, 8))])


def test_missed_microbleeds_and_empty_heads():
    missed = sort_places(case(), candidates())
    assert len(missed.positive) == 2 and len(missed.found.xyz_mm) == 0
    healthy = replace(case(), centres=np.empty((0, 3)))
    healthy.labels[:] = 0
    places = sort_places(healthy, candidates(np.s_[0:2, 0:2, 2]))
    assert len(places.positive) == 0 and len(places.negative) == 21


def test_batches_are_half_microbleeds_with_their_labels():
    places = sort_places(case(), candidates(np.s_[20:22, 30:32, 8]))
    sampler = PatchSampler([case()], [places], (12, 12, 5), (0.5, 0.5, 2.0), 2, STILL, shift_mm=0.5)
    batch = sampler.batch(8, np.random.default_rng(0))
    assert batch["channels"].shape == (8, 2, 12, 12, 5)
    assert batch["targets"].tolist() == [1, 0] * 4
    middle = batch["labels"][:, 4:8, 4:8, 1:4]
    assert (middle.flatten(1).amax(1) == batch["targets"]).all()
    inside = batch["labels"][:, None].expand(-1, 2, -1, -1, -1) > 0
    assert batch["channels"][inside].min() == pytest.approx(0.65, abs=0.02)


def test_turned_patches_keep_the_bleed_in_the_middle_and_its_voxels():
    """The bleed, not in the middle of the voxel grid, goes round; the look-alike has none."""
    one, places = case(), Places(np.array([mm((26, 20.5, 8))]), np.array([mm((55, 55, 3))]), None)
    sampler = PatchSampler([one], [places], (24, 24, 5), (0.5, 0.5, 2.0), 3,
                           replace(STILL, turned=1.0), shift_mm=0.0)  # fmt: skip
    seen = []
    for seed in range(20):
        batch = sampler.batch(2, np.random.default_rng(seed))
        assert batch["channels"].shape == (2, 3, 24, 24, 5) and not batch["labels"][1].any()
        where = np.argwhere(batch["labels"][0].numpy())
        assert 2 <= len(where) <= 8  # four voxels, some of them split by the turn
        offset = where.mean(axis=0)[:2] - 11.5
        assert np.hypot(*offset) == pytest.approx(5.5, abs=0.6)
        seen.append(np.arctan2(*offset))
    assert len(np.unique(np.round(seen, 1))) > 10


@pytest.mark.parametrize(
    ("spacing", "zoom", "seen"),
    [
        (None, 1.0, None),
        (None, 1.5, None),
        ((0.7, 0.5, 1.5), 1.0, (0.7, 0.5, 1.5)),
        ((0.7, 0.5, 1.5), 1.5, (1.05, 0.75, 2.25)),
    ],
)
def test_patches_are_those_of_detection(spacing, zoom, seen):
    """Sampled from a part of the volume, they equal `extract_patches` from the whole of it.

    Zoom widens their spacing, if they have one.
    """
    noise = np.random.default_rng(1).uniform(0.1, 1, (3, *SHAPE)).astype(np.float16)
    one = with_channels(case(), noise)
    corner = Places(np.array([mm((0, 59, 1))]), np.array([mm((30, 30, 8))]), None)
    wide = replace(STILL, zoom=(zoom, zoom))
    sampler = PatchSampler([one], [corner], (9, 10, 6), spacing, 3, wide, shift_mm=0.0)
    batch = sampler.batch(2, np.random.default_rng(0))["channels"]
    centres = np.concatenate([corner.positive, corner.negative])
    whole = extract_patches(noise, one.grid, centres, (9, 10, 6), seen)
    np.testing.assert_allclose(batch, whole, atol=1e-5)


def test_the_second_view_is_that_of_detection():
    noise = np.random.default_rng(1).uniform(0.1, 1, (3, *SHAPE)).astype(np.float16)
    one, spacing, context = with_channels(case(), noise), (0.7, 0.5, 1.5), (3, 3, 2)
    places = Places(np.array([mm((0, 59, 1))]), np.array([mm((30, 30, 8))]), None)
    sampler = PatchSampler(
        [one], [places], (9, 10, 6), spacing, 3, STILL, shift_mm=0.0, context=context
    )
    batch = sampler.batch(2, np.random.default_rng(0))
    views = views_of(noise, one.grid, spacing, context)
    centres = np.concatenate([places.positive, places.negative])
    expected = extract_views(views, centres, (9, 10, 6))
    np.testing.assert_allclose(batch["channels"], expected, atol=1e-5)
    assert batch["labels"].shape == (2, 9, 10, 6)


def test_half_of_the_look_alikes_are_drawn_by_their_doubt():
    voxels = [(10, 10, 3), (30, 30, 8), (50, 50, 12)]
    first, second = case(), case()
    there = [
        Places(np.array([mm((20, 20, 8))]), np.array([mm(v) for v in voxels[:2]]), None),
        Places(np.array([mm((20, 20, 8))]), np.array([mm(v) for v in voxels[2:]]), None),
    ]
    # a doubt of 0.6 in all: a half goes by 0.1 : 0.0 : 0.5, the other half evenly
    doubts = [np.array([0.1, 0.0]), np.array([0.5])]
    sampler = PatchSampler([first, second], there, (4, 4, 2), None, 1, STILL, 0.0, doubts)
    rng = np.random.default_rng(0)
    drawn = [sampler._place(False, rng) for _ in range(3000)]
    shares = [np.mean([np.allclose(centre, mm(v)) for _, centre in drawn]) for v in voxels]
    np.testing.assert_allclose(shares, [1 / 12 + 1 / 6, 1 / 6, 5 / 12 + 1 / 6], atol=0.03)
    assert all(number == int(centre[0] > 10) for number, centre in drawn)
    bleeds = [sampler._place(True, rng)[1] for _ in range(20)]
    np.testing.assert_allclose(bleeds, [mm((20, 20, 8))] * 20)


def test_doubts_are_the_students_probabilities_and_found_once(tmp_path, monkeypatch, recipe):
    from microbleeds.train import places

    calls = []
    monkeypatch.setattr(
        places,
        "patch_probabilities",
        lambda network, one, centres, _: calls.append(len(centres)) or centres[:, 0] / 100,
    )
    there = [Places(np.empty((0, 3)), np.array([[10.0, 0, 0], [30.0, 0, 0]]), None)]
    first = find_doubts(None, [case()], there, recipe, tmp_path)
    again = find_doubts(None, [case()], there, recipe, tmp_path)
    assert calls == [2]
    np.testing.assert_allclose([first[0], again[0]], [[0.1, 0.3]] * 2)
    moved = [replace(there[0], negative=there[0].negative + 1)]
    np.testing.assert_allclose(
        find_doubts(None, [case()], moved, recipe, tmp_path)[0], [0.11, 0.31]
    )


def test_both_kinds_are_needed():
    nothing = Found("one", np.empty((0, 3)), np.empty(0), np.empty((0, 3)))
    one_sided = Places(np.array([mm((20, 20, 8))]), np.empty((0, 3)), nothing)
    with pytest.raises(UserError, match="no look-alike"):
        PatchSampler([case()], [one_sided], (12, 12, 5), None, 3, STILL)


def test_places_are_computed_once(tmp_path, monkeypatch):
    from microbleeds.train import places

    calls = []

    def step_1(engine, one, threshold):
        calls.append(threshold)
        return candidates(np.s_[20:22, 30:32, 8])

    monkeypatch.setattr(places, "case_candidates", step_1)
    first = find_places(None, [case()], 0.2, tmp_path)
    again = find_places(None, [case()], 0.2, tmp_path)
    assert calls == [0.2]
    np.testing.assert_array_equal(first[0].negative, again[0].negative)
    np.testing.assert_array_equal(first[0].found.confidence, again[0].found.confidence)
