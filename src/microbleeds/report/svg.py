"""Grey pictures with marks as inline SVG: everything in mm, so that proportions are true."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable
from html import escape

import numpy as np
from numpy.typing import NDArray

from microbleeds.report.box import Box, shades, slice_in_box
from microbleeds.report.view import Plane, View

_QUALITY = 85  # of the JPEG


def slice_image(view: View, plane: Plane, level: int, box: Box, pixel_mm: float) -> str:
    """The part of slice `level` that lies in `box`, linear between voxels, black outside."""
    return grey_image(slice_in_box(view, plane, level, box, pixel_mm), view.window, box)


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

    file = io.BytesIO()
    Image.fromarray(shades(values, window)).save(file, "JPEG", quality=_QUALITY, optimize=True)
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
