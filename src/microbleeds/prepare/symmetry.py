"""Fast radial symmetry transform, 2D in every slice: where round bright things are."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from microbleeds.prepare.slices import brain_boxes

VOTES = 9.9  # k_n of the paper: as many votes as a round thing is expected to get
VOTES_SMALL = 8.0  # the same at a radius of one voxel
SMOOTHING = 0.25  # sigma of the smoothing as a fraction of the radius
HALF = 0.015  # strength shown as 0.5; a sharp disc of contrast 0.3 shows as about 0.85


def radial_symmetry(
    image: NDArray[np.float32],
    brain: NDArray[np.bool_],
    spacing: NDArray[np.float64],
    radii_mm: Sequence[float],
    alpha: float,
) -> NDArray[np.float32]:
    """Votes of bright edges for the centre they point to, mean over radii, in [0, 1].

    Loy and Zelinsky, IEEE Trans PAMI 25:959 (2003), bright symmetry only: every pixel of the
    brain votes for the pixel one radius up its gradient; O counts the votes, up to k_n, M adds
    the gradients, and M / k_n * (O / k_n)^alpha is smoothed. The mean strength s is shown as
    s / (s + HALF): a fixed scale, so that one bright outlier leaves the rest as it is, and a soft
    one, since blurred small bleeds are a hundred times weaker than a sharp disc.

    image: (X, Y, Z) in [0, 1], slices along Z. brain: bool; its outermost pixels do not vote.
    spacing: (3,) in mm.
    """
    reach = np.ceil(max(radii_mm) / spacing[:2]).astype(int) + 1
    room = [(int(size), int(size)) for size in reach]  # no vote leaves the padded slice
    half = np.float32(HALF * len(radii_mm))
    symmetry = np.zeros(image.shape, np.float32)
    for box in brain_boxes(brain, (0, 0)):
        padded, inside = np.pad(image[box], room), np.pad(brain[box], room)
        edges, size, position = _edges(padded, inside, spacing)
        total = np.zeros(padded.shape, np.float32)
        for radius in radii_mm:
            pixels = (radius / spacing[:2, None]).astype(np.float32)
            offset_x, offset_y = np.rint(edges * pixels).astype(np.intp)
            target = position + offset_x * padded.shape[1] + offset_y
            radius_voxels = radius / float(np.sqrt(spacing[0] * spacing[1]))
            total += _symmetry_at(target, size, padded.shape, radius_voxels, alpha)
        inner = total[reach[0] : -reach[0], reach[1] : -reach[1]]
        symmetry[box] = np.where(brain[box], inner / (inner + half), np.float32(0))
    return symmetry


def _edges(
    image: NDArray[np.float32], brain: NDArray[np.bool_], spacing: NDArray[np.float64]
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.intp]]:
    """Of every voter: unit gradient (2, N), gradient size per (mean) pixel (N,), flat index."""
    position = np.flatnonzero(ndimage.binary_erosion(brain))
    values = image.ravel()
    pixel = float(np.sqrt(spacing[0] * spacing[1]))
    gradient = np.empty((2, position.size), np.float32)
    for axis, step in enumerate((image.shape[1], 1)):
        difference = values[position + step] - values[position - step]
        gradient[axis] = difference * np.float32(0.5 * pixel / spacing[axis])
    size = np.hypot(gradient[0], gradient[1])
    voting = size > 0
    return gradient[:, voting] / size[voting], size[voting], position[voting]


def _symmetry_at(
    target: NDArray[np.intp],
    size: NDArray[np.float32],
    shape: tuple[int, ...],
    radius: float,
    alpha: float,
) -> NDArray[np.float32]:
    """The paper's S_n of a slice at one radius in pixels; the kernel sums to the radius."""
    full = VOTES_SMALL if radius < 1.5 else VOTES
    length = int(np.prod(shape))
    votes = np.bincount(target, minlength=length).astype(np.float32)
    weight = np.bincount(target, weights=size, minlength=length).astype(np.float32)
    strength = weight / full * (np.minimum(votes, full) / full) ** alpha
    sigma = SMOOTHING * radius
    smooth = ndimage.gaussian_filter(strength.reshape(shape), sigma)
    return np.asarray(smooth * np.float32(radius))
