"""The atlas against places whose MNI coordinates are well known."""

import numpy as np
import pytest

from microbleeds.mni.atlas import (
    ATLAS,
    DEEP,
    REGIONS,
    TEMPLATE,
    group_of,
    load_atlas,
    load_template,
)
from microbleeds.mni.register import Registration
from microbleeds.report.regions import region_at

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


@pytest.mark.parametrize(("place", "region", "side"), PLACES)
def test_well_known_places(place, region, side):
    assert region_at(place, MNI) == (region, side)


def test_deep_regions_are_symmetric_and_every_region_is_there():
    values = load_atlas().values
    assert set(np.unique(values)) == set(range(len(REGIONS) + 1))
    deep = np.isin(values, [REGIONS.index(name) + 1 for name in DEEP])
    assert (deep == deep[::-1]).mean() > 0.999


def test_the_brain_has_a_region_everywhere_and_far_away_has_none():
    template = load_template()
    for voxel in np.argwhere(template.values > 0)[::301]:
        place = template.affine[:3, :3] @ voxel + template.affine[:3, 3]
        assert region_at(place, MNI)[0]
    assert region_at((0, 0, 500), MNI) == ("", "")


def test_files_are_small_and_groups_hold_all_regions():
    assert ATLAS.stat().st_size + TEMPLATE.stat().st_size < 120_000
    assert {group_of(region) for region in REGIONS} == {"infratentorial", "deep", "lobar"}
    assert group_of("") == ""
