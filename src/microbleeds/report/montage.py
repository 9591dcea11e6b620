"""Slices through the whole scan with the outline of the brain mask."""

from __future__ import annotations

import numpy as np

from microbleeds.report.box import Box
from microbleeds.report.svg import drawing, edge_letters, outlines, slice_image
from microbleeds.report.view import View

_SLICES = 20
_PIXEL_MM = 1.2


def mask_montage(view: View, box: Box) -> list[tuple[str, int]]:
    """SVG pictures of evenly spaced slices from the first to the last with brain.

    box: what of each slice is shown. Each comes with the number that the scan's own file gives
    the slice, from 0.
    """
    plane = view.plane
    levels = np.flatnonzero(view.brain.any(axis=plane.across))
    if not levels.size:
        return []
    chosen = np.unique(np.linspace(levels[0], levels[-1], min(_SLICES, levels.size)).round())
    spacing = view.spacing[list(plane.across)]
    pictures = []
    for level in chosen.astype(int).tolist():
        number = view.own_level(level)
        parts = [
            slice_image(view, plane, level, box, _PIXEL_MM),
            outlines(np.moveaxis(view.brain, plane.axis, 0)[level], spacing, box, "mask"),
            f'<g class="marks">{edge_letters(plane, box, 11.0)}</g>',
        ]
        label = f"slice {number} with the outline of the brain mask"
        pictures.append((drawing(box, label, parts), number))
    return pictures
