"""The brain mask, by a small U-Net on a 2.5 mm grid trained on heads of random contrast.

After SynthStrip (Hoopes et al., NeuroImage 2022): one network for every sequence, resolution,
orientation and coverage. Training draws its images with `unit_scale` and `SPACING_MM` too.
"""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING

import numpy as np
from nibabel.affines import apply_affine
from numpy.typing import NDArray
from scipy import ndimage

from microbleeds.errors import UserError
from microbleeds.models.engine import Engine, predict_volume
from microbleeds.prepare.grid import Grid, to_grid
from microbleeds.threads import limit_simpleitk

if TYPE_CHECKING:  # scan.py reads the contrast with a module of this package
    from microbleeds.scan import Scan

SPACING_MM = 2.5
# From which probability a voxel is brain: the lowest that gives no more than a skull can hold.
# Masks of other software hold a little more fluid at the rim than the one that was learnt.
PROBABILITIES = (0.3, 0.5, 0.6, 0.7, 0.8, 0.9)
LARGEST_BRAIN_CM3 = 1900.0
_RIM = 8  # voxels
_DARK = 0.4  # of the brain's median: the skull
_SKULL = 2  # voxels by which what the skull parts from the brain is opened
_SMALLEST_CM3 = 200.0  # of a whole brain
_LARGEST_CM3 = 2400.0  # no skull holds more: noise that looked like brain everywhere
_LEAST_CORRELATION = 0.3  # of neighbouring voxels; heads have 0.8 and more
_ENOUGH_VOXELS = 500_000  # to tell the two apart
_SMALLEST_SHARE = 0.1  # of a scan that holds only a slab of the head


def brain_mask(scan: Scan, engine: Engine) -> NDArray[np.bool_]:
    """Brain with ventricles and sulci, bool on the scan's own grid, in one piece, without holes.

    Where software has already set the scan to zero there is no brain; a susceptibility map exists
    only where it was reconstructed, so that its mask is what is not zero. Raises UserError when the
    network finds no brain.
    """
    if scan.contrast == "qsm" and (reconstructed := _reconstructed(scan)) is not None:
        return reconstructed
    limit_simpleitk(engine.threads)
    box = _signal_box(scan.voxels)
    mask = np.zeros(scan.voxels.shape, bool)
    if box is None or _is_noise(scan.voxels[box]):
        raise _no_brain(scan, 0.0)
    voxels, affine = scan.voxels[box], scan.affine.copy()
    affine[:3, 3] += affine[:3, :3] @ [side.start for side in box]
    grid = isotropic_grid(voxels.shape, affine, engine.config.stride)
    image = unit_scale(to_grid(voxels, affine, grid, order=1))
    probability, level = _one_piece(without_skin(brain_probability(image, engine), image))
    own = Grid((voxels.shape[0], voxels.shape[1], voxels.shape[2]), affine)
    found = to_grid(probability, grid.affine, own, order=1) > level
    mask[box] = found & ndimage.binary_fill_holes(voxels != 0)
    voxel_cm3 = abs(float(np.linalg.det(affine[:3, :3]))) / 1000
    volume = float(mask.sum()) * voxel_cm3
    smallest = min(_SMALLEST_CM3, _SMALLEST_SHARE * voxels.size * voxel_cm3)
    if not smallest <= volume <= _LARGEST_CM3:
        raise _no_brain(scan, volume)
    return mask


def _reconstructed(scan: Scan) -> NDArray[np.bool_] | None:
    """Where a susceptibility map was made; None when that is not the size of a brain.

    Its contrast has neither skull nor skin, and noise may hide the anatomy from the network.
    """
    inside: NDArray[np.bool_] = ndimage.binary_fill_holes(largest_piece(scan.voxels != 0))
    volume = float(inside.sum() * scan.spacing.prod()) / 1000
    return inside if _SMALLEST_CM3 <= volume <= LARGEST_BRAIN_CM3 else None


def brain_probability(image: NDArray[np.float32], engine: Engine) -> NDArray[np.float32]:
    """How probably each voxel of a scaled image is brain, (X, Y, Z) on the 2.5 mm grid.

    The mean of three answers: for the image, for its left-right mirror, and for the image in a rim
    of nothing. Where the field of view cuts through the head, the network errs to one side when
    the array ends there, as in a tight slab, and to the other when emptiness follows.
    """
    inner = tuple(slice(_RIM, _RIM + size) for size in image.shape)
    answers = (
        predict_volume(engine, image[None]),
        predict_volume(engine, image[None, ::-1])[::-1],
        predict_volume(engine, np.pad(image, _RIM)[None])[inner],
    )
    mean: NDArray[np.float32] = np.mean(answers, axis=0, dtype=np.float32)
    return mean


