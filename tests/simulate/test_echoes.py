from dataclasses import replace

import numpy as np
import pytest

from microbleeds.simulate.echoes import QSM_TE_MS, record_echoes
from microbleeds.simulate.lesions import Bleed
from microbleeds.simulate.scanner import Protocol, slice_weights
from microbleeds.simulate.tissue import FineGrid, Tissue

SHAPE, CELL, SLAB = (64, 60, 64), 0.4, 4
GAMMA = 42.577  # MHz/T


def grid(turn=None):
    return FineGrid(SHAPE, np.full(3, CELL), np.array([5.0, 6.0, 7.0]), slice_weights(SLAB, 0.0),
                    np.eye(3) if turn is None else turn)  # fmt: skip


def water(decay=20.0):
    def full(value):
        return np.full(SHAPE, value, np.float32)

    return Tissue(full(1), full(decay), full(0), full(0.05))


def bleed(radius=0.8, susceptibility=2.0, shift=(0.0, 0.0, 0.0)):
    middle = grid().origin + CELL * np.array(SHAPE) / 2 + np.array(shift)
    return Bleed(middle[None], np.full((1, 3), radius), susceptibility)


def record(*bleeds, te=20.0, qsm=False, on=None, tissue=None):
    protocol = Protocol(field_t=3.0, te_ms=te)
    return record_echoes(tissue or water(), bleeds, on or grid(), protocol, qsm)


def voids(te, **kind):
    """Volume in mm³ where the magnitude lost a quarter."""
    echoes = record(bleed(**kind), te=te)
    lost = np.abs(echoes.image) < 0.75 * np.abs(echoes.clean)
    return lost.sum() * CELL**3 * SLAB


def test_clean_signal_is_decay_and_outer_phase():
    echoes = record(te=20.0, qsm=True)
    assert echoes.clean.shape == (64, 60, 16) and echoes.clean.dtype == np.complex64
    expected = np.exp(-0.020 * 20 + 2j * np.pi * GAMMA * 3.0 * 0.020 * 0.05)
    assert np.allclose(echoes.clean, expected, atol=1e-5)
    short = np.exp(-QSM_TE_MS / 1000 * 20)  # without the field of air and bone: no phase
    assert np.allclose(echoes.local, short, atol=1e-5)
    assert np.array_equal(echoes.image, echoes.clean) and not echoes.bleed_ppm.any()


def test_the_short_echo_is_made_for_qsm_only():
    assert record(bleed()).local is None
    assert record(bleed(), qsm=True).local is not None


def test_a_bleed_blooms_with_echo_time_field_and_iron():
    volumes = [voids(te) for te in (10, 20, 40)]
    assert volumes[0] < volumes[1] < volumes[2]
    # Far from a small source phase goes as chi a³ TE / r³, so the volume at one phase as TE.
    assert 2 < volumes[2] / volumes[0] < 6
    assert volumes[1] > 4 / 3 * np.pi * 0.8**3  # larger than the deposit itself
    assert voids(20, susceptibility=1.0) < volumes[1] < voids(20, susceptibility=4.0)


def test_twice_the_iron_blooms_as_twice_the_echo_time():
    """Only their product enters the phase (the decay inside the deposit apart)."""
    iron, time = voids(20, susceptibility=4.0), voids(40, susceptibility=2.0)
    assert iron == pytest.approx(time, rel=0.25)


@pytest.mark.parametrize(
    ("turn", "along", "across"),
    [
        (np.eye(3), 2, 0),
        (np.array([[1, 0, 0], [0, 0, 1], [0, -1, 0]]), 1, 0),  # the main field along y
    ],
)
def test_phase_around_a_bleed_is_that_of_a_sphere(turn, along, across):
    """a³ chi / 3 / r³ (3 cos² - 1) outside, in the axes that the scanner's field gives."""
    protocol = Protocol(field_t=3.0, te_ms=2.0, gap=0.0)
    on = replace(grid(np.asarray(turn, float)), profile=slice_weights(1, 0.0))
    tissue = water()
    tissue.outer_field[:] = 0
    source = bleed(1.2, 1.0)
    echoes = record_echoes(tissue, (source,), on, protocol, False)
    field = np.angle(echoes.image) / (2 * np.pi * GAMMA * 3.0 * 0.002)
    centre = np.array(SHAPE) // 2
    for axis, sign in ((along, 2), (across, -1)):
        place = centre.copy()
        place[axis] += 8
        expected = sign * 1.2**3 / 3 / (8 * CELL) ** 3
        assert field[tuple(place)] == pytest.approx(expected, rel=0.15)


def test_the_iron_map_holds_the_iron_of_the_deposit():
    ppm = record(bleed(1.0, 3.0)).bleed_ppm
    moment = ppm.sum() * CELL**3 * SLAB
    assert moment == pytest.approx(3.0 * 4 / 3 * np.pi, rel=0.05)
    place = np.unravel_index(ppm.argmax(), ppm.shape)
    assert np.abs(np.array(place) - [32, 30, 8]).max() <= 1


def test_bleeds_change_only_their_surroundings_and_their_order_does_not_matter():
    one, two = bleed(shift=(-7, -6, -6)), bleed(shift=(-4, -6, -6))
    echoes, swapped = record(one, two), record(two, one)
    assert np.allclose(echoes.image, swapped.image, atol=1e-5)
    far = np.s_[-8:, -8:, -4:]
    assert np.array_equal(echoes.image[far], echoes.clean[far])
    alone = record(one).image
    assert np.abs(echoes.image - alone).max() > 0.3


def test_a_bleed_at_the_edge_of_the_grid_is_cut_off():
    edge = bleed(shift=tuple(-CELL * np.array(SHAPE) / 2))
    echoes = record(edge)
    assert np.isfinite(echoes.image).all()
    assert np.abs(echoes.image[0, 0, 0]) < 0.75 * np.abs(echoes.clean[0, 0, 0])
