"""The atlas: whole, symmetric, small."""

import numpy as np

from microbleeds.mni.atlas import (
    ATLAS,
    DEEP,
    REGIONS,
    TEMPLATE,
    group_of,
    load_atlas,
    load_template,
)
from microbleeds.mni.regions import atlas_number


def test_deep_regions_are_symmetric_and_every_region_is_there():
    values = load_atlas().values
    assert set(np.unique(values)) == set(range(len(REGIONS) + 1))
    deep = np.isin(values, [REGIONS.index(name) + 1 for name in DEEP])
    assert (deep == deep[::-1]).mean() > 0.999


def test_the_brain_has_a_region_everywhere_and_far_away_has_none():
    template = load_template()
    for voxel in np.argwhere(template.values > 0)[::301]:
        place = template.affine[:3, :3] @ voxel + template.affine[:3, 3]
        assert atlas_number(place)
    assert not atlas_number(np.array([0.0, 0, 500]))


def test_files_are_small_and_groups_hold_all_regions():
    assert ATLAS.stat().st_size + TEMPLATE.stat().st_size < 120_000
    assert {group_of(region) for region in REGIONS} == {"infratentorial", "deep", "lobar"}
    assert group_of("") == ""
