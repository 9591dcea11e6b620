"""A part of a plane in mm, and what a scan shows there."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import map_coordinates

from microbleeds.report.view import SIDE_MM, Plane, View

_MARGIN_MM = 8.0


@dataclass(frozen=True)
class Box:
    """A part of a plane, in mm from the outer edge of the volume's first voxel along both axes."""

    left: float  # along the axis that runs to the left: the largest is at the picture's left
    top: float
    width: float
    height: float

    def to_picture(self, along_left: float, along_top: float) -> tuple[float, float]:
        """Picture coordinates (from the upper left corner) of a point of the plane."""
        return self.left - along_left, self.top - along_top


def place_in_plane(
    view: View, plane: Plane, xyz_mm: tuple[float, float, float]
) -> tuple[float, float]:
    """Where a point of the scanner lies in a plane, mm along its two axes."""
    place = (view.place(xyz_mm) + 0.5) * view.spacing
    left, top = plane.across
    return float(place[left]), float(place[top])


def box_around(seen: NDArray[np.bool_], spacing: NDArray[np.float64]) -> Box:
    """What a mask (left axis, top axis) of voxels of `spacing` mm fills, with a margin."""
    filled = np.argwhere(seen) if seen.any() else np.argwhere(np.ones_like(seen))
    low = filled.min(axis=0) * spacing - _MARGIN_MM
    high = (filled.max(axis=0) + 1) * spacing + _MARGIN_MM
    return Box(float(high[0]), float(high[1]), *(float(size) for size in high - low))


def box_at(view: View, plane: Plane, xyz_mm: tuple[float, float, float]) -> Box:
    """Of a close-up: a square with a point of the scanner in its middle."""
    left, top = place_in_plane(view, plane, xyz_mm)
    return Box(left + SIDE_MM / 2, top + SIDE_MM / 2, SIDE_MM, SIDE_MM)


def slice_in_box(
    view: View, plane: Plane, level: int, box: Box, pixel_mm: float
) -> NDArray[np.float32]:
    """The part of slice `level` that lies in `box`, see `plane_in_box`; black outside the scan."""
    values = np.moveaxis(view.voxels, plane.axis, 0)[level]  # np.take would copy the whole
    return plane_in_box(values, view.spacing[list(plane.across)], box, pixel_mm, view.window[0])


def plane_in_box(
    values: NDArray[np.float32],
    spacing: NDArray[np.float64],
    box: Box,
    pixel_mm: float,
    outside: float,
) -> NDArray[np.float32]:
    """Values (left axis, top axis) as seen in a box: (rows, columns), linear between voxels.

    spacing: of the values' voxels, mm. outside: what stands where there are none.
    """
    size = (math.ceil(box.width / pixel_mm), math.ceil(box.height / pixel_mm))
    edges = ((box.left, box.width), (box.top, box.height))
    left, top = (
        (edge - (np.arange(count) + 0.5) * length / count) / mm - 0.5
        for (edge, length), count, mm in zip(edges, size, spacing, strict=True)
    )
    seen: NDArray[np.float32] = map_coordinates(
        values, np.meshgrid(left, top, indexing="xy"), order=1, mode="grid-constant", cval=outside
    )
    return seen


def shades(values: NDArray[np.float32], window: tuple[float, float]) -> NDArray[np.uint8]:
    """Values as grey from 0 to 255. window: what is black and what is white."""
    low, high = window
    span = high - low or 1.0
    grey: NDArray[np.uint8] = np.clip((values - low) / span * 255, 0, 255).astype(np.uint8)
    return grey
