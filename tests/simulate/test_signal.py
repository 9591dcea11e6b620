import numpy as np
import pytest

from microbleeds.simulate.signal import (
    decay_rate,
    dephasing_rate,
    gradient_echo,
    recovery_time,
    steady_state,
    tissue_maps,
)


def test_steady_state_is_the_ernst_formula() -> None:
    t1, tr = 900.0, 30.0
    ernst = np.rad2deg(np.arccos(np.exp(-tr / t1)))
    signals = [steady_state(1.0, t1, tr, angle) for angle in np.arange(1, 60, 0.25)]
    assert np.arange(1, 60, 0.25)[int(np.argmax(signals))] == pytest.approx(ernst, abs=0.3)
    assert steady_state(0.7, 800, 1e6, 90) == pytest.approx(0.7)


def test_decay_and_phase_follow_te() -> None:
    one = np.ones((2, 2, 2), np.float32)
    signal = gradient_echo(one, 20 * one, 0.1 * one, te_ms=25, field_t=3.0)
    assert np.abs(signal)[0, 0, 0] == pytest.approx(np.exp(-0.5), rel=1e-5)
    turns = 42.577 * 3.0 * 0.1 * 0.025
    assert np.angle(signal)[0, 0, 0] == pytest.approx(2 * np.pi * turns, rel=1e-4)


def test_phase_wraps() -> None:
    one = np.ones((1, 1, 1), np.float32)
    whole_turn = 1 / (42.577 * 3.0 * 0.020)
    once = gradient_echo(one, one, 0.1 * one, 20, 3.0)
    again = gradient_echo(one, one, (0.1 + whole_turn) * one, 20, 3.0)
    assert once == pytest.approx(again, abs=1e-4)


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("turns", [0.05, 0.2, 0.35])
def test_a_slope_dephases_a_cell_as_the_average_over_it_does(axis: int, turns: float) -> None:
    """The phase of a slope, evenly spread over a cell: its mean is sin(x) / x, x half the phase."""
    te, field_t = 20.0, 3.0
    ramp = np.moveaxis(np.broadcast_to(np.arange(9.0), (4, 5, 9)), -1, axis)
    ppm = (ramp * turns / (42.577 * field_t * te / 1000)).astype(np.float32)
    left = np.exp(-te / 1000 * dephasing_rate(ppm, te, field_t))
    positions = np.linspace(-0.5, 0.5, 1001)
    expected = abs(np.exp(2j * np.pi * turns * positions).mean())
    assert left == pytest.approx(expected, abs=0.06 if axis < 2 else 0.02)


def test_an_echo_beyond_k_space_is_lost_in_plane_and_dephased_across_slices() -> None:
    ramp = np.broadcast_to(np.arange(9.0, dtype=np.float32)[:, None, None], (9, 9, 9))
    ppm = ramp * np.float32(0.7 / (42.577 * 3.0 * 0.020))  # 0.7 turns a cell
    lost = np.exp(-0.020 * dephasing_rate(np.ascontiguousarray(ppm), 20.0, 3.0))
    kept = np.exp(-0.020 * dephasing_rate(ppm.transpose(2, 1, 0).copy(), 20.0, 3.0))
    assert lost.max() < 1e-6 and kept.min() > 0.4
    assert not dephasing_rate(np.full((1, 3, 3), 0.7, np.float32), 20.0, 3.0).any()


def test_r2star_grows_with_the_field() -> None:
    assert decay_rate(50, 3.0) == pytest.approx(20.0)
    assert 10 < decay_rate(50, 1.5) < 20 < decay_rate(50, 7.0)


def test_tissue_recovers_faster_in_a_lower_field_and_fluid_does_not() -> None:
    """White matter, cortex and fluid at 1.5 T, Rooney et al. 2007, table 1: 0.65, 1.20, 4.3 s."""
    for at_3_t, at_1_5_t in ((850, 650), (1550, 1200), (4200, 4200)):
        assert recovery_time(at_3_t, 1.5) == pytest.approx(at_1_5_t, rel=0.05)
        assert recovery_time(at_3_t, 3.0) == pytest.approx(at_3_t)


def test_fluid_that_flows_in_is_not_saturated_and_tissue_stays_as_it_is() -> None:
    labels = np.array([[[2, 24, 4]]], np.int16)
    still, half, fresh = (
        tissue_maps(labels, 3.0, 600, 20, np.random.default_rng(0), share).amplitude[0, 0]
        for share in (0.0, 0.5, 1.0)
    )
    assert fresh[1:] == pytest.approx(np.sin(np.deg2rad(20)), rel=1e-5)
    assert half == pytest.approx((still + fresh) / 2) and still[0] == fresh[0]
    assert still[1] / fresh[1] == pytest.approx(0.72, rel=0.15)  # Ernst, T1 4200 ms


def test_bone_and_marrow_shift_the_field_once() -> None:
    """As part of what surrounds the brain, whatever a head's marrow is made of."""
    labels = np.array([[[515, 516]]], np.int16)
    for seed in range(40):
        maps = tissue_maps(labels, 3.0, 600, 20, np.random.default_rng(seed))
        assert not maps.local.any() and np.all(maps.outer < -9.4)


def test_maps_hold_every_label_and_air_is_silent() -> None:
    labels = np.array([[[0, 2, 3, 4, 13, 515, 507, 999]]], np.int16)
    maps = tissue_maps(labels, 3.0, 600, 20, np.random.default_rng(0))
    amplitude = maps.amplitude[0, 0]
    assert amplitude[0] == 0 and np.all(amplitude[1:] > 0)
    assert maps.outer[0, 0, 0] == 0 and np.all(maps.outer[0, 0, 1:] < -9)
    assert maps.local[0, 0, 4] > maps.local[0, 0, 1]  # iron of the pallidum
