"""Veins, arteries and perivascular spaces as random guided walks, drawn as tubes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from microbleeds.simulate import anatomy as an

STEP_MM = 0.3


@dataclass(frozen=True)
class Tubes:
    """Points along vessels: centres (N, 3) in mm on the 1 mm anatomy grid, radii (N,) in mm."""

    centres: NDArray[np.float32]
    radii: NDArray[np.float32]


def walk(
    starts: NDArray[np.float64],
    directions: NDArray[np.float64],
    lengths_mm: NDArray[np.float64],
    radii_mm: NDArray[np.float64],
    guide: NDArray[np.float32] | None,
    rng: np.random.Generator,
    wander: float = 0.12,
    pull: float = 0.6,
) -> Tubes:
    """Walk all vessels side by side; `guide` (X, Y, Z) is climbed, so that they stay in it."""
    if not len(starts):
        return Tubes(np.zeros((0, 3), np.float32), np.zeros(0, np.float32))
    slopes = [] if guide is None else np.gradient(guide)
    points, radii = [], []
    position, heading = starts.copy(), _unit(directions)
    for step in range(int(lengths_mm.max() / STEP_MM)):
        alive = step * STEP_MM < lengths_mm
        position, heading = position[alive], heading[alive]
        lengths_mm, radii_mm = lengths_mm[alive], radii_mm[alive]
        slope = np.zeros_like(position)
        for axis, component in enumerate(slopes):
            slope[:, axis] = ndimage.map_coordinates(component, position.T, order=1, mode="nearest")
        heading = _unit(heading + pull * slope + rng.normal(0, wander, position.shape))
        position = position + STEP_MM * heading
        taper = 1 - 0.5 * step * STEP_MM / lengths_mm
        points.append(position)
        radii.append(radii_mm * taper)
    return Tubes(np.concatenate(points).astype(np.float32), np.concatenate(radii).astype(np.float32))


def veins(labels: NDArray[np.int16], rng: np.random.Generator) -> Tubes:
    """Sulcal veins with branches, medullary, subependymal and striate veins, the sagittal sinus."""
    csf = an.select(labels, (*an.CSF, an.FALX))
    wet = ndimage.gaussian_filter(csf.astype(np.float32), 1.2)
    cortex = an.select(labels, an.CORTEX + an.CEREBELLUM_CORTEX)
    white = an.select(labels, an.WHITE)
    inner = _wide_blur(an.select(labels, an.VENTRICLES), 8.0)
    amount = rng.uniform(0.5, 1.5)

    sulcal = _starts(ndimage.binary_dilation(cortex) & csf, int(110 * amount), rng)
    n = len(sulcal)
    trunk = walk(
        sulcal, rng.normal(size=(n, 3)), rng.uniform(10, 50, n), rng.lognormal(-1.0, 0.45, n), wet, rng
    )
    m = int(150 * amount)
    pick = rng.integers(0, len(trunk.radii), m)
    branch = walk(
        trunk.centres[pick].astype(float), rng.normal(size=(m, 3)), rng.uniform(4, 20, m),
        trunk.radii[pick] * rng.uniform(0.4, 0.9, m), wet, rng, wander=0.2, pull=0.4,
    )  # fmt: skip
    near = white & (inner > 0.01)
    medullary = _starts(near, int(170 * amount), rng)
    m = len(medullary)
    deep = walk(
        medullary, _gradient_at(inner, medullary), rng.uniform(5, 25, m),
        rng.uniform(0.08, 0.4, m), inner * 20, rng, wander=0.06,
    )  # fmt: skip
    penetrating = _starts(ndimage.binary_dilation(cortex) & white, int(150 * amount), rng)
    m = len(penetrating)
    cortical = walk(
        penetrating, -_gradient_at(wet, penetrating), rng.uniform(3, 15, m),
        rng.uniform(0.1, 0.4, m), None, rng, wander=0.06,
    )  # fmt: skip
    wall = _starts(ndimage.binary_dilation(an.select(labels, an.VENTRICLES)) & white, 25, rng)
    m = len(wall)
    edge = ndimage.gaussian_filter(an.select(labels, an.VENTRICLES).astype(np.float32), 1.5)
    subependymal = walk(
        wall, rng.normal(size=(m, 3)), rng.uniform(10, 40, m), rng.uniform(0.3, 0.9, m),
        -np.abs(edge - 0.4), rng, pull=1.0,
    )  # fmt: skip
    nuclei = _starts(an.select(labels, an.STRIATUM + an.PALLIDUM), int(rng.uniform(0, 120)), rng)
    m = len(nuclei)
    striate = walk(
        nuclei, rng.normal(size=(m, 3)) + [0, 0, 2], rng.uniform(3, 15, m), rng.uniform(0.08, 0.3, m),
        None, rng,
    )  # fmt: skip
    return join(trunk, branch, deep, cortical, subependymal, striate, _sinus(labels, rng))


def arteries(labels: NDArray[np.int16], rng: np.random.Generator) -> Tubes:
    """Arteries in the cisterns and fissures: deep CSF, away from the convexity."""
    csf = an.select(labels, (*an.CSF, an.FALX))
    wet = ndimage.gaussian_filter(csf.astype(np.float32), 1.5)
    depth = _wide_blur(an.select(labels, (*an.TISSUE, *an.CSF, an.FALX, *an.VENTRICLES)), 8.0)
    starts = _starts(csf & (depth > rng.uniform(0.65, 0.85)), int(rng.uniform(40, 220)), rng)
    n = len(starts)
    return walk(
        starts, rng.normal(size=(n, 3)), rng.uniform(8, 45, n), rng.uniform(0.35, 1.4, n), wet, rng
    )


def perivascular_spaces(labels: NDArray[np.int16], rng: np.random.Generator) -> Tubes:
    """CSF-filled channels in white matter and basal ganglia."""
    starts = _starts(an.select(labels, an.WHITE + an.STRIATUM), int(rng.uniform(1, 60)), rng)
    n = len(starts)
    return walk(
        starts, rng.normal(size=(n, 3)), rng.uniform(2, 12, n), rng.uniform(0.2, 0.7, n), None, rng
    )


def draw(
    tubes: Tubes, origin_mm: NDArray[np.float64], spacing: NDArray[np.float64], shape: tuple[int, int, int]
) -> NDArray[np.float32]:
    """Volume fraction of the tubes in each voxel of a grid, (X, Y, Z) float32 in [0, 1].

    A tube thinner than a voxel fills the fraction of the voxel's section that its area has.
    """
    canvas = np.zeros(shape, np.float32)
    flat = canvas.reshape(-1)
    voxel = float(spacing.max())
    for low in np.arange(0, 4, 0.4):
        some = (tubes.radii >= low) & (tubes.radii < low + 0.4)
        centres, radii = (tubes.centres[some] - origin_mm) / spacing, tubes.radii[some]
        reach = np.ceil((low + 0.4) / spacing).astype(int)
        offsets = np.stack(
            np.meshgrid(*(np.arange(-r, r + 1) for r in reach), indexing="ij"), -1
        ).reshape(-1, 3)
        offsets = offsets[np.linalg.norm(offsets * spacing, axis=1) < max(low + 0.4, 0.5 * voxel) + voxel]
        nearest = np.rint(centres).astype(int)
        strength = np.minimum(1, (radii / (0.56 * voxel)) ** 2)
        for offset in offsets:
            index = nearest + offset
            distance = np.linalg.norm((index - centres) * spacing, axis=1)
            fraction = strength * np.clip((np.maximum(radii, 0.5 * voxel) - distance) / voxel + 0.5, 0, 1)
            hit = (fraction > 0) & np.all((index >= 0) & (index < shape), axis=1)
            np.maximum.at(
                flat, np.ravel_multi_index(index[hit].T, shape), fraction[hit].astype(np.float32)
            )
    return canvas


def join(*parts: Tubes) -> Tubes:
    """Several sets of tubes as one."""
    return Tubes(np.concatenate([p.centres for p in parts]), np.concatenate([p.radii for p in parts]))


def _sinus(labels: NDArray[np.int16], rng: np.random.Generator) -> Tubes:
    inside = an.select(labels, (*an.TISSUE, *an.CSF, an.FALX))
    rim = (labels == an.FALX) & ~ndimage.binary_erosion(inside, iterations=3)
    points = np.argwhere(rim)
    points = points[points[:, 2] > np.median(points[:, 2])] if len(points) else points
    radius = rng.uniform(1.2, 3.0)
    return Tubes(points.astype(np.float32), np.full(len(points), radius, np.float32))


def _starts(mask: NDArray[np.bool_], count: int, rng: np.random.Generator) -> NDArray[np.float64]:
    where = np.flatnonzero(mask)
    count = min(count, where.size)
    chosen = rng.choice(where, count, replace=False) if count else where[:0]
    points = np.stack(np.unravel_index(chosen, mask.shape), -1)
    return points + rng.uniform(-0.5, 0.5, points.shape)


def _wide_blur(mask: NDArray[np.bool_], sigma_mm: float) -> NDArray[np.float32]:
    """Gaussian blur of a 1 mm mask, worked out on every fourth voxel."""
    blurred = ndimage.gaussian_filter(mask[::4, ::4, ::4].astype(np.float32), sigma_mm / 4)
    for axis, size in enumerate(mask.shape):
        blurred = an.stretch(blurred, np.arange(size, dtype=np.float32) / 4, axis)
    return blurred


def _gradient_at(image: NDArray[np.float32], points: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.stack(
        [ndimage.map_coordinates(g, points.T, order=1, mode="nearest") for g in np.gradient(image)], -1
    ).astype(float)


def _unit(vectors: NDArray[np.float64]) -> NDArray[np.float64]:
    unit: NDArray[np.float64] = vectors / (np.linalg.norm(vectors, axis=1, keepdims=True) + 1e-9)
    return unit
