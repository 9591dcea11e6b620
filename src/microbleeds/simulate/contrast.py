"""Heads of random contrast from label maps, to train a brain mask that fits any sequence.

The idea is SynthStrip's (Hoopes et al., NeuroImage 2022, section 3.2): draw shape, intensities and
artefacts far beyond the real, and what the network learns is anatomy. Three draws in four here
lie near real sequences (T2*, SWI, T1, QSM), because those are what the package is given.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.interpolate import make_interp_spline

from microbleeds.prepare.brain import SPACING_MM, unit_scale
from microbleeds.simulate.heads import AIR, CAVITY, Head, Tissue

Floats = NDArray[np.float32]
Shape = tuple[int, int, int]

# (lowest, highest) mean intensity of each tissue, on a scale where the brightest is about 1.
_Range = tuple[float, float]
_T2STAR: dict[Tissue, _Range] = {
    "white": (0.35, 0.55), "grey": (0.4, 0.65), "deep": (0.25, 0.6), "csf": (0.6, 1.0),
    "vessel": (0.05, 0.6), "bone": (0.0, 0.15), "marrow": (0.05, 0.5), "soft": (0.08, 0.6),
    "eye": (0.4, 1.0),
}  # fmt: skip
_SWI: dict[Tissue, _Range] = {
    "white": (0.5, 0.8), "grey": (0.5, 0.85), "deep": (0.3, 0.8), "csf": (0.4, 1.0),
    "vessel": (0.05, 0.5), "bone": (0.0, 0.2), "marrow": (0.05, 0.7), "soft": (0.1, 0.9),
    "eye": (0.3, 0.9),
}  # fmt: skip
_T1: dict[Tissue, _Range] = {
    "white": (0.65, 0.85), "grey": (0.4, 0.6), "deep": (0.5, 0.75), "csf": (0.05, 0.3),
    "vessel": (0.1, 0.9), "bone": (0.0, 0.2), "marrow": (0.3, 1.0), "soft": (0.3, 1.0),
    "eye": (0.1, 0.4),
}  # fmt: skip
_QSM: dict[Tissue, _Range] = {
    "white": (0.45, 0.5), "grey": (0.47, 0.54), "deep": (0.5, 0.75), "csf": (0.44, 0.53),
    "vessel": (0.55, 0.85), "bone": (0.2, 0.6), "marrow": (0.3, 0.7), "soft": (0.3, 0.7),
    "eye": (0.4, 0.6),
}  # fmt: skip
_MAGNITUDES = (_T2STAR, _T2STAR, _SWI, _T1)


@dataclass(frozen=True)
class _Picture:
    """A head on its way to becoming an example; all arrays of one shape, 2.5 mm RAS."""

    image: Floats
    labels: NDArray[np.uint8]
    mask: NDArray[np.bool_]


def random_head(
    head: Head, shape: Shape, rng: np.random.Generator
) -> tuple[Floats, NDArray[np.bool_]]:
    """One training example: image in [0, 1] and brain mask, both `shape`, on a 2.5 mm RAS grid.

    Now and then there is no head in it.
    """
    if rng.random() < 0.06:
        return unit_scale(_bottles(shape, rng)), np.zeros(shape, bool)
    picture = _deform(head, shape, rng)
    qsm = rng.random() < 0.12
    picture = _paint(head, picture, qsm, rng)
    picture = _spoil(picture, qsm, rng)
    picture = _acquire(picture, qsm, rng)
    picture = _cut(picture, qsm, rng)
    image = unit_scale(picture.image)
    if rng.random() < 0.5:
        image = image ** np.float32(np.exp(rng.normal(0, 0.3)))
    return image, picture.mask


def smooth_noise(shape: Shape, knots: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """Standard normal values on `knots`³ points, joined by cubic splines to `shape`."""
    at = np.linspace(0, 1, knots)
    x, y, z = (
        make_interp_spline(at, np.eye(knots), k=min(3, knots - 1))(np.linspace(0, 1, n))
        for n in shape
    )
    values = rng.standard_normal((knots, knots, knots))
    field: NDArray[np.float64] = np.einsum("ia,jb,kc,abc->ijk", x, y, z, values, optimize=True)
    return field


def _deform(head: Head, shape: Shape, rng: np.random.Generator) -> _Picture:
    """Random pose, size, elastic deformation and field of view."""
    angles = np.radians(rng.uniform(-20, 20, 3))
    matrix = np.diag(rng.uniform(0.87, 1.18, 3)) + rng.uniform(-0.08, 0.08, (3, 3))
    for axis, angle in enumerate(angles):
        i, j = (axis + 1) % 3, (axis + 2) % 3
        turn = np.eye(3)
        cos, sin = np.cos(angle), np.sin(angle)
        turn[[i, i, j, j], [i, j, i, j]] = cos, -sin, sin, cos
        matrix = matrix @ turn
    matrix[:, 0] *= rng.choice([-1, 1])
    middle = np.array(head.brain_centre) + rng.uniform((-16, -20, -34), (16, 20, 16))
    knots, strength = int(rng.integers(3, 9)), rng.uniform(0, 1)
    ticks = [(np.arange(n) - (n - 1) / 2) * SPACING_MM for n in shape]
    inside = np.ones(shape, bool)
    index = np.zeros(shape, np.intp)
    for axis in range(3):
        x, y, z = (matrix[axis, k] * ticks[k] for k in range(3))
        at = middle[axis] + x[:, None, None] + y[:, None] + z
        at += smooth_noise(shape, knots, rng) * (strength * 16 / knots)
        voxel = np.rint(at).astype(np.intp)
        inside &= (voxel >= 0) & (voxel < head.labels.shape[axis])
        index = index * head.labels.shape[axis] + voxel
    index[~inside] = 0
    labels = np.where(inside, head.labels.ravel()[index], AIR).astype(np.uint8)
    mask = head.mask.ravel()[index] & inside
    return _Picture(np.zeros(shape, np.float32), labels, mask)


def _paint(head: Head, picture: _Picture, qsm: bool, rng: np.random.Generator) -> _Picture:
    """A mean and a spread for every label, texture, partial volume."""
    count = len(head.tissues)
    mean = rng.uniform(0, 1, count)
    if qsm or rng.random() < 0.75:
        prior = _QSM if qsm else _MAGNITUDES[rng.integers(len(_MAGNITUDES))]
        # One draw a tissue, so that its labels differ by little.
        drawn = {tissue: rng.uniform(*span) for tissue, span in prior.items()}
        mean = np.array([drawn.get(tissue, 0.0) for tissue in head.tissues])
        mean += rng.normal(0, 0.03, count)
    spread = rng.uniform(0, 0.03 if qsm else 0.08, count)
    grain = rng.uniform(0, 0.6, count) * np.array([t in ("soft", "marrow") for t in head.tissues])
    air = 0.5 if qsm else (rng.uniform(0, 1) if rng.random() < 0.05 else rng.uniform(0, 0.03))
    mean[[AIR, CAVITY]], spread[[AIR, CAVITY]] = air, rng.uniform(0, 0.02)
    labels, shape = picture.labels, picture.labels.shape
    image = mean.astype(np.float32)[labels]
    image += spread.astype(np.float32)[labels] * rng.standard_normal(shape, np.float32)
    texture = smooth_noise(shape, int(rng.integers(8, 25)), rng).astype(np.float32)
    image *= 1 + grain.astype(np.float32)[labels] * texture
    image = ndimage.gaussian_filter(image, rng.uniform(0.3, 0.9))
    return replace(picture, image=image)


def _spoil(picture: _Picture, qsm: bool, rng: np.random.Generator) -> _Picture:
    """Bias field and the signal lost beside the air of sinuses and ear canals."""
    image = picture.image
    if qsm:
        return replace(picture, image=image)
    bias = smooth_noise(image.shape, int(rng.integers(2, 5)), rng) * rng.uniform(0, 0.35)
    image = image * np.exp(bias).astype(np.float32)
    if rng.random() < 0.6:
        near = ndimage.gaussian_filter(
            (picture.labels == CAVITY).astype(np.float32), rng.uniform(2, 5), truncate=2.5
        )
        patchy = np.exp(smooth_noise(image.shape, 7, rng)).astype(np.float32)
        image = image * np.exp(-rng.uniform(2, 25) * near * patchy)
    return replace(picture, image=image)


def _acquire(picture: _Picture, qsm: bool, rng: np.random.Generator) -> _Picture:
    """Thick slices and noise."""
    image = picture.image
    if rng.random() < 0.65:
        axis = int(rng.choice(3, p=(0.15, 0.15, 0.7)))
        image = thick_slices(image, axis, rng.uniform(1, 3.5), rng.uniform(0, 1))
    noise = rng.uniform(0, 0.025 if qsm else 0.07) * (rng.random() < 0.8)
    image = image + np.float32(noise) * rng.standard_normal(image.shape, np.float32)
    return replace(picture, image=image if qsm else np.abs(image))


def thick_slices(image: Floats, axis: int, thickness: float, offset: float) -> Floats:
    """`image` as seen through slices `thickness` voxels thick along `axis`, on its own grid."""
    count = image.shape[axis]
    whole = ndimage.uniform_filter1d(image, max(1, round(thickness)), axis=axis)
    centres = np.arange(offset * thickness, count, thickness)
    slices = np.take(whole, np.minimum(np.rint(centres), count - 1).astype(int), axis=axis)
    at = np.clip((np.arange(count) - centres[0]) / thickness, 0, len(centres) - 1)
    lower = np.minimum(at.astype(int), max(len(centres) - 2, 0))
    weight = np.expand_dims((at - lower).astype(np.float32), [k for k in range(3) if k != axis])
    upper = np.minimum(lower + 1, len(centres) - 1)
    below, above = np.take(slices, lower, axis), np.take(slices, upper, axis)
    return below + weight * (above - below)  # type: ignore[no-any-return]


def _bottles(shape: Shape, rng: np.random.Generator) -> Floats:
    """Noise, signed or not, at times with even ellipsoids in it such as phantoms are."""
    image = rng.standard_normal(shape, np.float32) * np.float32(rng.uniform(0.01, 0.3))
    axes = np.indices(shape, np.float32)
    for _ in range(rng.integers(0, 3)):
        centre, radii = rng.uniform(0.3, 0.7, 3) * shape, rng.uniform(0.1, 0.5, 3) * shape
        scaled = (axes - centre[:, None, None, None]) / radii[:, None, None, None]
        image += np.float32(rng.uniform(0.2, 1)) * (np.square(scaled).sum(axis=0) < 1)
    bias = np.exp(smooth_noise(shape, 3, rng) * rng.uniform(0, 0.3)).astype(np.float32)
    image = image * bias
    return image if rng.random() < 0.3 else np.abs(image)


def _cut(picture: _Picture, qsm: bool, rng: np.random.Generator) -> _Picture:
    """Set exact zeros as software does: stripped, de-faced, background removed, slab cut."""
    keep = np.ones(picture.mask.shape, bool)
    if rng.random() < (0.7 if qsm else 0.27):
        keep &= _strip(picture.mask, rng)
    else:
        if rng.random() < 0.35:
            keep &= ~_face(picture.mask, rng)
        if rng.random() < 0.4:
            keep &= picture.labels != AIR
    if rng.random() < 0.5:
        axis = int(rng.choice(3, p=(0.1, 0.1, 0.8)))
        low, high = rng.uniform(-0.2, 0.35), rng.uniform(0.65, 1.2)
        at = np.linspace(0, 1, keep.shape[axis])
        keep &= np.expand_dims((at >= low) & (at <= high), [k for k in range(3) if k != axis])
    # QSM is zero where it is not computed, and zero lies in the middle of its values.
    image = np.where(keep, picture.image - (0.5 if qsm else 0), 0).astype(np.float32)
    return replace(picture, image=image, mask=picture.mask & keep)


def _strip(mask: NDArray[np.bool_], rng: np.random.Generator) -> NDArray[np.bool_]:
    """The brain as another tool cut it out: some mm too wide or too narrow, in places."""
    soft = ndimage.gaussian_filter(mask.astype(np.float32), 1.5)
    level = 0.5 + rng.uniform(-0.45, 0.25) + 0.12 * smooth_noise(mask.shape, 6, rng)
    stripped: NDArray[np.bool_] = soft > np.clip(level, 0.03, 0.85)
    return stripped


def _face(mask: NDArray[np.bool_], rng: np.random.Generator) -> NDArray[np.bool_]:
    """The half-space in front of and below the brain that de-facing removes."""
    steep = rng.uniform(0, 1.2)
    y, z = (np.arange(n, dtype=np.float32) for n in mask.shape[1:])
    forward = np.cos(steep) * y[:, None] - np.sin(steep) * z
    covered = mask.any(axis=0)
    edge = forward[covered].max() if covered.any() else 0.0
    return np.broadcast_to(forward > edge + rng.uniform(1, 20), mask.shape)
