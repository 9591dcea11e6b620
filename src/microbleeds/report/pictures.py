"""Pictures of the microbleeds found: where they are, and each of them close up."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from microbleeds.files import whole_file
from microbleeds.report.box import box_around, box_at, place_in_plane, plane_in_box, slice_in_box
from microbleeds.report.marks import COLOUR, close_up, picture, ring, ring_mm, write
from microbleeds.report.view import SIDE_MM, View, grey_window, turned_to_ras
from microbleeds.scan import Scan
from microbleeds.steps import Candidate

_NOTE = "Research use only, not for diagnosis. R: the patient's right."
_CLOSE_UPS = 24
_COLUMNS = 6
# Pixels: of a close-up, the gap to the next, the whole brain's longer side, a line of text.
_CLOSE_UP, _GAP, _WHOLE, _LINE = 180, 10, 840, 28


def draw_detections(
    scan: Scan, brain: NDArray[np.bool_], detections: Sequence[Candidate], path: Path
) -> None:
    """A PNG: the whole brain with numbered circles, and a slice through each microbleed.

    brain: on the scan's grid. The brain is seen across its slices, by the mean value along the
    line of sight (the brightest for QSM). Close-ups: the first 24, 30 mm wide, with a bar of 10 mm.
    Raises UserError when `path` cannot be written.
    """
    view = turned_to_ras(scan, brain)
    shown = detections[:_CLOSE_UPS]
    whole = _draw_whole(view, scan.contrast == "qsm", detections)
    cell, row = _CLOSE_UP + _GAP, _CLOSE_UP + _GAP + _LINE
    rows = math.ceil(len(shown) / _COLUMNS)
    width = max(_COLUMNS * cell, whole.width + _GAP) + _GAP
    top = _GAP + _LINE + whole.height + _GAP
    sheet = Image.new("RGB", (width, top + rows * row + _LINE), "black")
    sheet.paste(whole, ((width - whole.width) // 2, _GAP + _LINE))
    for number, detection in enumerate(shown):
        corner = (_GAP + number % _COLUMNS * cell, top + number // _COLUMNS * row + _LINE)
        sheet.paste(_draw_close_up(view, detection), corner)
        size = f"{detection.diameter_mm:.1f} mm, p {detection.probability:.2f}"
        middle = (corner[0] + _CLOSE_UP / 2, corner[1] - _LINE / 2)
        write(sheet, f"{detection.index}: {size}", middle, 14)
    found = f"{len(detections)} microbleed{'' if len(detections) == 1 else 's'}"
    name = scan.name.encode(errors="replace").decode()  # of a file, which need not be UTF-8
    write(sheet, f"{name}: {found}", (width / 2, _GAP + _LINE / 2), 19)
    write(sheet, _NOTE, (width / 2, sheet.height - _LINE / 2), 15, "#bfbfbf")
    with whole_file(path) as temporary:
        sheet.save(temporary, format="PNG")


def _draw_whole(view: View, is_qsm: bool, detections: Sequence[Candidate]) -> Image.Image:
    plane = view.plane
    inside = view.outline(plane)
    if is_qsm:
        seen = np.where(view.brain, view.voxels, -np.inf).max(axis=plane.axis)
    else:  # the darkest value would show the skull base and nothing else
        depth = np.maximum(view.brain.sum(axis=plane.axis), 1)
        seen = np.where(view.brain, view.voxels, 0).sum(axis=plane.axis) / depth
    window = grey_window(seen[inside])  # its own: projected values are unlike single ones
    spacing = view.spacing[list(plane.across)]
    box = box_around(inside, spacing)
    pixel_mm = max(box.width, box.height) / _WHOLE
    values = plane_in_box(np.where(inside, seen, window[0]), spacing, box, pixel_mm, window[0])
    whole = picture(values, window)
    for detection in detections:
        middle = box.to_picture(*place_in_plane(view, plane, detection.xyz_mm))
        x, y = (mm / pixel_mm for mm in middle)
        radius = ring_mm(detection.diameter_mm) / pixel_mm
        ring(whole, (x, y), radius)
        aside = 0.7 * radius + 2
        write(whole, str(detection.index), (x + aside, y - aside), 17, COLOUR, "ls")
    if plane.edges[0] == "R":
        write(whole, "R", (8, whole.height / 2), 18, anchor="lm")
    return whole


def _draw_close_up(view: View, detection: Candidate) -> Image.Image:
    box = box_at(view, view.plane, detection.xyz_mm)
    pixel_mm = SIDE_MM / _CLOSE_UP
    level = view.level(view.plane, detection.xyz_mm)
    values = slice_in_box(view, view.plane, level, box, pixel_mm)
    return close_up(values, view.window, pixel_mm, detection.diameter_mm)
