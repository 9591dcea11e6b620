"""Susceptibility to field and back: the dipole kernel in Fourier space."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import fft


def dipole_kernel(
    shape: tuple[int, int, int], spacing: NDArray[np.float64], b0: NDArray[np.float64]
) -> NDArray[np.float32]:
    """Unit dipole response 1/3 - (k.b0)²/k² on the half-complex grid of `rfftn(shape)`.

    spacing: voxel size in mm, (3,). b0: unit vector of the main field in voxel axes, (3,).
    Source: Salomir et al. 2003; Marques & Bowtell 2005 (Lorentz-corrected, zero at k = 0).
    """
    k = [
        fft.fftfreq(shape[0], spacing[0])[:, None, None],
        fft.fftfreq(shape[1], spacing[1])[None, :, None],
        fft.rfftfreq(shape[2], spacing[2])[None, None, :],
    ]
    k0, k1, k2 = (component.astype(np.float32) for component in k)
    along = np.float32(b0[0]) * k0 + np.float32(b0[1]) * k1 + np.float32(b0[2]) * k2
    square = k0 * k0 + k1 * k1 + k2 * k2
    square[0, 0, 0] = 1
    kernel: NDArray[np.float32] = np.float32(1 / 3) - along * along / square
    kernel[0, 0, 0] = 0
    return kernel


def field_shift(
    susceptibility: NDArray[np.float32],
    spacing: NDArray[np.float64],
    b0: NDArray[np.float64],
    pad: int = 16,
) -> NDArray[np.float32]:
    """Relative field shift in ppm of a susceptibility map in ppm, both (X, Y, Z).

    `pad` voxels of zeros on each side keep the periodic images of the sources away.
    """
    shape = _fft_shape(susceptibility.shape, 2 * pad)
    spectrum = fft.rfftn(susceptibility, shape, workers=2)
    spectrum *= dipole_kernel(shape, spacing, b0)
    field: NDArray[np.float32] = fft.irfftn(spectrum, shape, workers=2)
    x, y, z = susceptibility.shape
    return field[:x, :y, :z]


def invert_dipole(
    field: NDArray[np.float32],
    spacing: NDArray[np.float64],
    b0: NDArray[np.float64],
    threshold: float = 0.15,
) -> NDArray[np.float32]:
    """Susceptibility in ppm from the field in ppm by thresholded k-space division.

    Its streaks are those of real maps. Source: Shmueli et al. 2009.
    """
    shape = _fft_shape(field.shape, 8)
    kernel = dipole_kernel(shape, spacing, b0)
    inverse = np.sign(kernel) / np.maximum(np.abs(kernel), np.float32(threshold))
    inverse[0, 0, 0] = 0
    susceptibility: NDArray[np.float32] = fft.irfftn(
        fft.rfftn(field, shape, workers=2) * inverse, shape, workers=2
    )
    x, y, z = field.shape
    return susceptibility[:x, :y, :z]


def _fft_shape(shape: tuple[int, ...], more: int) -> tuple[int, int, int]:
    """Fast odd lengths: an even one has a Nyquist line, where an oblique kernel is ambiguous."""

    def length(n: int) -> int:
        n |= 1
        while fft.next_fast_len(n, real=True) != n:
            n += 2
        return n

    x, y, z = (length(n + more) for n in shape)
    return x, y, z
