"""The page of a comparison: one HTML file, both visits side by side for each microbleed."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import nibabel as nib
import numpy as np
from nibabel.affines import apply_affine
from numpy.typing import NDArray
from scipy import ndimage

from microbleeds.prepare.grid import slice_axis
from microbleeds.report.html import fill_template
from microbleeds.study.compare import Comparison
from microbleeds.study.longitudinal import Change
from microbleeds.study.visit import Visit

SIDE_MM, BAR_MM = 30.0, 10.0
_PIXEL_MM = 0.25
_MARK = "#ffb000"


@dataclass(frozen=True)
class Plane:
    """The baseline's slice plane, seen as radiologists do: unit vectors to the right and up.

    letters: what lies at the left and at the right edge of the picture.
    """

    right: NDArray[np.float64]
    up: NDArray[np.float64]
    letters: tuple[str, str]


def render(found: Comparison, record: Mapping[str, Any]) -> str:
    """The page as text, self-contained: pictures are in it, nothing is loaded."""
    plane = slice_plane(found.baseline)
    shown = [(change, _data_uri(draw_pair(found, change, plane))) for change in found.changes]
    content = {
        "record": record,
        "changes": shown,
        "match_mm": found.rules.match_mm,
        "names": (found.baseline.scan.name, found.follow_up.scan.name),
    }
    return fill_template("visits.html", content)


def slice_plane(visit: Visit) -> Plane:
    """How to look at a scan: along its slices, the patient's right on the left."""
    affine = visit.scan.affine
    orientation = nib.io_orientation(affine)
    across = sorted({0, 1, 2} - {slice_axis(affine)}, key=lambda axis: float(orientation[axis, 0]))
    directions = []
    for axis in across:
        vector = affine[:3, axis] * orientation[axis, 1]
        directions.append(vector / np.linalg.norm(vector))
    if orientation[across[0], 0] == 0:  # runs to the patient's right
        return Plane(-directions[0], directions[1], ("R", "L"))
    return Plane(directions[0], directions[1], ("P", "A"))


def draw_pair(found: Comparison, change: Change, plane: Plane) -> bytes:
    """PNG of the same 30 mm of both visits, with a circle at the place and a bar of 10 mm."""
    from matplotlib.figure import Figure

    matrix = found.registration.matrix
    candidate = change.baseline or change.follow_up
    if candidate is None:
        raise ValueError("a change without a microbleed")
    if change.baseline is None:
        centre = apply_affine(np.linalg.inv(matrix), candidate.xyz_mm)
    else:
        centre = np.array(candidate.xyz_mm)
    figure = Figure(figsize=(4.4, 2.3), facecolor="black", layout="constrained")
    visits = (
        (found.baseline, np.eye(4), change.baseline),
        (found.follow_up, matrix, change.follow_up),
    )
    for axes, name, (visit, to_visit, own) in zip(
        figure.subplots(1, 2), ("baseline", "follow-up"), visits, strict=True
    ):
        _draw(axes, visit, to_visit, centre, plane)
        radius = max(3.0, candidate.diameter_mm)
        _circle(axes, radius, dashed=own is None)
        axes.set_title(f"{change.number}: {name}", color="white", fontsize=8)
    stream = io.BytesIO()
    figure.savefig(stream, format="png", dpi=110)
    return stream.getvalue()


def _draw(
    axes: Any, visit: Visit, matrix: NDArray[np.float64], centre: NDArray[np.float64], plane: Plane
) -> None:
    half = SIDE_MM / 2
    steps = np.arange(-half, half + _PIXEL_MM / 2, _PIXEL_MM)
    across, upwards = np.meshgrid(steps, steps)
    points = centre + across[..., None] * plane.right + upwards[..., None] * plane.up
    voxels = apply_affine(np.linalg.inv(visit.scan.affine) @ matrix, points.reshape(-1, 3))
    image = ndimage.map_coordinates(visit.scan.voxels, voxels.T, order=1, mode="constant")
    low, high = np.percentile(visit.scan.voxels[visit.brain], (0.5, 99.5))
    axes.imshow(
        image.reshape(across.shape), cmap="gray", vmin=low, vmax=high, origin="lower",
        extent=(-half, half, -half, half),
    )  # fmt: skip
    axes.set_axis_off()
    axes.plot([-half + 1.5, -half + 1.5 + BAR_MM], [-half + 1.5] * 2, color=_MARK, linewidth=1.5)
    axes.text(-half + 1.5, -half + 2.3, "10 mm", color=_MARK, fontsize=6)
    for place, letter, side in zip(
        (-half + 0.8, half - 0.8), plane.letters, ("left", "right"), strict=True
    ):
        axes.text(place, 0, letter, color="white", fontsize=7, ha=side, va="center")


def _circle(axes: Any, radius: float, dashed: bool) -> None:
    """Whole where the microbleed or its candidate was found, dashed where only the place is."""
    from matplotlib.patches import Circle

    style = "--" if dashed else "-"
    axes.add_patch(Circle((0, 0), radius, fill=False, color=_MARK, linewidth=0.9, linestyle=style))


def _data_uri(png: bytes) -> str:
    return "data:image/png;base64," + base64.b64encode(png).decode("ascii")
