"""Pictures of the microbleeds found: where they are, and each of them close up."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from microbleeds.files import whole_file
from microbleeds.report.view import BAR_MM, SIDE_MM, View, grey_window, turned_to_ras
from microbleeds.scan import Scan
from microbleeds.steps import Candidate

_NOTE = "Research use only, not for diagnosis. R: the patient's right."
_CLOSE_UPS = 24
_COLUMNS = 6
_COLOUR = "#ffb000"


def draw_detections(
    scan: Scan, brain: NDArray[np.bool_], detections: Sequence[Candidate], path: Path
) -> None:
    """A PNG: the whole brain with numbered circles, and a slice through each microbleed.

    brain: on the scan's grid. The brain is seen across its slices, by the mean value along the
    line of sight (the brightest for QSM). Close-ups: the first 24, 30 mm wide, with a bar of 10 mm.
    Raises UserError when `path` cannot be written.
    """
    from matplotlib.figure import Figure

    view = turned_to_ras(scan, brain)
    shown = detections[:_CLOSE_UPS]
    rows = math.ceil(len(shown) / _COLUMNS)
    figure = Figure(figsize=(9, 6.8 + 1.75 * rows), facecolor="black", layout="constrained")
    grid = figure.add_gridspec(rows + 1, _COLUMNS, height_ratios=[6.5, *[1.7] * rows])
    _draw_whole(_axes(figure, grid[0, :]), view, scan, detections)
    for place, detection in enumerate(shown):
        cell = grid[1 + place // _COLUMNS, place % _COLUMNS]
        _draw_close_up(_axes(figure, cell), view, detection)
    figure.supxlabel(_NOTE, color="0.75", fontsize=8)
    with whole_file(path) as temporary:
        figure.savefig(temporary, format="png", dpi=130)


def _axes(figure: Any, cell: Any) -> Any:
    axes = figure.add_subplot(cell)
    axes.set_axis_off()
    return axes


def _show(axes: Any, view: View, plane: NDArray[np.float32], window: tuple[float, float]) -> None:
    """A plane in mm from its first voxel."""
    width, height = np.array(plane.shape) * view.spacing[list(view.plane.across)]
    extent = (0, width, 0, height)
    low, high = window
    axes.imshow(plane.T, cmap="gray", vmin=low, vmax=high, origin="lower", extent=extent)


def _zoom(axes: Any, view: View, centre: NDArray[np.float64], half_mm: float) -> int:
    """A square around a point; returns the sign of "to the right" in the plane's mm.

    The patient's right is on the left (radiological).
    """
    sign = -1 if view.plane.across[0] == 0 else 1
    axes.set_xlim(centre[0] - sign * half_mm, centre[0] + sign * half_mm)
    axes.set_ylim(centre[1] - half_mm, centre[1] + half_mm)
    return sign


def _position(view: View, detection: Candidate) -> NDArray[np.float64]:
    """Where a detection is in the plane, mm."""
    place = (view.place(detection.xyz_mm) + 0.5) * view.spacing
    return place[list(view.plane.across)]


def _circle(axes: Any, detection: Candidate, centre: NDArray[np.float64]) -> None:
    from matplotlib.patches import Circle

    radius = max(3.0, detection.diameter_mm)
    axes.add_patch(Circle(tuple(centre), radius, fill=False, color=_COLOUR, linewidth=0.8))


def _draw_whole(axes: Any, view: View, scan: Scan, detections: Sequence[Candidate]) -> None:
    from matplotlib.patheffects import withStroke

    inside = view.outline(view.plane)
    if scan.contrast == "qsm":
        plane = np.where(view.brain, view.voxels, -np.inf).max(axis=view.plane.axis)
    else:  # the darkest value would show the skull base and nothing else
        depth = np.maximum(view.brain.sum(axis=view.plane.axis), 1)
        plane = np.where(view.brain, view.voxels, 0).sum(axis=view.plane.axis) / depth
    window = grey_window(plane[inside])  # its own: projected values are unlike single ones
    _show(axes, view, np.where(inside, plane, window[0]), window)
    filled = np.argwhere(inside) * view.spacing[list(view.plane.across)]
    low, high = (filled.min(axis=0), filled.max(axis=0)) if len(filled) else (0, plane.shape)
    _zoom(axes, view, np.add(low, high) / 2, float(np.max(np.subtract(high, low))) / 2 + 5)
    for detection in detections:
        centre = _position(view, detection)
        _circle(axes, detection, centre)
        axes.annotate(
            str(detection.index),
            centre,
            xytext=(6, 6),
            textcoords="offset points",
            color=_COLOUR,
            fontsize=8,
            path_effects=[withStroke(linewidth=2, foreground="black")],
        )
    if view.plane.across[0] == 0:
        axes.text(0.01, 0.5, "R", color="white", transform=axes.transAxes)
    found = f"{len(detections)} microbleed{'' if len(detections) == 1 else 's'}"
    name = scan.name.encode(errors="replace").decode()  # of a file, which need not be UTF-8
    axes.set_title(f"{name}: {found}", color="white", fontsize=10, parse_math=False)


def _draw_close_up(axes: Any, view: View, detection: Candidate) -> None:
    level = view.level(view.plane, detection.xyz_mm)
    # np.take would copy the whole volume
    _show(axes, view, np.moveaxis(view.voxels, view.plane.axis, 0)[level], view.window)
    centre = _position(view, detection)
    half = SIDE_MM / 2
    sign = _zoom(axes, view, centre, half)
    _circle(axes, detection, centre)
    start, bottom = centre[0] - sign * (half - 1.5), centre[1] - half
    axes.plot([start, start + sign * BAR_MM], [bottom + 1.5] * 2, color=_COLOUR, linewidth=1.5)
    axes.text(start, bottom + 2.2, "10 mm", color=_COLOUR, fontsize=5)
    size = f"{detection.diameter_mm:.1f} mm, p {detection.probability:.2f}"
    axes.set_title(f"{detection.index}: {size}", color="white", fontsize=7)
