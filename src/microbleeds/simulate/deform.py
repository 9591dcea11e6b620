"""Another head from the same label map: pose, size, shape, ventricles, atrophy, left and right."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from microbleeds.simulate import anatomy as an
from microbleeds.simulate.anatomy import Anatomy

CENTRAL_MM = 25.0  # standard deviation of the region around the ventricles that grows with them


@dataclass(frozen=True)
class AnatomyRanges:
    """How far a head may differ from its label map.

    scale, rotation_deg: half-widths of uniform distributions, per axis.
    elastic_mm: standard deviation of the shift at knots `elastic_smoothness_mm` apart.
    ventricle_growth: largest relative stretch of the middle of the brain; least, -0.3 of that.
    atrophy: largest loss; cortex turns into CSF where the blurred CSF exceeds 1 - loss.
    folia_mm: distances between the fissures of the cerebellum, which label maps leave out;
    folia: largest share of its cortex that they take.
    """

    scale: float = 0.08
    rotation_deg: float = 12.0
    elastic_mm: float = 2.5
    elastic_smoothness_mm: float = 24.0
    ventricle_growth: float = 0.3
    atrophy: float = 0.75
    folia_mm: tuple[float, float] = (3.0, 5.0)
    folia: float = 0.3


def deform(
    anatomy: Anatomy, shape: tuple[int, int, int], ranges: AnatomyRanges, rng: np.random.Generator
) -> NDArray[np.int16]:
    """Random affine, elastic warp, ventricle growth, atrophy and left-right flip of an anatomy.

    Returns labels on a 1 mm grid of `shape`, centred on the brain.
    """
    source = source_places(anatomy, shape, ranges, rng)
    labels: NDArray[np.int16] = ndimage.map_coordinates(anatomy.labels, source, order=0, cval=0)
    labels = an.without_dark_bits(labels)  # thin bone breaks into voxels when it is bent
    labels = _shrink_cortex(labels, rng.uniform(0, ranges.atrophy))
    return _cut_folia(labels, ranges, rng)


def source_places(
    anatomy: Anatomy, shape: tuple[int, int, int], ranges: AnatomyRanges, rng: np.random.Generator
) -> NDArray[np.float32]:
    """Where in the anatomy each voxel of the deformed head comes from: (3, *shape), voxels."""
    brain = an.select(anatomy.labels, an.TISSUE)
    centre = np.array(ndimage.center_of_mass(brain[::4, ::4, ::4])) * 4
    matrix = rotation(np.deg2rad(rng.uniform(-1, 1, 3) * ranges.rotation_deg))
    matrix = matrix / (1 + rng.uniform(-1, 1, 3) * ranges.scale)
    if rng.random() < 0.5:
        matrix[0] *= -1
    target = np.indices(shape, dtype=np.float32).reshape(3, -1) - (np.array(shape)[:, None] - 1) / 2
    source = matrix.astype(np.float32) @ target
    source = source.reshape(3, *shape) + _smooth_noise(shape, ranges, rng)
    growth = rng.uniform(-0.3, 1) * ranges.ventricle_growth
    radius2 = np.einsum("axyz,axyz->xyz", source, source)
    source *= 1 - growth * np.exp(-radius2 / (2 * CENTRAL_MM**2))
    source += centre.astype(np.float32)[:, None, None, None]
    return np.asarray(source, np.float32)


def rotation(angles: NDArray[np.float64]) -> NDArray[np.float64]:
    """Rotation matrix (3, 3) about z, then y, then x by `angles` (x, y, z) in radians."""
    a, b, c = angles
    turn_x = np.array([[1, 0, 0], [0, np.cos(a), -np.sin(a)], [0, np.sin(a), np.cos(a)]])
    turn_y = np.array([[np.cos(b), 0, np.sin(b)], [0, 1, 0], [-np.sin(b), 0, np.cos(b)]])
    turn_z = np.array([[np.cos(c), -np.sin(c), 0], [np.sin(c), np.cos(c), 0], [0, 0, 1]])
    turn: NDArray[np.float64] = turn_x @ turn_y @ turn_z
    return turn


def refined(array: NDArray[np.float32], shape: tuple[int, ...], step: int) -> NDArray[np.float32]:
    """Values at every `step`-th index of `shape`, linear at all of them."""
    for axis, size in enumerate(shape):
        place = np.arange(size, dtype=np.float32) / step
        array = stretch(array, place.astype(np.float32), axis)
    return array


def stretch(
    array: NDArray[np.float32], positions: NDArray[np.float32], axis: int
) -> NDArray[np.float32]:
    """Linear interpolation of `array` along one axis at fractional indices `positions`, (P,).

    Beyond the ends the outermost value holds, as with `np.interp`.
    """
    low = np.clip(np.floor(positions).astype(int), 0, max(array.shape[axis] - 2, 0))
    weight_shape = [1] * array.ndim
    weight_shape[axis] = -1
    weight = np.clip(positions - low, 0, 1).astype(np.float32).reshape(weight_shape)
    first: NDArray[np.float32] = array.take(low, axis)
    first += weight * (array.take(np.minimum(low + 1, array.shape[axis] - 1), axis) - first)
    return first


def _shrink_cortex(labels: NDArray[np.int16], amount: float) -> NDArray[np.int16]:
    wet = ndimage.gaussian_filter(an.select(labels, an.CSF).astype(np.float32), 1.0)
    labels[an.select(labels, an.CORTEX) & (wet > 1 - amount)] = an.CSF[0]
    return labels


def _cut_folia(
    labels: NDArray[np.int16], ranges: AnatomyRanges, rng: np.random.Generator
) -> NDArray[np.int16]:
    """Sheets of CSF in the cerebellar cortex, about parallel, that fill a random part of it."""
    cortex = an.select(labels, an.CEREBELLUM_CORTEX)
    box = ndimage.find_objects(cortex.astype(np.uint8))
    if not box:
        return labels
    inside = labels[box[0]]
    x, y, z = np.ogrid[tuple(slice(n) for n in inside.shape)]
    middle = [n / 2 for n in inside.shape]
    # Fissures fan out from the fourth ventricle, in front of the middle.
    angle = np.arctan2(z - middle[2], y - 1.2 * inside.shape[1]) * inside.shape[1]
    bend = ndimage.gaussian_filter(rng.normal(0, 1, inside.shape), 6) * 60
    place = angle + bend + 0.1 * np.abs(x - middle[0])
    wave = np.cos(2 * np.pi * place / rng.uniform(*ranges.folia_mm))
    inside[cortex[box[0]] & (wave > np.cos(np.pi * rng.uniform(0, ranges.folia)))] = an.CSF[0]
    return labels


def _smooth_noise(
    shape: tuple[int, int, int], ranges: AnatomyRanges, rng: np.random.Generator
) -> NDArray[np.float32]:
    """Normal shifts in mm at coarse knots, joined linearly: (3, *shape)."""
    coarse = tuple(int(np.ceil(n / ranges.elastic_smoothness_mm)) + 3 for n in shape)
    field = rng.normal(0, ranges.elastic_mm, (3, *coarse)).astype(np.float32)
    for axis, (knots, size) in enumerate(zip(coarse, shape, strict=True), start=1):
        field = stretch(field, np.linspace(1, knots - 2, size, dtype=np.float32), axis)
    return field
