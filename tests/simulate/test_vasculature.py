import numpy as np
import pytest
from scipy import ndimage
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial import KDTree

from microbleeds.simulate import anatomy as an
from microbleeds.simulate.vasculature import (
    SHORTEST_MM,
    _cortical,
    _medullary,
    _sinus,
    _striate,
    _subependymal,
    _wetness,
    arteries,
    perivascular_spaces,
    veins,
)

KINDS = (veins, arteries, perivascular_spaces)


def near(labels, numbers, tubes, mm):
    """Share of the tubes' points no farther than `mm` from what has these numbers."""
    distance = ndimage.distance_transform_edt(~an.select(labels, numbers))
    return np.mean(ndimage.map_coordinates(distance, tubes.centres.T, order=1, cval=99) <= mm)


@pytest.mark.parametrize("kind", KINDS)
def test_vessels_repeat_with_the_seed(kind, small_head):
    first, again, other = (kind(small_head.labels, np.random.default_rng(s)) for s in (3, 3, 4))
    assert np.array_equal(first.centres, again.centres) and np.array_equal(first.radii, again.radii)
    assert first.centres.shape != other.centres.shape
    assert first.centres.shape == (len(first.radii), 3) and first.radii.min() > 0


def test_arteries_keep_to_the_fluid_and_veins_are_in_tissue_too(small_head):
    labels, fluid = small_head.labels, (*an.CSF, an.FALX)
    by_chance = np.mean(ndimage.distance_transform_edt(~an.select(labels, fluid))[labels > 0] <= 2)
    assert near(labels, fluid, arteries(labels, np.random.default_rng(0)), 2) > 0.97 > by_chance
    deep = veins(labels, np.random.default_rng(0))
    assert 0.1 < near(labels, an.WHITE, deep, 0.5) < 0.9


def test_no_artery_is_a_dot(small_head):
    """Chains of points 0.3 mm apart; a dot of blood on its own would be a microbleed's double."""
    assert shortest(arteries(small_head.labels, np.random.default_rng(0)).centres) >= SHORTEST_MM


@pytest.mark.parametrize("kind", [_medullary, _cortical, _striate])
def test_no_vein_that_ends_in_tissue_is_a_dot(kind, small_head):
    wet = _wetness(small_head.labels, 1.2)
    more = {_medullary: (1.0,), _cortical: (wet, 1.0), _striate: ()}[kind]
    tubes = kind(small_head.labels, *more, np.random.default_rng(1))
    assert shortest(tubes.centres) >= SHORTEST_MM - 0.3


def test_subependymal_veins_keep_to_the_wall_of_the_ventricles(small_head):
    """One that walks on through white matter is a row of dots, and a microbleed's double."""
    tubes = _subependymal(small_head.labels, np.random.default_rng(2))
    assert len(tubes.radii) > 100 and shortest(tubes.centres) >= SHORTEST_MM - 0.3
    assert near(small_head.labels, an.VENTRICLES, tubes, 4) == 1


def test_the_sagittal_sinus_runs_along_the_skull_only():
    """Not where a ventricle lies by the falx."""
    head = np.full((40, 40, 40), an.SKULL, np.int16)
    head[3:37, 3:37, :34] = an.WHITE[0]
    head[20, 3:37, 5:34] = an.FALX
    head[18:20, 8:32, 5:28] = an.VENTRICLES[0]
    tubes = _sinus(head, np.random.default_rng(0))
    assert len(tubes.radii) >= 34 and 2 <= tubes.radii.min() <= tubes.radii.max() <= 4
    assert near(head, (an.SKULL,), tubes, 3) == 1


def shortest(centres):
    """Length of the shortest chain of points 0.3 mm apart."""
    pairs = KDTree(centres).query_pairs(0.31, output_type="ndarray")
    links = coo_array((np.ones(len(pairs)), pairs.T), shape=(len(centres),) * 2)
    _, chain = connected_components(links, directed=False)
    return np.bincount(chain).min() * 0.3


@pytest.mark.parametrize("kind", KINDS)
def test_heads_without_fluid_or_ventricles_have_fewer_vessels_and_no_error(kind):
    block = np.zeros((30, 30, 30), np.int16)
    block[5:25, 5:25, 5:25] = an.WHITE[0]
    tubes = kind(block, np.random.default_rng(0))
    assert len(tubes.centres) == len(tubes.radii)
    assert (len(tubes.radii) > 0) == (kind is perivascular_spaces)
