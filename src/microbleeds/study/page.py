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
from PIL import Image
from scipy import ndimage

from microbleeds.prepare.grid import slice_axis
from microbleeds.report.html import fill_template
from microbleeds.report.marks import close_up, write
from microbleeds.report.view import SIDE_MM, grey_window
from microbleeds.study.compare import Comparison
from microbleeds.study.longitudinal import Change
from microbleeds.study.visit import Visit

_CELL, _GAP, _LINE = 240, 6, 24  # pixels: of a close-up, between two, of a line of text
_PIXEL_MM = SIDE_MM / _CELL

Windows = tuple[tuple[float, float], tuple[float, float]]


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
    windows = grey_windows(found)
    shown = [
        (change, _data_uri(draw_pair(found, change, plane, windows))) for change in found.changes
    ]
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


def grey_windows(found: Comparison) -> Windows:
    """What is black and what is white of each visit."""
    first, second = (
        grey_window(visit.scan.voxels[visit.brain]) for visit in (found.baseline, found.follow_up)
    )
    return first, second


def draw_pair(found: Comparison, change: Change, plane: Plane, windows: Windows) -> bytes:
    """PNG of the same 30 mm of both visits, with a circle at the place and a bar of 10 mm.

    The circle is whole where the microbleed or its candidate was found, dashed where only the
    place is. windows: of `grey_windows`.
    """
    matrix = found.registration.matrix
    candidate = change.baseline or change.follow_up
    if candidate is None:
        raise ValueError("a change without a microbleed")
    if change.baseline is None:
        centre = apply_affine(np.linalg.inv(matrix), candidate.xyz_mm)
    else:
        centre = np.array(candidate.xyz_mm)
    sides = (
        ("baseline", found.baseline, np.eye(4), change.baseline),
        ("follow-up", found.follow_up, matrix, change.follow_up),
    )
    sheet = Image.new("RGB", (2 * _CELL + 3 * _GAP, _LINE + _CELL + _GAP), "black")
    for number, (name, visit, to_visit, own) in enumerate(sides):
        left = _GAP + number * (_CELL + _GAP)
        values = _slice_through(centre, visit, to_visit, plane)
        image = close_up(values, windows[number], _PIXEL_MM, candidate.diameter_mm, own is None)
        write(image, plane.letters[0], (5, _CELL / 2), 15, anchor="lm")
        write(image, plane.letters[1], (_CELL - 5, _CELL / 2), 15, anchor="rm")
        sheet.paste(image, (left, _LINE))
        write(sheet, f"{change.number}: {name}", (left + _CELL / 2, _LINE / 2), 15)
    stream = io.BytesIO()
    sheet.save(stream, format="PNG")
    return stream.getvalue()


def _slice_through(
    centre: NDArray[np.float64], visit: Visit, matrix: NDArray[np.float64], plane: Plane
) -> NDArray[np.float32]:
    """What a visit shows around a place of the baseline: (rows, columns), 0 outside the scan.

    matrix: (4, 4) from the baseline's mm to the visit's.
    """
    steps = (np.arange(_CELL) + 0.5) * _PIXEL_MM - SIDE_MM / 2
    across, upwards = np.meshgrid(steps, -steps)
    points = centre + across[..., None] * plane.right + upwards[..., None] * plane.up
    voxels = apply_affine(np.linalg.inv(visit.scan.affine) @ matrix, points)
    values: NDArray[np.float32] = ndimage.map_coordinates(
        visit.scan.voxels, np.moveaxis(voxels, -1, 0), order=1, mode="constant"
    )
    return values


def _data_uri(png: bytes) -> str:
    return "data:image/png;base64," + base64.b64encode(png).decode("ascii")
