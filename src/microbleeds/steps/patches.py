"""What step 2 sees of a volume: a patch around every candidate, and perhaps a wider one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any

import numpy as np
from numpy.typing import NDArray

from microbleeds.prepare.grid import Grid

Spacing = tuple[float, float, float]


@dataclass(frozen=True)
class View:
    """Channels (C, X, Y, Z), float16 or float32, on `grid`, and the voxel size of their patches.

    spacing_mm: None takes the grid's voxels as they are.
    """

    channels: NDArray[Any]
    grid: Grid
    spacing_mm: Spacing | None


def views_of(
    channels: NDArray[Any],
    grid: Grid,
    spacing_mm: Spacing | None,
    context: tuple[int, ...] = (),
) -> tuple[View, ...]:
    """The volume as it is and, with `context`, a coarse copy whose patches reach farther.

    channels: (C, X, Y, Z) on `grid`. spacing_mm: as in `patch_spacing`. context: how many times
    farther along each axis. A dot in the near view may be a vessel or a sulcus that only the far
    one shows.
    """
    near = View(channels, grid, patch_spacing(grid, spacing_mm))
    if not context:
        return (near,)
    x, y, z = np.multiply(grid.spacing if near.spacing_mm is None else near.spacing_mm, context)
    return near, View(*averaged(channels, grid, (x, y, z)), (float(x), float(y), float(z)))


def patch_spacing(grid: Grid, spacing_mm: Spacing | None) -> Spacing | None:
    """Of the patches on a grid: no slice is left out where slices are thinner than `spacing_mm`.

    A dot of one thin slice would otherwise be seen halfway, or not at all. None stays None.
    """
    if spacing_mm is None:
        return None
    x, y, z = spacing_mm
    return x, y, min(z, float(grid.spacing[2]))


def averaged(
    channels: NDArray[Any], grid: Grid, spacing_mm: Spacing
) -> tuple[NDArray[np.float16], Grid]:
    """Means over blocks of whole voxels, as large as fit in `spacing_mm`, and their grid.

    Beyond the end of the volume is nothing.
    """
    blocks = np.maximum(np.floor(np.array(spacing_mm) / grid.spacing + 1e-6), 1).astype(int)
    room = [(0, -size % block) for size, block in zip(channels.shape[1:], blocks, strict=True)]
    padded = np.pad(np.asarray(channels, np.float32), [(0, 0), *room])
    for axis, block in enumerate(blocks, start=1):
        every = (slice(None),) * axis
        layers = [padded[(*every, slice(first, None, block))] for first in range(block)]
        padded = reduce(np.add, layers) / np.float32(block)  # `mean` is slow on a short last axis
    affine = grid.affine.copy()
    affine[:3, 3] += affine[:3, :3] @ ((blocks - 1) / 2)
    affine[:3, :3] *= blocks
    x, y, z = padded.shape[1:]
    return padded.astype(np.float16), Grid((x, y, z), affine)


def extract_views(
    views: Sequence[View], centres_mm: NDArray[np.float64], shape: tuple[int, int, int]
) -> NDArray[np.float32]:
    """Patches (N, C, *shape) of every view around points (N, 3) in scanner mm, one after another.

    The channels of the second view follow those of the first.
    """
    return np.concatenate(
        [extract_patches(v.channels, v.grid, centres_mm, shape, v.spacing_mm) for v in views],
        axis=1,
    )


def extract_patches(
    channels: NDArray[Any],
    grid: Grid,
    centres_mm: NDArray[np.float64],
    shape: tuple[int, int, int],
    spacing_mm: tuple[float, float, float] | None,
) -> NDArray[np.float32]:
    """Boxes along the grid's axes around points in the scanner, zero outside the volume.

    channels: (C, X, Y, Z) on `grid`, float16 or float32. centres_mm: (N, 3) scanner mm.
    Returns (N, C, *shape) float32. With `spacing_mm` each centre is exactly in the middle of its
    box and values are interpolated linearly; None takes the grid's voxels as they are, the voxel
    nearest the centre at `shape // 2`.
    """
    centres = np.asarray(centres_mm, np.float64).reshape(-1, 3)
    voxels = (centres - grid.affine[:3, 3]) @ np.linalg.inv(grid.affine[:3, :3]).T
    patches = np.zeros((len(voxels), len(channels), *shape), np.float32)
    if spacing_mm is None:
        offsets = [np.arange(size) - size // 2 for size in shape]
        voxels = np.floor(voxels + 0.5)
    else:
        steps = np.asarray(spacing_mm) / grid.spacing
        offsets = [
            (np.arange(size) - (size - 1) / 2) * step
            for size, step in zip(shape, steps, strict=True)
        ]
    for patch, voxel in zip(patches, voxels, strict=True):
        patch[:] = _sample(
            channels, [centre + along for centre, along in zip(voxel, offsets, strict=True)]
        )
    return patches


def _sample(channels: NDArray[Any], positions: list[NDArray[np.float64]]) -> NDArray[np.float32]:
    """Linear interpolation of (C, X, Y, Z) at the product of three lists of voxel coordinates."""
    box = tuple(
        slice(min(max(int(np.floor(along[0])), 0), size), min(max(int(along[-1]) + 2, 0), size))
        for along, size in zip(positions, channels.shape[1:], strict=True)
    )
    block = channels[(slice(None), *box)].astype(np.float32)
    to_x, to_y, to_z = (_weights(*axis) for axis in zip(positions, box, strict=True))
    count, x, y, z = block.shape
    rows = to_x @ block.reshape(count, x, y * z)
    return np.asarray(to_y @ (rows.reshape(count, len(to_x), y, z) @ to_z.T), np.float32)


def _weights(along: NDArray[np.float64], voxels: slice) -> NDArray[np.float32]:
    """What each of the voxels (M,) adds to the values at N coordinates, (N, M)."""
    distance = np.abs(along[:, None] - np.arange(voxels.start, voxels.stop))
    weights: NDArray[np.float32] = np.maximum(1 - distance, 0).astype(np.float32)
    return weights
