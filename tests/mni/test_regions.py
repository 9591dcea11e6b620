"""Regions of one head: the atlas where the network repeats it, the image where it does not."""

import numpy as np
import pytest
from nibabel.affines import apply_affine

from microbleeds.mni.atlas import DEEP, REGIONS, MniImage, load_atlas, load_template
from microbleeds.mni.coarse import coarse_scan, coarse_template
from microbleeds.mni.regions import (
    HeadRegions,
    atlas_channels,
    atlas_numbers,
    head_regions,
    image_channels,
)
from microbleeds.mni.register import Registration
from microbleeds.models.zoo import load_regions

MNI = Registration(np.eye(4), np.eye(4), 1.0)
# MNI mm; common peaks and landmarks of the imaging literature.
PLACES = [
    ((-11, -18, 8), "thalamus", "left"),
    ((26, 4, 0), "basal ganglia", "right"),  # putamen
    ((-13, 12, 10), "basal ganglia", "left"),  # head of the caudate nucleus
    ((3, -26, -32), "brainstem", "right"),  # pons
    ((-25, -65, -35), "cerebellum", "left"),
    ((38, -18, 54), "frontal", "right"),  # hand area of the precentral gyrus
    ((-40, 36, 22), "frontal", "left"),  # dorsolateral prefrontal
    ((5, -60, 42), "parietal", "right"),  # precuneus
    ((-46, -54, 46), "parietal", "left"),  # inferior parietal lobule
    ((-56, -18, 2), "temporal", "left"),  # superior temporal gyrus
    ((26, -18, -18), "temporal", "right"),  # hippocampus
    ((12, -88, 2), "occipital", "right"),  # calcarine cortex
    ((-38, 10, -2), "insula", "left"),
    ((2, 26, 6), "corpus callosum", "right"),  # genu
]


class Atlas:
    """A network that says what the atlas says."""

    def run(self, batch, /):
        return batch[:, 3:]


class Constant:
    """A network that sees one region everywhere, and keeps what it was shown."""

    def __init__(self, region):
        self.region = REGIONS.index(region)

    def run(self, batch, /):
        self.shown = batch
        result = np.zeros((1, len(REGIONS), *batch.shape[2:]), np.float32)
        result[:, self.region] = 1
        return result


@pytest.fixture(scope="module")
def template_regions():
    """What the shipped network makes of the template, which is no scan of its kinds."""
    return head_regions(coarse_template(), MNI, load_regions(threads=1))


@pytest.mark.parametrize(("place", "region", "side"), PLACES)
def test_well_known_places_in_the_template(template_regions, place, region, side):
    assert template_regions.at(np.array([place])) == [(region, side)]


def test_a_scan_without_candidates_has_no_places(template_regions):
    assert template_regions.at(np.empty((0, 3))) == []


def test_probabilities_are_some(template_regions):
    shares = template_regions.probabilities.values
    assert shares.shape == (len(REGIONS), *load_template().values.shape)
    assert shares.min() >= 0
    np.testing.assert_allclose(shares.sum(axis=0), 1, atol=1e-4)


def test_the_network_overrules_the_atlas_but_not_its_end():
    network = Constant("insula")
    regions = head_regions(coarse_template(), MNI, network)
    places = np.array([(-11, -18, 8), (0, 0, 500), (11, -18, 8)])
    assert regions.at(places) == [("insula", "left"), ("", ""), ("insula", "right")]
    assert network.shown.shape == (1, 3 + len(REGIONS), *load_template().values.shape)
    assert network.shown.dtype == np.float32


def test_the_outermost_places_of_the_atlas_have_a_region_too():
    atlas = load_atlas()
    x, y = np.argwhere(atlas.values[:, :, 0])[0]
    place = atlas.affine[:3, :3] @ [x, y, -0.4] + atlas.affine[:3, 3]  # in its outermost voxel
    assert atlas_numbers(place[None])[0]
    regions = head_regions(coarse_template(), MNI, Constant("insula"))
    assert regions.at(place[None])[0][0] == "insula"


def test_the_network_sees_a_posed_head_as_the_template_lies(template_scan, posed):
    inside = load_template().values > 0
    straight = image_channels(coarse_scan(*template_scan(np.eye(4))), np.eye(4))
    scan, brain = template_scan(posed())
    seen = image_channels(coarse_scan(scan, brain), np.linalg.inv(posed()))
    assert ((seen[1] > 0.5) == inside).mean() > 0.97
    assert np.corrcoef(seen[0][inside], straight[0][inside])[0, 1] > 0.85
    assert seen.min() >= 0 and seen[0].max() <= 1 + 1e-6


def test_atlas_channels_follow_the_deep_registration():
    deep = np.eye(4)
    deep[2, 3] = 4.0  # what lies 4 mm lower here is the template's deep zone
    plain, moved = atlas_channels(MNI), atlas_channels(Registration(np.eye(4), deep, 1.0))
    assert plain.shape == (1 + len(REGIONS), *load_template().values.shape)
    np.testing.assert_allclose(plain.sum(axis=0)[5:-5, 5:-5, 5:-5], 1, atol=1e-3)
    number = 1 + REGIONS.index("thalamus")
    assert number - 1 in [REGIONS.index(name) for name in DEEP]
    middle = np.unravel_index(plain[number].argmax(), plain[number].shape)
    column = (middle[0], middle[1])
    level = np.arange(plain.shape[3])
    up = [np.average(level, weights=part[number][column]) for part in (plain, moved)]
    assert 0.7 < up[0] - up[1] <= 1  # voxel of 4 mm; the zone is soft


def test_the_side_is_that_of_the_place_the_deep_registration_finds():
    shifted = np.eye(4)
    shifted[0, 3] = 10.0
    shares = MniImage(atlas_channels(MNI)[1:], load_template().affine)
    regions = HeadRegions(shares, Registration(np.eye(4), shifted, 1.0))
    assert regions.at(np.array([(-4.0, -18, 8)]))[0][1] == "right"


def test_the_atlas_by_place():
    atlas = load_atlas()
    voxels = np.argwhere(atlas.values > 0)[::1001]
    places = apply_affine(atlas.affine, [*voxels, (0, 0, 500), (0, 0, -1)])
    assert atlas_numbers(places).tolist() == [*atlas.values[tuple(voxels.T)], 0, 0]
