import numpy as np
import pytest
import torch

from microbleeds.errors import UserError
from microbleeds.prepare.grid import Grid, cut
from microbleeds.train.augment import AugmentSettings
from microbleeds.train.cases import UNRATED, Case
from microbleeds.train.losses import UNCERTAIN
from microbleeds.train.sampling import DetectorSampler, brain_voxel

STILL = AugmentSettings(False, False, (1, 1), (0, 0), (1, 1), (0, 0), (0, 0))
SHAPE = (20, 18, 10)


def case(centres, affine=None):
    """Channel 0 holds the flat voxel index, so that a patch tells where it came from."""
    labels = np.zeros(SHAPE, np.uint16)
    for number, centre in enumerate(centres, 1):
        labels[centre] = number
    image = np.linspace(0.01, 1, labels.size, dtype=np.float32).reshape(SHAPE)
    channels = np.stack([image, image, image])
    brain = np.zeros(SHAPE, bool)
    brain[4:16, 4:14, 2:8] = True
    grid = Grid(SHAPE, np.diag([0.5, 0.5, 2, 1.0]) if affine is None else affine)
    arrays = {"channels": channels, "labels": labels, "brain": brain}
    return Case("a", arrays.__getitem__, np.array(centres, float).reshape(-1, 3), grid)


def test_every_second_patch_holds_a_microbleed_even_near_the_border():
    cases = [case([(0, 0, 0)]), case([(10, 9, 5), (19, 17, 9)]), case([])]
    sampler = DetectorSampler(cases, (8, 8, 4), 2, STILL)
    for seed in range(50):
        batch = sampler.batch(4, np.random.default_rng(seed))
        assert batch["channels"].shape == (4, 2, 8, 8, 4)
        assert batch["channels"].dtype == torch.float32
        assert batch["labels"].shape == (4, 8, 8, 4)
        assert batch["labels"][::2].flatten(1).amax(1).tolist() == [1, 1]


def test_batches_depend_on_the_generator_alone():
    sampler = DetectorSampler([case([(10, 9, 5)])], (8, 8, 4), 3, AugmentSettings())
    first, again, other = (
        sampler.batch(4, np.random.default_rng(s))["channels"] for s in (1, 1, 2)
    )
    assert torch.equal(first, again) and not torch.equal(first, other)


def test_half_of_the_other_patches_show_mined_places():
    affine = np.diag([0.5, 0.5, 2, 1.0])
    affine[:3, 3] = (7, -3, 11)
    one = case([(10, 9, 5)], affine)
    place = affine[:3, :3] @ (18, 16, 8) + affine[:3, 3]
    sampler = DetectorSampler([one], (6, 6, 4), 1, STILL, [place[None]])
    mark = one.channels[0, 18, 16, 8]
    shown = [
        bool((sampler.batch(2, np.random.default_rng(s))["channels"][1] == mark).any())
        for s in range(200)
    ]
    # the mined voxel is too far from the brain's box to be in a patch centred there
    assert 0.35 < np.mean(shown) < 0.65


def test_nothing_to_learn():
    with pytest.raises(UserError, match="None of the labels"):
        DetectorSampler([case([])], (8, 8, 4), 3, STILL)


def test_brain_voxels_are_all_reached():
    brain = np.zeros((9, 9, 9), bool)
    brain[2, 3, 4] = brain[7, 1, 8] = True
    rng = np.random.default_rng(0)
    assert {tuple(brain_voxel(brain, rng)) for _ in range(40)} == {(2, 3, 4), (7, 1, 8)}


def test_cut_pads_with_zeros():
    array = np.arange(1, 28).reshape(1, 3, 3, 3)
    inside = cut(array, np.array([-1, 1, 2]), (2, 2, 3))
    expected = np.zeros((1, 2, 2, 3), int)
    expected[0, 1, :, 0] = array[0, 0, 1:, 2]
    np.testing.assert_array_equal(inside, expected)
    assert not cut(array, np.array([5, 0, 0]), (2, 2, 2)).any()
    assert not cut(array, np.array([-4, 0, 0]), (2, 2, 2)).any()


def test_microbleeds_too_small_are_uncertain():
    one = case([(10, 9, 5)])
    one.labels[12, 9, 5] = UNRATED
    labels = DetectorSampler([one], (16, 16, 6), 1, STILL).batch(1, np.random.default_rng(0))[
        "labels"
    ]
    assert sorted(labels[labels > 0].tolist()) == [1, UNCERTAIN]
