"""Head anatomy: a label map, the small structures it lacks, and a random deformation of both."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path

import nibabel as nib
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from microbleeds.errors import UserError

# FreeSurfer numbers, grouped as the simulation needs them.
WHITE = (2, 41)
CORTEX = (3, 42)
VENTRICLES = (4, 5, 14, 15, 43, 44, 72)
CEREBELLUM_WHITE = (7, 46)
CEREBELLUM_CORTEX = (8, 47)
THALAMUS = (10, 49)
STRIATUM = (11, 12, 26, 50, 51, 58)
PALLIDUM = (13, 52)
MEDIAL_TEMPORAL = (17, 18, 53, 54)
VENTRAL_DC = (28, 60)
BRAINSTEM = (16,)
CSF = (24,)
# Structures too small for the label maps, drawn by `add_small_structures`.
RED_NUCLEUS, NIGRA, DENTATE, MAMILLARY, PINEAL, CHOROID, FALX = range(1001, 1008)

SHIPPED_ANATOMY = Path(__file__).parent / "data" / "head.nii.gz"  # held out from all training

LEFT_CEREBRUM = (2, 3, 10, 11, 12, 13, 17, 18, 26, 28)
RIGHT_CEREBRUM = (41, 42, 49, 50, 51, 52, 53, 54, 58, 60)
TISSUE = (
    *LEFT_CEREBRUM, *RIGHT_CEREBRUM, *CEREBELLUM_WHITE, *CEREBELLUM_CORTEX, *BRAINSTEM,
    25, 57, 30, 62, 85, RED_NUCLEUS, NIGRA, DENTATE, MAMILLARY,
)  # fmt: skip


@dataclass(frozen=True)
class Anatomy:
    """labels: (X, Y, Z) int16, 1 mm, axes towards R, A, S; `name` for the table of the truth."""

    labels: NDArray[np.int16]
    name: str


@dataclass(frozen=True)
class AnatomyRanges:
    """Half-widths of the uniform distributions of the random deformation."""

    scale: float = 0.08
    rotation_deg: float = 12.0
    elastic_mm: float = 2.5
    elastic_smoothness_mm: float = 24.0
    ventricle_growth: float = 0.3
    atrophy: float = 0.5  # highest smoothed-CSF level at which cortex may turn into CSF


def select(labels: NDArray[np.int16], numbers: tuple[int, ...]) -> NDArray[np.bool_]:
    """Where `labels` holds any of `numbers`."""
    table = np.zeros(int(labels.max()) + 1, bool)
    table[[n for n in numbers if n < table.size]] = True
    mask: NDArray[np.bool_] = table[labels]
    return mask


@cache
def load_anatomy(path: Path) -> Anatomy:
    """Read a FreeSurfer-style whole-head label map and add the structures that it lacks.

    Raises UserError when the file is no label map with white matter and cortex.
    """
    try:
        image = nib.as_closest_canonical(nib.load(path))
        values = np.asanyarray(image.dataobj)
    except Exception as error:
        raise UserError(f"{path} cannot be read as a NIfTI label map: {error}.") from error
    if values.ndim != 3 or not {2, 41, 3, 42} <= set(np.unique(values).tolist()):
        raise UserError(
            f"{path} is no FreeSurfer-style label map (labels 2, 3, 41 and 42 are needed); "
            "give another file to --anatomy."
        )
    labels = np.rint(values).astype(np.int16)
    zoom = np.array(image.header.get_zooms()[:3])
    if np.any(np.abs(zoom - 1) > 0.02):
        labels = ndimage.zoom(labels, zoom, order=0)
    return Anatomy(add_small_structures(crop_to_head(labels)), path.name.split(".")[0])


def crop_to_head(labels: NDArray[np.int16]) -> NDArray[np.int16]:
    """The largest non-air component in its box; stray labels in the air around the head go."""
    parts, _ = ndimage.label(labels > 0)
    box = ndimage.find_objects(parts)
    largest = int(np.argmax(np.bincount(parts.ravel())[1:]))
    return np.where(parts[box[largest]] == largest + 1, labels[box[largest]], 0).astype(np.int16)


def add_small_structures(labels: NDArray[np.int16]) -> NDArray[np.int16]:
    """Draw iron-rich and calcified structures as ellipsoids at landmarks, and the falx.

    Offsets in mm from the centres of thalamus and ventral diencephalon, after standard atlases.
    """
    labels = labels.copy()
    grid = np.indices(labels.shape, dtype=np.float32)

    def ellipsoid(
        centre: NDArray[np.float64], radii: tuple[float, float, float], value: int, inside: tuple[int, ...]
    ) -> None:
        box = tuple(
            slice(max(0, int(c - r) - 1), int(c + r) + 3) for c, r in zip(centre, radii, strict=True)
        )
        distance = sum(((grid[a][box] - centre[a]) / radii[a]) ** 2 for a in range(3))
        labels[box][(distance <= 1) & select(labels[box], inside)] = value

    middle = np.argwhere(select(labels, THALAMUS)).mean(0)
    deep = (*VENTRAL_DC, *BRAINSTEM, *VENTRICLES, *CSF, *WHITE)
    for side, (diencephalon, cerebellum) in enumerate(zip(VENTRAL_DC, CEREBELLUM_WHITE, strict=True)):
        outward = np.array([-1.0 if side == 0 else 1.0, 0, 0])
        if np.any(labels == diencephalon):
            centre = np.argwhere(labels == diencephalon).mean(0)
            centre[0] = middle[0] + outward[0] * 10
            ellipsoid(centre + [0, -4, -3] + outward, (2.2, 6, 3.2), NIGRA, deep)
            ellipsoid(centre + [0, -6, 1] - 5 * outward, (2.6, 3, 3.5), RED_NUCLEUS, deep)
            ellipsoid(centre + [0, 5, -6] - 7 * outward, (2, 2, 2), MAMILLARY, deep)
        if np.any(labels == cerebellum):
            centre = np.argwhere(labels == cerebellum).mean(0)
            centre[0] = middle[0] + outward[0] * 14
            ellipsoid(centre, (5, 7, 4), DENTATE, CEREBELLUM_WHITE)
        ventricle = np.argwhere(labels == (VENTRICLES[0], VENTRICLES[4])[side])
        atrium = ventricle[ventricle[:, 1] < middle[1] - 8] if len(ventricle) else ventricle
        if len(atrium) > 20:
            ellipsoid(atrium.mean(0), (3, 7, 5), CHOROID, VENTRICLES)
    ellipsoid(middle + [0, -11, -4], (2.5, 3.5, 2.5), PINEAL, (*deep, *THALAMUS))
    labels[falx(labels)] = FALX
    return labels


def falx(labels: NDArray[np.int16]) -> NDArray[np.bool_]:
    """CSF about equally far from both hemispheres: the midline sheet of dura."""
    cerebrum = select(labels, LEFT_CEREBRUM + RIGHT_CEREBRUM)
    middle = ndimage.find_objects(cerebrum.astype(np.uint8))[0]
    half = (middle[0].start + middle[0].stop) // 2
    box = (slice(half - 20, half + 20), middle[1], middle[2])
    left, right = (
        ndimage.distance_transform_edt(~select(labels[box], side))
        for side in (LEFT_CEREBRUM, RIGHT_CEREBRUM)
    )
    sheet = np.zeros(labels.shape, bool)
    sheet[box] = (np.abs(left - right) < 0.8) & (left < 12) & select(labels[box], CSF)
    return sheet


def brain_mask(labels: NDArray[np.int16]) -> NDArray[np.bool_]:
    """Brain with ventricles, sulci and a millimetre of fluid around it; labels (X, Y, Z), 1 mm."""
    tissue = np.pad(select(labels, (*TISSUE, *VENTRICLES, PINEAL, CHOROID)), 6)
    ball = ndimage.generate_binary_structure(3, 1)
    closed = ndimage.binary_erosion(ndimage.binary_dilation(tissue, ball, 5), ball, 4)
    filled: NDArray[np.bool_] = closed[6:-6, 6:-6, 6:-6] & (labels > 0)
    return filled


def deform(
    anatomy: Anatomy, shape: tuple[int, int, int], ranges: AnatomyRanges, rng: np.random.Generator
) -> NDArray[np.int16]:
    """Another head: random affine, elastic warp, ventricle growth, atrophy, left-right flip.

    Returns labels on a 1 mm grid of `shape`, centred on the brain.
    """
    brain = select(anatomy.labels, TISSUE)
    centre = np.array(ndimage.center_of_mass(brain[::4, ::4, ::4])) * 4
    matrix = _rotation(np.deg2rad(rng.uniform(-1, 1, 3) * ranges.rotation_deg))
    matrix = matrix / (1 + rng.uniform(-1, 1, 3) * ranges.scale)
    if rng.random() < 0.5:
        matrix[0] *= -1
    target = np.indices(shape, dtype=np.float32).reshape(3, -1) - (np.array(shape)[:, None] - 1) / 2
    source = matrix.astype(np.float32) @ target
    source = source.reshape(3, *shape) + _smooth_noise(shape, ranges, rng)
    growth = rng.uniform(-0.3, 1) * ranges.ventricle_growth
    radius2 = np.einsum("axyz,axyz->xyz", source, source)
    source *= 1 - growth * np.exp(-radius2 / (2 * 25.0**2))
    source += centre.astype(np.float32)[:, None, None, None]
    labels: NDArray[np.int16] = ndimage.map_coordinates(anatomy.labels, source, order=0, cval=0)
    return _shrink_cortex(labels, rng.uniform(0, ranges.atrophy))


def _shrink_cortex(labels: NDArray[np.int16], amount: float) -> NDArray[np.int16]:
    wet = ndimage.gaussian_filter(select(labels, CSF).astype(np.float32), 1.0)
    labels[select(labels, CORTEX) & (wet > 1 - amount)] = CSF[0]
    return labels


def _smooth_noise(
    shape: tuple[int, int, int], ranges: AnatomyRanges, rng: np.random.Generator
) -> NDArray[np.float32]:
    coarse = tuple(int(np.ceil(n / ranges.elastic_smoothness_mm)) + 3 for n in shape)
    knots = rng.normal(0, ranges.elastic_mm, (3, *coarse)).astype(np.float32)
    step = [np.linspace(1, c - 2, n, dtype=np.float32) for c, n in zip(coarse, shape, strict=True)]
    field = knots
    for axis, positions in enumerate(step, start=1):
        field = stretch(field, positions, axis)
    return field


def stretch(
    array: NDArray[np.float32], positions: NDArray[np.float32], axis: int
) -> NDArray[np.float32]:
    """Linear interpolation of `array` along one axis at fractional indices `positions`."""
    low = np.clip(np.floor(positions).astype(int), 0, max(array.shape[axis] - 2, 0))
    weight_shape = [1] * array.ndim
    weight_shape[axis] = -1
    weight = np.clip(positions - low, 0, 1).astype(np.float32).reshape(weight_shape)
    first = array.take(low, axis)
    first += weight * (array.take(np.minimum(low + 1, array.shape[axis] - 1), axis) - first)
    return first


def _rotation(angles: NDArray[np.float64]) -> NDArray[np.float64]:
    a, b, c = angles
    turn_x = np.array([[1, 0, 0], [0, np.cos(a), -np.sin(a)], [0, np.sin(a), np.cos(a)]])
    turn_y = np.array([[np.cos(b), 0, np.sin(b)], [0, 1, 0], [-np.sin(b), 0, np.cos(b)]])
    turn_z = np.array([[np.cos(c), -np.sin(c), 0], [np.sin(c), np.cos(c), 0], [0, 0, 1]])
    rotation: NDArray[np.float64] = turn_x @ turn_y @ turn_z
    return rotation
