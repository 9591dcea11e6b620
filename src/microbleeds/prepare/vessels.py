"""Vessel map: where long bright things are, 2D in every slice; and the published painting."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from microbleeds.prepare.slices import brain_boxes

BETA = 0.5  # how round a thing may be (0 line, 1 disc) before its score falls
GAMMA = 0.05  # curvature, of an image in [0, 1], at which a line scores 0.4
COHERENCE_MM = 1.5  # neighbourhood in which a vessel runs one way, the rim of a bleed every way
RIDGE_REACH, COHERENCE_REACH = 3.0, 2.0  # standard deviations at which kernels end
VESSEL = 0.5  # vesselness from which the painting takes a pixel for a vessel
ROUND_ECCENTRICITY = 0.9  # published shape rule: rounder and more solid components stay
ROUND_SOLIDITY = 0.5


def vesselness(
    image: NDArray[np.float32],
    brain: NDArray[np.bool_],
    spacing: NDArray[np.float64],
    scales_mm: Sequence[float],
) -> NDArray[np.float32]:
    """Bright ridges of each slice that keep their direction, in [0, 1].

    Frangi et al., MICCAI 1998, 2D, highest over the scales, with beta 0.5 (the released code's
    0.9 and 20 are arguments of another parametrisation and take round bleeds for vessels). The
    flank of a round bleed is a short ridge too; so the score is multiplied by the coherence of
    the ridge directions (doubled angles, weighted by score) around it: 1 along a line, near 0 on
    a bleed.

    image: (X, Y, Z) in [0, 1], slices along Z. spacing: (3,) in mm.
    """
    level = np.float32(np.median(image[brain]))
    sigmas = [scale / spacing[:2] for scale in scales_mm]
    sigma_around = COHERENCE_MM / spacing[:2]
    reach = np.ceil(
        np.maximum(RIDGE_REACH * np.max(sigmas, axis=0), COHERENCE_REACH * sigma_around)
    ).astype(int)
    vessels = np.zeros(image.shape, np.float32)
    for box in brain_boxes(brain, (int(reach[0]) + 1, int(reach[1]) + 1)):
        inside = brain[box]
        filled = np.where(inside, image[box] - level, np.float32(0))  # about 0, as kernels end
        vessels[box] = _coherent_ridges(filled, inside, sigmas, sigma_around)
    return vessels


def _coherent_ridges(
    image: NDArray[np.float32],
    inside: NDArray[np.bool_],
    sigmas: Sequence[NDArray[np.float64]],
    sigma_around: NDArray[np.float64],
) -> NDArray[np.float32]:
    """The highest score over scales of one slice (X, Y), times the ridges' coherence."""
    score, turn_x, turn_y = (np.zeros(image.shape, np.float32) for _ in range(3))
    for sigma in sigmas:
        where, line, cosine, sine = _ridge(image, inside, sigma)
        better = line > score.ravel()[where]
        where, line = where[better], line[better]
        score.ravel()[where] = line
        turn_x.ravel()[where] = line * cosine[better]
        turn_y.ravel()[where] = line * sine[better]

    def around(values: NDArray[np.float32]) -> NDArray[np.float32]:
        return np.asarray(ndimage.gaussian_filter(values, sigma_around, truncate=COHERENCE_REACH))

    aligned = np.sqrt(around(turn_x) ** 2 + around(turn_y) ** 2)
    return np.asarray(score * aligned / np.maximum(around(score), np.float32(1e-6)))


def _ridge(
    image: NDArray[np.float32], inside: NDArray[np.bool_], sigma: NDArray[np.float64]
) -> tuple[NDArray[np.intp], NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
    """Frangi's measure of a slice at one scale in pixels, where it is not 0, four arrays (N,).

    Flat indices of the pixels `inside` on a bright ridge, their score, and cosine and sine of twice
    the ridge's angle.
    """

    def derivative(x: int, y: int) -> NDArray[np.float32]:
        smooth = ndimage.gaussian_filter(image, sigma, order=(x, y), truncate=RIDGE_REACH)
        return np.asarray(smooth * np.float32(sigma[0] ** x * sigma[1] ** y))

    xx, yy = derivative(2, 0), derivative(0, 2)
    # Of mean -+ spread the lower eigenvalue is negative and the larger in size where the mean is.
    where = np.flatnonzero(inside & (xx + yy < 0))
    xx, yy, xy = (part.ravel()[where] for part in (xx, yy, derivative(1, 1)))
    mean, half = (xx + yy) / 2, (xx - yy) / 2
    spread = np.maximum(np.sqrt(half**2 + xy**2), np.float32(1e-12))
    across, along = mean - spread, mean + spread
    line = np.exp((along / across) ** 2 * np.float32(-0.5 / BETA**2))
    visible = 1 - np.exp((across**2 + along**2) * np.float32(-0.5 / GAMMA**2))
    cosine, sine = np.asarray(half / spread, np.float32), np.asarray(xy / spread, np.float32)
    return where, line * visible, cosine, sine


def paint_vessels(
    image: NDArray[np.float32], brain: NDArray[np.bool_], vessels: NDArray[np.float32]
) -> NDArray[np.float32]:
    """The image with its vessels painted over, as published; round things stay.

    A vessel is where `vessels` (0 to 1) is at least 0.5, except in components of a slice that
    are round and solid. It is filled, layer by layer, with the mean of those 26 neighbours that
    are brain and not vessel (the released code also counts the background's zeros).
    """
    masked = brain & (vessels >= VESSEL)
    for z in np.flatnonzero(masked.any(axis=(0, 1))):
        masked[:, :, z] &= ~_round_parts(masked[:, :, z])
    result, known = image.copy(), brain & ~masked
    while True:
        count = ndimage.uniform_filter(known.astype(np.float32), 3, mode="constant")
        layer = masked & ~known & (count > 0.5 / 27)
        if not layer.any():
            return result
        total = ndimage.uniform_filter(result * known, 3, mode="constant")
        result[layer] = total[layer] / count[layer]
        known |= layer


def _round_parts(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The 8-connected components of a slice that are round and solid."""
    from skimage.measure import label, regionprops

    labels = label(mask, connectivity=2)
    kept = [
        part.label
        for part in regionprops(labels)
        if part.eccentricity < ROUND_ECCENTRICITY and part.solidity > ROUND_SOLIDITY
    ]
    return np.isin(labels, kept)
