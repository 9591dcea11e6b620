"""The geometry of a volume: frames in order along their normal, evenly spaced, as one affine."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from microbleeds.dicom.series import Frame, Volume
from microbleeds.errors import UserError
from microbleeds.scan import FEWEST_VOXELS

UNEVEN_MM = 0.05  # how far a frame may lie from its even place
LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])


def stacked(volume: Volume) -> tuple[tuple[Frame, ...], NDArray[np.float64]]:
    """The frames sorted along the normal, and (column, row, frame) indices to scanner mm (RAS+).

    The affine is (4, 4), by equation C.7.6.2.1-1 of DICOM PS3.3 with the mean step between
    frames. Raises UserError when frames are too few, doubled, missing, uneven or sheared.
    """
    name = f"Series {volume.title}"
    if len(volume.frames) < FEWEST_VOXELS:
        raise UserError(
            f"{name} has too few slices; a 3D scan of a head with at least {FEWEST_VOXELS} is "
            "needed."
        )
    normal = np.cross(volume.plane.row, volume.plane.column)
    frames = sorted(volume.frames, key=lambda frame: float(np.dot(frame.corner, normal)))
    corners = np.array([frame.corner for frame in frames])
    _check_even(name, corners @ normal)
    step = (corners[-1] - corners[0]) / (len(frames) - 1)
    even = corners[0] + np.arange(len(frames))[:, None] * step
    apart = float(np.abs(corners - even).max())
    aside = float(np.linalg.norm(np.cross(step, normal)))
    if apart > UNEVEN_MM or aside * len(frames) > UNEVEN_MM:
        raise UserError(
            f"{name} has slices that lie up to {max(apart, aside * len(frames)):.2g} mm beside "
            "one straight stack; export the series again or convert it yourself."
        )
    affine = np.eye(4)
    affine[:3, 0] = np.array(volume.plane.row) * volume.plane.spacing[0]
    affine[:3, 1] = np.array(volume.plane.column) * volume.plane.spacing[1]
    affine[:3, 2] = step
    affine[:3, 3] = corners[0]
    return tuple(frames), LPS_TO_RAS @ affine


def _check_even(name: str, heights: NDArray[np.float64]) -> None:
    """Raise UserError unless sorted heights (mm) are evenly spaced."""
    steps = np.diff(heights)
    usual = float(np.median(steps))
    if steps.min() < UNEVEN_MM:
        place = int(steps.argmin()) + 1
        raise UserError(
            f"{name} has more than one image at the place of slice {place}: repeats or several "
            "kinds of image in one series; export one volume alone."
        )
    if steps.max() > 1.5 * usual:
        place = int(steps.argmax()) + 1
        missing = sum(round(float(gap) / usual) - 1 for gap in steps if gap > 1.5 * usual)
        raise UserError(
            f"{name} lacks {missing} slice{'' if missing == 1 else 's'}: after slice {place} the "
            f"next is {steps.max():.3g} mm away instead of {usual:.3g} mm; export the series again."
        )
    if steps.max() - steps.min() > 2 * UNEVEN_MM:
        raise UserError(
            f"{name} has slices {steps.min():.3g} to {steps.max():.3g} mm apart; evenly spaced "
            "slices are needed."
        )
