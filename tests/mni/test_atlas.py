"""The atlas: whole, symmetric, small."""

import numpy as np
from nibabel.affines import apply_affine

from microbleeds.mni.atlas import (
    ATLAS,
    DEEP,
    REGIONS,
    TEMPLATE,
    group_of,
    load_atlas,
    load_template,
)
from microbleeds.mni.regions import atlas_numbers


def test_deep_regions_are_symmetric_and_every_region_is_there():
    values = load_atlas().values
    assert set(np.unique(values)) == set(range(len(REGIONS) + 1))
    deep = np.isin(values, [REGIONS.index(name) + 1 for name in DEEP])
    assert (deep == deep[::-1]).mean() > 0.999


def test_the_brain_has_a_region_everywhere_and_far_away_has_none():
    template = load_template()
    places = apply_affine(template.affine, np.argwhere(template.values > 0)[::301])
    assert len(places) and atlas_numbers(places).all()
    assert not atlas_numbers(np.array([[0.0, 0, 500]])).any()


def test_files_are_small_and_groups_hold_all_regions():
    assert ATLAS.stat().st_size + TEMPLATE.stat().st_size < 120_000
    assert {group_of(region) for region in REGIONS} == {"infratentorial", "deep", "lobar"}
    assert group_of("") == ""
