"""Where registration may start: places in MNI space where a scan's brain fits the template's."""

from __future__ import annotations

from itertools import product

import numpy as np
from numpy.typing import NDArray
from scipy import fft, ndimage

from microbleeds.mni.coarse import CoarseHead

PITCHES_DEG, SIZES = (-15.0, 0.0, 15.0), (0.9, 1.05)
PEAKS, STARTS = 2, 3  # kept of each pitch and size, and of all
NEARBY = 2  # voxels around a peak that are no other start
COARSER = 2  # than the grid of the heads, along each axis


def likely_starts(scan: CoarseHead, template: CoarseHead) -> list[NDArray[np.float64]]:
    """The best placements over all shifts, some sizes and pitches: (4, 4), scan mm to MNI mm.

    Judged by the Dice overlap of the brains within the scan's field of view, for all shifts at
    once by Fourier transform (as normalised correlation with a mask: Padfield, IEEE Trans Image
    Process 21:2706, 2012), so that a slab finds its level.
    """
    step = np.s_[::COARSER, ::COARSER, ::COARSER]
    seen = scan.seen[step].astype(np.float32)
    brain, target = scan.brain[step] * seen, template.brain[step]
    shape = [
        fft.next_fast_len(a + b, real=True) for a, b in zip(brain.shape, target.shape, strict=True)
    ]
    brain_f, seen_f = (np.conj(fft.rfftn(array, shape)) for array in (brain, seen))
    middle = (np.array(target.shape) - 1) / 2
    coarser = np.diag([COARSER, COARSER, COARSER, 1.0])
    to_mni, to_scan = template.affine @ coarser, np.linalg.inv(scan.affine @ coarser)
    found: list[tuple[float, NDArray[np.float64]]] = []
    for pitch, size in product(PITCHES_DEG, SIZES):
        turn = size * _pitch(pitch)
        moved = fft.rfftn(
            ndimage.affine_transform(target, turn, middle - turn @ middle, order=1), shape
        )
        common = fft.irfftn(moved * brain_f, shape)
        covered = fft.irfftn(moved * seen_f, shape)
        dice = 2 * common / (max(float(brain.sum()), 1.0) + np.maximum(covered, 0))
        for value, shift in _peaks(dice):
            place = np.eye(4)
            place[:3, :3] = turn
            place[:3, 3] = turn @ (shift - middle) + middle
            found.append((value, to_mni @ place @ to_scan))
    found.sort(key=lambda pair: -pair[0])
    return [matrix for _, matrix in found[:STARTS]]


def _pitch(degrees: float) -> NDArray[np.float64]:
    """Rotation about the left-right axis, (3, 3)."""
    cos, sin = np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))
    return np.array([[1, 0, 0], [0, cos, -sin], [0, sin, cos]])


def _peaks(dice: NDArray[np.float64]) -> list[tuple[float, NDArray[np.int64]]]:
    """The highest values and their shifts in voxels; `dice` is periodic and is changed."""
    found = []
    for _ in range(PEAKS):
        peak = np.array(np.unravel_index(dice.argmax(), dice.shape))
        shift = np.where(peak > np.array(dice.shape) // 2, peak - dice.shape, peak)
        found.append((float(dice[tuple(peak)]), shift))
        around = np.arange(-NEARBY, NEARBY + 1)
        axes = [(p + around) % n for p, n in zip(peak, dice.shape, strict=True)]
        dice[np.ix_(*axes)] = 0
    return found
