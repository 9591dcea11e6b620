"""Vessels as random guided walks, drawn as tubes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

STEP_MM = 0.3
FADE_MM = 8.0  # over which a vessel thins out towards an end, unless half of it is less


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
    least: float | None = None,
    shortest_mm: float = 0.0,
    rooted: bool = False,
) -> Tubes:
    """Walk all vessels side by side in steps of 0.3 mm, each as far as its length.

    starts, directions: (N, 3), mm on the 1 mm grid. lengths_mm, radii_mm: (N,); a vessel thins out
    towards both ends, a rooted one, which starts on another, towards its far end alone: a blunt
    end is a dot of blood, and what follows lies in other slices. guide: (X, Y, Z), climbed with
    weight `pull`, so that vessels stay in it. wander: standard deviation of the turn in each step.
    least: a vessel ends where the guide is lower. shortest_mm: one that came less far from its
    start is left out: a dot of blood without a vessel on either side is what a microbleed is, and
    nobody could tell it from one.
    """
    if not len(starts):
        return Tubes(np.zeros((0, 3), np.float32), np.zeros(0, np.float32))
    slopes = [] if guide is None else np.gradient(guide)
    points, vessels = [], []
    vessel = np.arange(len(starts))
    position, heading = starts.copy(), _unit(directions)
    for step in range(int(lengths_mm.max() / STEP_MM)):
        alive = step * STEP_MM < lengths_mm[vessel]
        if guide is not None and least is not None:
            alive &= value_at(guide, position) >= least
        position, heading, vessel = position[alive], heading[alive], vessel[alive]
        slope = np.zeros_like(position)
        for axis, component in enumerate(slopes):
            slope[:, axis] = value_at(component, position)
        heading = _unit(heading + pull * slope + rng.normal(0, wander, position.shape))
        position = position + STEP_MM * heading
        points.append(position)
        vessels.append(vessel)
    centres, of = np.concatenate(points), np.concatenate(vessels)
    before = np.repeat(np.arange(len(points)), [len(there) for there in points])
    radii = radii_mm[of] * _width(before, np.bincount(of)[of], rooted)
    far = _reach(centres - starts[of], of)[of] >= shortest_mm
    return Tubes(centres[far].astype(np.float32), radii[far].astype(np.float32))


def _reach(offsets: NDArray[np.float64], of: NDArray[np.int_]) -> NDArray[np.float64]:
    """How far each vessel comes from its start; offsets: (N, 3) of its points, of: (N,) whose."""
    reach = np.zeros(int(of.max()) + 1)
    np.maximum.at(reach, of, np.linalg.norm(offsets, axis=1))
    return reach


def _width(before: NDArray[np.int_], steps: NDArray[np.int_], rooted: bool) -> NDArray[np.float64]:
    """Share of its full radius that a vessel of so many steps has after some of them, (N,) each."""
    left = np.minimum(steps - before, steps if rooted else before + 1) * STEP_MM
    width: NDArray[np.float64] = left / np.minimum(FADE_MM, steps * STEP_MM / 2)
    return np.minimum(width, 1)


def draw(
    tubes: Tubes,
    origin_mm: NDArray[np.float64],
    spacing: NDArray[np.float64],
    shape: tuple[int, int, int],
) -> NDArray[np.float32]:
    """Volume fraction of the tubes in each voxel of a grid, (X, Y, Z) float32 in [0, 1].

    origin_mm: centre of the first voxel, (3,). spacing: (3,) mm. Radii are below 4 mm. A tube
    thinner than a voxel fills the fraction of the voxel's section that its area has.
    """
    canvas = np.zeros(shape, np.float32)
    flat = canvas.reshape(-1)
    voxel = float(spacing.max())
    for low in np.arange(0, 4, 0.4):  # by radius, so that thin vessels touch few voxels
        some = (tubes.radii >= low) & (tubes.radii < low + 0.4)
        if not some.any():
            continue
        centres, radii = (tubes.centres[some] - origin_mm) / spacing, tubes.radii[some]
        nearest = np.rint(centres).astype(int)
        strength = np.minimum(1, (radii / (0.56 * voxel)) ** 2)
        for offset in _offsets(low + 0.4, spacing):
            index = nearest + offset
            distance = np.linalg.norm((index - centres) * spacing, axis=1)
            fraction = strength * np.clip(
                (np.maximum(radii, 0.5 * voxel) - distance) / voxel + 0.5, 0, 1
            )
            hit = (fraction > 0) & np.all((index >= 0) & (index < shape), axis=1)
            np.maximum.at(
                flat, np.ravel_multi_index(index[hit].T, shape), fraction[hit].astype(np.float32)
            )
    return canvas


def _offsets(radius_mm: float, spacing: NDArray[np.float64]) -> NDArray[np.int64]:
    """Steps in voxels (N, 3) to all that a tube of this radius or less may touch."""
    voxel = float(spacing.max())
    sides = (np.arange(-reach, reach + 1) for reach in np.ceil(radius_mm / spacing).astype(int))
    offsets = np.stack(np.meshgrid(*sides, indexing="ij"), -1).reshape(-1, 3)
    near = np.linalg.norm(offsets * spacing, axis=1) < max(radius_mm, 0.5 * voxel) + voxel
    kept: NDArray[np.int64] = offsets[near]
    return kept


def join(*parts: Tubes) -> Tubes:
    """Several sets of tubes as one."""
    return Tubes(
        np.concatenate([p.centres for p in parts]), np.concatenate([p.radii for p in parts])
    )


def value_at(image: NDArray[np.float32], points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Linear values of an image (X, Y, Z) at points (N, 3), the nearest ones outside it."""
    value: NDArray[np.float64] = ndimage.map_coordinates(image, points.T, order=1, mode="nearest")
    return value


def _unit(vectors: NDArray[np.float64]) -> NDArray[np.float64]:
    # the small number keeps a direction of zero length at zero
    unit: NDArray[np.float64] = vectors / (np.linalg.norm(vectors, axis=1, keepdims=True) + 1e-9)
    return unit
