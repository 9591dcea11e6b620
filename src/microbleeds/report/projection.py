"""The whole brain seen through, as if of glass, with the microbleeds numbered."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import minimum_filter, uniform_filter

from microbleeds.report.box import Box, box_around, place_in_plane
from microbleeds.report.svg import drawing, edge_letters, grey_image, outlines, text
from microbleeds.report.view import PLANES, Plane, View, grey_window
from microbleeds.steps import Candidate

_COARSE_MM = 1.0
_EDGE_MM = 5.0  # left out below the brain's edge, where skull base and air would hide the rest
_AROUND_MM = 15.0  # what counts as surroundings
_SIZE_MM = 7.0  # of a number
_MANY, _SMALLER_MM = 12, 5.5  # beyond so many, numbers are smaller
_RING_MM = 3.0
_CONTRAST = 1.5  # how far beyond the darkest values black is, so that the marks stand out


def projections(
    view: View, bleeds: Sequence[Candidate], is_qsm: bool
) -> tuple[tuple[float, str], ...]:
    """Width in mm and SVG picture, axial, coronal, sagittal; each number a link to `#bleed-N`.

    The darkest value along the line of sight (QSM: the most paramagnetic), after the image has
    been levelled by the mean of its surroundings, so that it is not the skull base that is seen.
    """
    iron, brain, spacing = levelled(view, is_qsm)
    return tuple(
        _projection(view, plane, bleeds, iron.max(axis=plane.axis), brain, spacing)
        for plane in PLANES
    )


def levelled(
    view: View, is_qsm: bool
) -> tuple[NDArray[np.float32], NDArray[np.bool_], NDArray[np.float64]]:
    """How much darker (QSM: brighter) than its surroundings, on voxels of about 1 mm.

    Returns that, 0 outside the brain and near its edge; the brain; the voxels' mm (3,).
    Of the fine voxels in a coarse one, the most extreme counts, so that no small bleed is lost.
    """
    factors = np.clip(np.rint(_COARSE_MM / view.spacing), 1, view.voxels.shape).astype(int)
    spacing: NDArray[np.float64] = view.spacing * factors
    sign = np.float32(1 if is_qsm else -1)
    brain = np.asarray(_blocks(view.brain, factors).any(axis=(1, 3, 5)), np.bool_)
    weight = _blocks(view.brain, factors).mean(axis=(1, 3, 5), dtype=np.float32)
    voxels = np.where(view.brain, view.voxels, np.float32(0))
    mean = _blocks(voxels, factors).mean(axis=(1, 3, 5), dtype=np.float32)
    extreme = sign * _blocks(sign * view.voxels, factors).max(axis=(1, 3, 5))
    around = np.maximum(np.rint(_AROUND_MM / spacing), 1).astype(int)
    background = uniform_filter(mean, around) / np.maximum(uniform_filter(weight, around), 1e-3)
    edge = 2 * np.ceil(_EDGE_MM / spacing).astype(int) + 1
    deep = minimum_filter((weight == 1).astype(np.uint8), size=edge, mode="constant") > 0
    iron = sign * (extreme - background)
    if not is_qsm:  # coils see some parts of the head better than others
        iron /= np.maximum(background, 1e-6)
    seen: NDArray[np.float32] = np.where(deep, np.maximum(iron, 0), np.float32(0))
    return seen, brain, spacing


def _blocks(volume: NDArray[Any], factors: NDArray[np.int_]) -> NDArray[Any]:
    """The volume as (X, fx, Y, fy, Z, fz), the last voxels that fill no block left out."""
    count = [size // factor for size, factor in zip(volume.shape, factors, strict=True)]
    cut = tuple(slice(n * factor) for n, factor in zip(count, factors, strict=True))
    shape = [part for pair in zip(count, factors, strict=True) for part in pair]
    return volume[cut].reshape(shape)


def _projection(
    view: View,
    plane: Plane,
    bleeds: Sequence[Candidate],
    iron: NDArray[np.float32],
    brain: NDArray[np.bool_],
    spacing: NDArray[np.float64],
) -> tuple[float, str]:
    across = list(plane.across)
    seen = np.asarray(brain.any(axis=plane.axis), np.bool_)
    box = box_around(seen, spacing[across])
    size = np.array(seen.shape) * spacing[across]
    whole = Box(*size, *size)
    white, black = 0.0, _CONTRAST * grey_window(iron[iron > 0])[1]
    parts = [
        grey_image(iron.T[::-1, ::-1], (black, white), whole, box.to_picture(*size)),
        outlines(seen, spacing[across], box, "brain"),
        '<g class="marks">',
        edge_letters(plane, box, 6.0),
        *_numbers(view, plane, bleeds, box),
        "</g>",
    ]
    return box.width, drawing(box, f"{plane.name} projection of the brain", parts, is_group=True)


def _numbers(view: View, plane: Plane, bleeds: Sequence[Candidate], box: Box) -> list[str]:
    """A ring and a number for each microbleed; numbers go where there is room."""
    centres = [box.to_picture(*place_in_plane(view, plane, bleed.xyz_mm)) for bleed in bleeds]
    size = _SIZE_MM if len(bleeds) <= _MANY else _SMALLER_MM
    taken = list(centres)
    parts = []
    for bleed, (x, y) in zip(bleeds, centres, strict=True):
        radius = max(_RING_MM, bleed.diameter_mm / 2 + 1)
        reach = radius + 0.6 * size
        around = [
            (x + reach * math.cos(angle), y + reach * math.sin(angle))
            for angle in np.deg2rad(np.arange(-45, 315, 30))
        ]
        best = max(around, key=lambda spot: min((math.dist(spot, c) for c in taken), default=0))
        taken.append(best)
        parts.append(
            f'<a href="#bleed-{bleed.index}" tabindex="-1" aria-label="microbleed {bleed.index}">'
            f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius:.1f}"/>'
            f"{text(str(bleed.index), *best, size)}</a>"
        )
    return parts