def without_skin(
    probability: NDArray[np.float32], image: NDArray[np.float32]
) -> NDArray[np.float32]:
    """The probability, 0 in what the dark skull parts from the brain; both (X, Y, Z), 2.5 mm.

    Muscle and skin can look like brain to the network. The brain is the largest piece that is left
    when dark voxels and 5 mm at every edge are taken off; what lies near it is kept, dark or not.
    """
    inside = probability > PROBABILITIES[0]
    if not inside.any():
        return probability
    lit = inside & (image > _DARK * np.median(image[inside]))
    core = largest_piece(ndimage.binary_erosion(lit, iterations=_SKULL, border_value=1))
    if not core.any():
        return probability
    near = ndimage.binary_fill_holes(ndimage.binary_dilation(core, iterations=_SKULL + 1))
    return np.where(near | ~inside, probability, 0).astype(np.float32)


def largest_piece(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The largest part of a mask connected by faces; an empty mask stays as it is."""
    parts, count = ndimage.label(mask)
    return parts == 1 + np.argmax(np.bincount(parts.ravel())[1:]) if count else mask


def unit_scale(image: NDArray[np.float32]) -> NDArray[np.float32]:
    """Robust scaling to [0, 1] by percentiles 1 and 99 of the voxels that are not exactly zero.

    Zero is what masking and padding leave: it does not move the scale and stays zero, also in a
    signed image, where it would otherwise lie in the middle. Any shape.
    """
    values = image[image != 0]
    if values.size == 0:
        return np.zeros_like(image)
    low, high = np.percentile(values, (1, 99))
    low = min(low, 0.0)
    scaled = np.clip((image - low) / max(high - low, 1e-12), 0, 1)
    return np.where(image == 0, 0, scaled).astype(np.float32)


def _signal_box(voxels: NDArray[np.float32]) -> tuple[slice, slice, slice] | None:
    """The bounding box of what is not zero; None when everything is."""
    sides = []
    for axis in range(3):
        present = np.flatnonzero(voxels.any(axis=tuple({0, 1, 2} - {axis})))
        if not len(present):
            return None
        sides.append(slice(int(present[0]), int(present[-1]) + 1))
    return sides[0], sides[1], sides[2]


def _is_noise(voxels: NDArray[np.float32]) -> bool:
    """Whether neighbours along every axis have nothing to do with each other, unlike in anatomy."""
    step = max(1, int(np.sqrt(voxels.size / _ENOUGH_VOXELS)))
    for axis, size in enumerate(voxels.shape):
        if size < 3:
            continue
        lines = np.moveaxis(voxels, axis, 0)[:, ::step, ::step]
        if _correlation(lines[:-1], lines[1:]) >= _LEAST_CORRELATION:
            return False
    return True


def _correlation(first: NDArray[np.float32], second: NDArray[np.float32]) -> float:
    first, second = first - first.mean(), second - second.mean()
    spread = float(np.sqrt((first**2).mean() * (second**2).mean()))
    return float((first * second).mean()) / max(spread, 1e-12)


def isotropic_grid(
    shape: tuple[int, ...], affine: NDArray[np.float64], stride: tuple[int, int, int]
) -> Grid:
    """A 2.5 mm grid along R, A and S around a scan, every side a multiple of `stride`."""
    corners = np.array(list(product(*((-0.5, n - 0.5) for n in shape))))
    world = apply_affine(affine, corners)
    low, high = world.min(axis=0), world.max(axis=0)
    x, y, z = (
        int(-(-(extent // SPACING_MM + 1) // s) * s)
        for extent, s in zip(high - low, stride, strict=True)
    )
    matrix = np.diag([SPACING_MM] * 3 + [1.0])
    matrix[:3, 3] = (low + high) / 2 - (np.array((x, y, z)) - 1) / 2 * SPACING_MM
    return Grid((x, y, z), matrix)


def _one_piece(probability: NDArray[np.float32]) -> tuple[NDArray[np.float32], float]:
    """Other parts than the largest set to 0, holes in it to 1; and the probability to cut at."""
    for level in PROBABILITIES:
        inside = probability > level
        if not inside.any():
            return np.zeros_like(probability), level
        largest = largest_piece(inside)
        filled = ndimage.binary_fill_holes(largest)
        if filled.sum() * SPACING_MM**3 <= 1000 * LARGEST_BRAIN_CM3:
            break
    probability = np.where(inside & ~largest, 0, probability)
    return np.where(filled & ~largest, 1, probability).astype(np.float32), level


def _no_brain(scan: Scan, volume: float) -> UserError:
    return UserError(
        f"The scan {scan.name} has no brain in it that could be found ({volume:.0f} cm³ look like "
        "brain); give a scan of a head, or its brain mask with --mask."
    )
