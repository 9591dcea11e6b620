"""Grey pictures with marks as inline SVG: everything in mm, so that proportions are true."""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Iterable
from dataclasses import dataclass
from html import escape

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import map_coordinates

from microbleeds.report.view import Plane, View

_QUALITY = 85  # of the JPEG
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


def slice_image(view: View, plane: Plane, level: int, box: Box, pixel_mm: float) -> str:
    """The part of slice `level` that lies in `box`, linear between voxels, black outside."""
    size = (math.ceil(box.width / pixel_mm), math.ceil(box.height / pixel_mm))
    edges = ((box.left, box.width), (box.top, box.height))
    left, top = (
        (edge - (np.arange(count) + 0.5) * length / count) / view.spacing[axis] - 0.5
        for (edge, length), count, axis in zip(edges, size, plane.across, strict=True)
    )
    values: NDArray[np.float32] = map_coordinates(
        np.moveaxis(view.voxels, plane.axis, 0)[level],  # np.take would copy the whole
        np.meshgrid(left, top, indexing="xy"),
        order=1,
        mode="grid-constant",
        cval=view.window[0],
    )
    return grey_image(values, view.window, box)


def grey_image(
    values: NDArray[np.float32],
    window: tuple[float, float],
    box: Box,
    at: tuple[float, float] = (0.0, 0.0),
) -> str:
    """An SVG image of the size of `box`, its upper left corner `at`.

    values: (rows, columns) as seen, from the top left. window: what is black and what is white.
    """
    from PIL import Image

    low, high = window
    span = high - low or 1.0
    grey = np.clip((values - low) / span * 255, 0, 255).astype(np.uint8)
    file = io.BytesIO()
    Image.fromarray(grey).save(file, "JPEG", quality=_QUALITY, optimize=True)
    data = base64.b64encode(file.getvalue()).decode()
    return (
        f'<image x="{at[0]:.2f}" y="{at[1]:.2f}" width="{box.width:.2f}" height="{box.height:.2f}" '
        f'preserveAspectRatio="none" href="data:image/jpeg;base64,{data}"/>'
    )


def drawing(box: Box, label: str, parts: Iterable[str], is_group: bool = False) -> str:
    """The whole SVG element. label: what it shows, for those who cannot see it.

    is_group: whether there are links in it, which a plain picture would hide from screen readers.
    """
    role = "group" if is_group else "img"
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" role="{role}" aria-label="{escape(label)}" '
        f'viewBox="0 0 {box.width:.2f} {box.height:.2f}">{"".join(parts)}</svg>'
    )


def outlines(mask: NDArray[np.bool_], spacing: NDArray[np.float64], box: Box, kind: str) -> str:
    """The outline of a mask (left axis, top axis), of voxels of `spacing` mm, as one path.

    kind: the CSS class.
    """
    from skimage.measure import approximate_polygon, find_contours

    lines = []
    for line in find_contours(np.pad(mask, 1).astype(np.float32), 0.5):
        inside = (line - 0.5) * spacing  # the padding's voxel, and centres at a half
        points = [box.to_picture(*point) for point in approximate_polygon(inside, 0.4)]
        lines.append("M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in points) + "Z")
    return f'<path class="{kind}" d="{"".join(lines)}"/>'


def text(words: str, x: float, y: float, size: float, anchor: str = "middle") -> str:
    """Words centred in height on a point; size in mm."""
    return (
        f'<text x="{x:.2f}" y="{y + 0.35 * size:.2f}" font-size="{size:g}" '
        f'text-anchor="{anchor}">{escape(words)}</text>'
    )


def edge_letters(plane: Plane, box: Box, size: float) -> str:
    """Which side of the patient is where."""
    middle, centre, margin = box.height / 2, box.width / 2, 0.75 * size
    places = (
        (margin, middle), (box.width - margin, middle),
        (centre, margin), (centre, box.height - margin),
    )  # fmt: skip
    return "".join(
        text(letter, x, y, size) for letter, (x, y) in zip(plane.edges, places, strict=True)
    )
