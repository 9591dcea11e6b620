import numpy as np
import pytest

from microbleeds.simulate.scanner import (
    Protocol,
    acquire,
    encoding,
    field_from_phase,
    random_protocol,
    slice_weights,
    susceptibility_weighted,
    trusted_field,
)


def noiseless(image: np.ndarray, protocol: Protocol, fine_mm: float = 0.5) -> np.ndarray:
    code = encoding(image.shape[:2], fine_mm, protocol, np.random.default_rng(0))
    return acquire(image.astype(np.complex64), code, 0, None)


def test_full_sampling_gives_the_image_back() -> None:
    image = np.random.default_rng(0).normal(size=(40, 36, 3))
    protocol = Protocol(acquired_mm=0.5, pixel_mm=0.5, k_filter=0.0)
    assert noiseless(image, protocol).real == pytest.approx(image, abs=1e-4)


def test_truncation_rings_as_gibbs_said() -> None:
    edge = np.zeros((128, 8, 1))
    edge[32:96] = 1
    protocol = Protocol(acquired_mm=2.0, pixel_mm=0.5, k_filter=0.0)
    overshoot = np.abs(noiseless(edge, protocol)).max() - 1
    assert overshoot == pytest.approx(0.09, abs=0.02)  # 8.95 % of the step


def test_zero_filling_and_binning_keep_the_mean() -> None:
    image = np.random.default_rng(0).random((60, 50, 2))
    for acquired, pixel in ((1.0, 1.0), (1.0, 0.5), (0.7, 0.4)):
        protocol = Protocol(acquired_mm=acquired, pixel_mm=pixel)
        assert noiseless(image, protocol).real.mean() == pytest.approx(image.mean(), rel=1e-3)


def test_zero_filled_slices_keep_those_acquired_and_follow_a_wave_in_between() -> None:
    """Of a wave along the slices Fourier interpolation knows every value."""
    depth = np.arange(12)
    image = np.ones((8, 6, 1)) + 0.5 * np.cos(2 * np.pi * 3 * depth / 12 + 0.4)
    protocol = Protocol(acquired_mm=0.5, pixel_mm=0.5, k_filter=0.0, slice_fill=2)
    filled = noiseless(image, protocol).real
    assert filled.shape == (8, 6, 24)
    assert filled[..., ::2] == pytest.approx(image, abs=1e-4)
    halves = 1 + 0.5 * np.cos(2 * np.pi * 3 * (depth + 0.5) / 12 + 0.4)
    assert filled[..., 1::2] == pytest.approx(np.broadcast_to(halves, (8, 6, 12)), abs=1e-4)


def test_zero_filled_slices_have_the_asked_noise() -> None:
    protocol = Protocol(acquired_mm=0.5, pixel_mm=0.5, k_filter=0.0, slice_fill=2)
    rng = np.random.default_rng(1)
    empty = acquire(
        np.zeros((64, 64, 8), np.complex64), encoding((64, 64), 0.5, protocol, rng), 2.0, rng
    )
    assert empty.real.std() == pytest.approx(2.0, rel=0.03)


def test_noise_has_the_asked_standard_deviation_and_rician_background() -> None:
    protocol = Protocol(acquired_mm=0.5, pixel_mm=0.5, k_filter=0.0)
    rng = np.random.default_rng(1)
    code = encoding((64, 64), 0.5, protocol, rng)
    empty = acquire(np.zeros((64, 64, 8), np.complex64), code, 2.0, rng)
    assert empty.real.std() == pytest.approx(2.0, rel=0.03)
    assert np.abs(empty).mean() == pytest.approx(2.0 * np.sqrt(np.pi / 2), rel=0.03)


def test_slice_profile_sums_to_one_and_a_gap_narrows_it() -> None:
    full, gapped = slice_weights(8, 0.0), slice_weights(8, 0.4)
    assert full.sum() == pytest.approx(1) and gapped.sum() == pytest.approx(1)
    assert gapped[0] < 0.2 * full[0]


def test_swi_darkens_positive_phase_only() -> None:
    image = np.ones((64, 64, 1), np.complex64)
    image[30:32, 30:32] = np.exp(1.2j)
    image[40:42, 40:42] = np.exp(-1.2j)
    weighted = susceptibility_weighted(image, 0.1, 4)
    assert weighted[30, 30, 0] < 0.4 < 0.9 < weighted[40, 40, 0]


def test_field_from_phase_inverts_the_phase() -> None:
    field = np.full((3, 3, 3), 0.2)
    image = np.exp(2j * np.pi * 42.577 * 3.0 * 0.008 * field)
    assert field_from_phase(image, 8.0, 3.0) == pytest.approx(field, rel=1e-5)


def test_the_field_of_dark_voxels_is_that_of_the_bright_ones_around() -> None:
    """A slope of 0.01 ppm a voxel with two voids in it, whose phase is anything."""
    slope = np.broadcast_to(np.arange(40, dtype=np.float32)[:, None, None] / 100, (40, 20, 20))
    field, image = slope.copy(), np.full(slope.shape, 80, np.complex64)
    field[20, 10, 10], field[10, 10, 10] = 2.0, -2.0
    image[20, 10, 10], image[10, 10, 10] = 1.0, 0.0
    trusted = trusted_field(field, image, np.array([1.0, 1.0, 1.0]))
    bright = np.abs(image) > 40
    assert np.array_equal(trusted[bright], slope[bright])
    assert trusted == pytest.approx(slope, abs=0.005)


def test_a_field_without_any_signal_stays_as_it_is() -> None:
    field, nothing = np.ones((4, 4, 4), np.float32), np.zeros((4, 4, 4), np.complex64)
    assert np.array_equal(trusted_field(field, nothing, np.ones(3)), field)


def test_protocols_are_reproducible_and_within_the_clinic() -> None:
    assert random_protocol(np.random.default_rng(5)) == random_protocol(np.random.default_rng(5))
    for seed in range(50):
        p = random_protocol(np.random.default_rng(seed))
        assert 0.4 <= p.pixel_mm <= p.acquired_mm <= 1.1 and 0.8 <= p.slice_mm <= 5
        assert p.slice_fill == 1 or p.slice_mm > 1.2
        p = random_protocol(np.random.default_rng(seed), volume=True)
        assert 0.8 <= p.slice_mm <= 3 and p.gap == 0  # a slab has no gaps
        assert p.te_ms < p.tr_ms
