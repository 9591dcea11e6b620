"""The scanner: protocol, k-space, coils, noise, and the three kinds of image made of it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import fft, ndimage

from microbleeds.simulate.signal import GYROMAGNETIC_MHZ_PER_T

READOUT_MS = 5.0  # and what else comes between an echo and the next excitation
FILLED_MM = 1.2  # slices of 3D scans that are thicker are often zero-filled to half of that
TRUSTED = 0.4  # of the brain's median magnitude: the phase of brighter voxels is taken as it is
FILLED_FROM_MM = 1.0  # how far around a dark voxel its phase is taken from


@dataclass(frozen=True)
class Protocol:
    """How a scan is acquired. Lengths in mm, times in ms, angles in degrees."""

    field_t: float = 3.0
    te_ms: float = 20.0
    tr_ms: float = 650.0
    flip_deg: float = 20.0
    acquired_mm: float = 0.9  # in-plane resolution of the acquisition
    pixel_mm: float = 0.9  # in-plane spacing of the image: zero-filled when finer
    slice_mm: float = 3.0  # distance between slices as acquired
    slice_fill: int = 1  # images a slice: more where zero-filling adds some in between
    gap: float = 0.0  # share of that distance which is not excited
    snr: float = 40.0  # of brain tissue
    partial_fourier: float = 1.0
    k_filter: float = 0.2  # share of k-space that the taper covers (Tukey)
    motion_mm: float = 0.0
    fresh_fluid: float = 0.0  # share of the fluid that flowed in since the excitation before
    tilt_deg: tuple[float, float] = (0.0, 0.0)  # of the slices about the scanner's x and y


def random_protocol(rng: np.random.Generator, volume: bool = False) -> Protocol:
    """A protocol such as clinics, trials and biobanks use, 1.5 or 3 T: two thirds in 2D slices.

    volume: 3D for certain, as SWI and susceptibility maps are acquired (Haacke et al. 2009,
    "Susceptibility-weighted imaging: technical aspects and clinical applications, part 1").
    """
    field_t = float(rng.choice([1.5, 3.0], p=[0.4, 0.6]))
    slices_2d = rng.random() < 0.65 and not volume
    acquired = rng.uniform(0.45 if slices_2d else 0.5, 1.1)
    te = rng.uniform(18, 32) if slices_2d else rng.uniform(18, 26)
    te *= 1.3 if field_t < 2 else 0.9
    tr = rng.uniform(400, 1500) if slices_2d else rng.uniform(25, 60)
    slice_mm = rng.uniform(2.5, 5.0) if slices_2d else rng.uniform(0.8, 3.0)
    filled = not slices_2d and slice_mm > FILLED_MM and rng.random() < 0.4
    return Protocol(
        field_t=field_t,
        te_ms=float(te),
        tr_ms=float(max(tr, te + READOUT_MS)),
        flip_deg=float(rng.uniform(8, 28) if slices_2d else rng.uniform(8, 22)),
        acquired_mm=float(acquired),
        pixel_mm=float(max(0.4, acquired * rng.choice([1.0, rng.uniform(0.5, 1.0)]))),
        slice_mm=float(slice_mm),
        slice_fill=2 if filled else 1,
        gap=float(rng.choice([0.0, rng.uniform(0, 0.2)]) if slices_2d else 0.0),
        snr=float(np.exp(rng.uniform(np.log(12), np.log(70)))),
        partial_fourier=float(rng.choice([1.0, rng.uniform(0.7, 1.0)])),
        k_filter=float(rng.uniform(0.0, 0.6)),
        # More than half a voxel, and a scan is unreadable and taken again.
        motion_mm=float(rng.choice([0.0, rng.uniform(0, 0.5) * acquired], p=[0.7, 0.3])),
        # Fluid pulsates through a slice between two excitations, and shines; hardly through a slab.
        fresh_fluid=float(rng.uniform(0, 0.8)) if slices_2d else 0.0,
        tilt_deg=(float(rng.normal(0, 8)), float(rng.normal(0, 4))),
    )


def slice_weights(count: int, gap: float) -> NDArray[np.float32]:
    """Excitation of the `count` cells across one slice, (count,), smooth-edged, summing to 1.

    gap: share of the distance between slices that is not excited.
    """
    position = (np.arange(count) + 0.5) / count - 0.5
    profile = 1 / (1 + np.exp((np.abs(position) - 0.5 * (1 - gap)) / 0.04)) + 1e-3
    weights: NDArray[np.float32] = (profile / profile.sum()).astype(np.float32)
    return weights


@dataclass(frozen=True)
class Encoding:
    """What happens to every slice in k-space, and the (X, Y) shape of the image.

    transfer: factors on the acquired k-space, zero frequency in the middle; 0 where not sampled.
    slice_fill: images that zero-filling makes of each slice.
    """

    transfer: NDArray[np.complex64]
    image_shape: tuple[int, int]
    slice_fill: int = 1


def encoding(
    fine_shape: tuple[int, int], fine_mm: float, protocol: Protocol, rng: np.random.Generator
) -> Encoding:
    """Truncation, partial Fourier, Tukey taper and line-wise motion as one transfer function.

    fine_shape, fine_mm: in-plane size and spacing of the object. Lines lie along x, in order of y.
    """
    kept = tuple(min(n, round(n * fine_mm / protocol.acquired_mm)) for n in fine_shape)
    image = tuple(
        max(k, round(n * fine_mm / protocol.pixel_mm))
        for k, n in zip(kept, fine_shape, strict=True)
    )
    taper = [_tukey(n, protocol.k_filter) for n in kept]
    transfer = (taper[0][:, None] * taper[1][None, :]).astype(np.complex64)
    transfer[:, np.arange(kept[1]) > protocol.partial_fourier * kept[1]] = 0
    if protocol.motion_mm:
        k = [(np.arange(n) - n // 2) / (m * fine_mm) for n, m in zip(kept, fine_shape, strict=True)]
        transfer = transfer * _motion(k[0], k[1], protocol.motion_mm, rng)
    return Encoding(transfer, (image[0], image[1]), protocol.slice_fill)


def _tukey(count: int, share: float) -> NDArray[np.float64]:
    """Window over `count` centred samples: 1, with cosine edges over `share` of each half."""
    position = np.abs((np.arange(count) - count // 2) / (count / 2))
    edge = 0.5 + 0.5 * np.cos(np.pi * (position - 1 + share) / max(share, 1e-3))
    return np.where(position < 1 - share, 1, edge)


def _motion(
    kx: NDArray[np.float64], ky: NDArray[np.float64], sd_mm: float, rng: np.random.Generator
) -> NDArray[np.complex64]:
    """Phase (X, Y) in k-space (1/mm) of a head that jerks to a new place about six times."""
    lines = len(ky)
    jerks = np.cumsum(rng.random(lines) < 6 / lines)
    shift = rng.normal(0, sd_mm, (jerks[-1] + 1, 2))[jerks]
    shift -= shift[lines // 2]  # the centre of k-space says where the head is
    turn = kx[:, None] * shift[None, :, 0] + (ky * shift[:, 1])[None, :]
    phase: NDArray[np.complex64] = np.exp(2j * np.pi * turn).astype(np.complex64)
    return phase


def acquire(
    slices: NDArray[np.complex64],
    code: Encoding,
    noise: float = 0,
    rng: np.random.Generator | None = None,
) -> NDArray[np.complex64]:
    """Image of slice-averaged signal (Xf, Yf, Z) through the encoding: (X, Y, Z * fill) complex.

    noise: standard deviation of the real and of the imaginary part; without `rng` there is none.
    """
    kept = code.transfer.shape
    spectrum = fft.fftshift(fft.fft2(slices, axes=(0, 1), workers=2), axes=(0, 1))
    low = [n // 2 - k // 2 for n, k in zip(slices.shape, kept, strict=False)]
    spectrum = spectrum[low[0] : low[0] + kept[0], low[1] : low[1] + kept[1]]
    scale = np.prod(code.image_shape) / (slices.shape[0] * slices.shape[1])
    spectrum = spectrum * (code.transfer[:, :, None] * np.float32(scale))
    if rng is not None:
        sd = (
            noise
            * np.sqrt(np.prod(code.image_shape))
            * np.sqrt(np.prod(code.image_shape) / np.prod(kept))
        )
        draw = rng.standard_normal((*spectrum.shape, 2), np.float32) * np.float32(sd)
        # Unsampled lines stay empty, so noise has the correlation that zero-filling gives it.
        spectrum += draw.view(np.complex64)[..., 0] * (np.abs(code.transfer) > 0)[:, :, None]
    kept = spectrum.shape
    wanted = (*code.image_shape, kept[2] * code.slice_fill)
    if code.slice_fill > 1:
        spectrum = fft.fftshift(fft.fft(spectrum, axis=2, workers=2), axes=2) * code.slice_fill
    full = np.zeros(wanted, np.complex64)
    start = [n // 2 - k // 2 for n, k in zip(wanted, kept, strict=True)]
    full[tuple(slice(low, low + k) for low, k in zip(start, kept, strict=True))] = spectrum
    axes = (0, 1, 2) if code.slice_fill > 1 else (0, 1)
    image: NDArray[np.complex64] = fft.ifftn(fft.ifftshift(full, axes=axes), axes=axes, workers=2)
    return image


def susceptibility_weighted(
    image: NDArray[np.complex64], filter_size: float = 0.15, power: int = 4
) -> NDArray[np.float32]:
    """SWI: magnitude times the phase mask to a power (Haacke et al. 2004).

    image: (X, Y, Z) complex. filter_size: share of k-space kept by the low-pass (homodyne) filter.
    """
    window = [fft.ifftshift(_hann(n, filter_size)) for n in image.shape[:2]]
    low = fft.ifft2(
        fft.fft2(image, axes=(0, 1), workers=2) * (window[0][:, None] * window[1])[:, :, None],
        axes=(0, 1), workers=2,
    )  # fmt: skip
    phase = np.angle(image * np.conj(low))
    mask = np.clip(1 - phase / np.pi, 0, 1)
    weighted: NDArray[np.float32] = (np.abs(image) * mask**power).astype(np.float32)
    return weighted


def _hann(count: int, share: float) -> NDArray[np.float32]:
    position = np.abs((np.arange(count) - count // 2) / (count / 2 * share))
    return np.where(position < 1, 0.5 + 0.5 * np.cos(np.pi * position), 0).astype(np.float32)


def field_from_phase(
    image: NDArray[np.complex64], te_ms: float, field_t: float
) -> NDArray[np.float32]:
    """Field in ppm from the phase of a background-free complex image, not unwrapped."""
    field: NDArray[np.float32] = np.angle(image) / np.float32(
        2 * np.pi * GYROMAGNETIC_MHZ_PER_T * field_t * te_ms / 1000
    )
    return field


def trusted_field(
    field: NDArray[np.float32], image: NDArray[np.complex64], voxel: NDArray[np.float64]
) -> NDArray[np.float32]:
    """The field (X, Y, Z) with that of dark voxels taken from the bright ones around them.

    The phase of a void, as in fast arteries, is noise, and one voxel of it would throw streaks
    across the map. Inversions weigh each voxel by its magnitude (de Rochefort et al. 2010, Magn.
    Reson. Med. 63:194) and so leave it to its neighbours; this does the same beforehand.
    image: complex, (X, Y, Z), 0 where the field is not known. voxel: (3,) mm.
    """
    bright = np.abs(image)
    known = bright > 0
    if not known.any():
        return field
    weight = np.clip(bright / np.float32(TRUSTED * np.median(bright[known])), 0, 1) ** 2
    sigma = FILLED_FROM_MM / voxel
    around = ndimage.gaussian_filter(field * weight, sigma)
    around /= np.maximum(ndimage.gaussian_filter(weight, sigma), np.float32(1e-3))
    filled: NDArray[np.float32] = weight * field + (1 - weight) * around
    return filled


def coil_shading(shape: tuple[int, int, int], rng: np.random.Generator) -> NDArray[np.float32]:
    """Smooth receive sensitivity (X, Y, Z) around 1."""
    knots = np.exp(rng.normal(0, rng.uniform(0, 0.3), (4, 4, 3)))
    zoom = [n / k for n, k in zip(shape, knots.shape, strict=True)]
    shading: NDArray[np.float32] = ndimage.zoom(
        knots.astype(np.float32), zoom, order=1, grid_mode=True, mode="nearest"
    )
    return shading
