"""Fields against closed forms."""

import numpy as np
import pytest
from scipy import ndimage

from microbleeds.simulate.susceptibility import dipole_kernel, field_shift, invert_dipole

B0 = np.array([0.0, 0.0, 1.0])


def ball(size: int, spacing: np.ndarray, radius: float) -> tuple[np.ndarray, list[np.ndarray]]:
    """A ball with a soft edge: outside, the field is that of a sharp one of the same moment."""
    axes = [(np.arange(size) - size // 2) * s for s in spacing]
    grid = np.meshgrid(*axes, indexing="ij")
    sharp = (sum(g**2 for g in grid) <= radius**2).astype(np.float32)
    return ndimage.gaussian_filter(sharp, 1.0 / spacing), grid


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (0.8, 0.8, 1.3)])
@pytest.mark.parametrize("tilt", [0.0, 35.0])
def test_sphere_matches_the_closed_form(spacing: tuple[float, ...], tilt: float) -> None:
    step = np.array(spacing)
    b0 = np.array([np.sin(np.deg2rad(tilt)), 0.0, np.cos(np.deg2rad(tilt))])
    chi, grid = ball(72, step, 6.0)
    radius = np.cbrt(chi.sum() * step.prod() * 3 / (4 * np.pi))
    field = field_shift(chi, step, b0, pad=40)
    r2 = sum(g**2 for g in grid)
    cosine2 = sum(g * b for g, b in zip(grid, b0, strict=True)) ** 2 / np.maximum(r2, 1e-9)
    expected = radius**3 / (3 * np.maximum(r2, 1) ** 1.5) * (3 * cosine2 - 1)
    outside = (r2 > 11**2) & (r2 < 22**2)
    assert np.abs(field - expected)[outside].max() < 0.03 * np.abs(expected[outside]).max()
    assert abs(field[r2 < 3**2].mean()) < 0.01  # Lorentz-corrected: none inside a sphere


def test_cylinder_across_the_field_matches_the_closed_form() -> None:
    step = np.full(3, 1.0)
    x, y = np.meshgrid(np.arange(96) - 48, np.arange(96) - 48, indexing="ij")
    disc = (x**2 + y**2 <= 6**2).astype(np.float32)
    chi = np.repeat(disc[:, None, :], 160, axis=1)  # axis along y, B0 along z
    field = field_shift(chi, step, B0, pad=30)[:, 80, :]
    radius2 = disc.sum() / np.pi
    r2 = np.maximum(x**2 + y**2, 1)
    cos2phi = (y**2 - x**2) / r2  # here the second index of the plane is z
    expected = radius2 / (2 * r2) * cos2phi
    ring = (r2 > 9**2) & (r2 < 20**2)
    assert np.abs(field - expected)[ring].max() < 0.05 * expected[ring].max()
    assert field[48, 48] == pytest.approx(-1 / 6, abs=0.02)  # 1/3 - 1/2


def test_cylinder_along_the_field_has_a_third_inside() -> None:
    x, y = np.meshgrid(np.arange(64) - 32, np.arange(64) - 32, indexing="ij")
    chi = np.repeat((x**2 + y**2 <= 25)[:, :, None].astype(np.float32), 200, axis=2)
    field = field_shift(chi, np.ones(3), B0, pad=20)[:, :, 100]
    assert field[32, 32] == pytest.approx(1 / 3, abs=0.02)
    assert abs(field[32, 48]) < 0.02


def test_kernel_is_a_third_across_and_minus_two_thirds_along() -> None:
    kernel = dipole_kernel((8, 8, 8), np.ones(3), B0)
    assert kernel[2, 0, 0] == pytest.approx(1 / 3)
    assert kernel[0, 0, 2] == pytest.approx(-2 / 3)
    assert kernel[0, 0, 0] == 0


def test_inversion_recovers_a_ball() -> None:
    step = np.ones(3)
    chi, _ = ball(64, step, 4.0)
    found = invert_dipole(field_shift(chi, step, B0, pad=0), step, B0, 0.1)
    assert found[32, 32, 32] == pytest.approx(1.0, abs=0.15)
    assert abs(found[32, 32, 50]) < 0.1
