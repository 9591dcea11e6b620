"""A scan turned to RAS, as the pictures need it: planes, grey window, places."""

from __future__ import annotations

from dataclasses import dataclass

import nibabel as nib
import numpy as np
from numpy.typing import NDArray

from microbleeds.scan import Scan

SIDE_MM = 30.0  # of a close-up
BAR_MM = 10.0
_WHITE = 90.0  # of a magnitude: bright fluid may be white, so that tissue has the greys


@dataclass(frozen=True)
class Plane:
    """A way of looking at a scan turned to RAS: the axis looked along, letters at the edges.

    Patient's right on the left, front on the left, top at the top: as radiologists read.
    """

    name: str
    axis: int
    edges: str  # left, right, top, bottom

    @property
    def across(self) -> tuple[int, int]:
        """The axes that run to the left and to the top."""
        left, top = (axis for axis in range(3) if axis != self.axis)
        return left, top


AXIAL, CORONAL, SAGITTAL = (
    Plane("axial", 2, "RLAP"),
    Plane("coronal", 1, "RLSI"),
    Plane("sagittal", 0, "APSI"),
)
PLANES = (AXIAL, CORONAL, SAGITTAL)


@dataclass(frozen=True)
class View:
    """The scan turned to RAS: voxels, brain, affine, the plane of its slices, grey window.

    upwards: whether the file counts its slices as RAS does, from foot, back or left.
    """

    voxels: NDArray[np.float32]
    brain: NDArray[np.bool_]
    affine: NDArray[np.float64]
    plane: Plane
    upwards: bool
    window: tuple[float, float]

    @property
    def spacing(self) -> NDArray[np.float64]:
        """Voxel size in mm, shape (3,)."""
        size: NDArray[np.float64] = np.linalg.norm(self.affine[:3, :3], axis=0)
        return size

    def outline(self, plane: Plane) -> NDArray[np.bool_]:
        """Where the brain is, seen through along a plane's axis: (left axis, top axis)."""
        return np.asarray(self.brain.any(axis=plane.axis), np.bool_)

    def level(self, plane: Plane, xyz_mm: tuple[float, float, float]) -> int:
        """The slice of a plane that a point lies in, or the nearest that there is."""
        size = int(self.voxels.shape[plane.axis])
        return min(max(round(float(self.place(xyz_mm)[plane.axis])), 0), size - 1)

    def place(self, xyz_mm: tuple[float, float, float]) -> NDArray[np.float64]:
        """Voxel coordinates of a point in the scanner."""
        origin = self.affine[:3, 3]
        voxel = np.linalg.solve(self.affine[:3, :3], np.asarray(xyz_mm) - origin)
        return np.asarray(voxel, np.float64)

    def own_level(self, level: int) -> int:
        """The number, from 0, that the scan's file gives a slice."""
        return level if self.upwards else self.voxels.shape[self.plane.axis] - 1 - level


def turned_to_ras(scan: Scan, brain: NDArray[np.bool_]) -> View:
    """The scan and its brain mask with axes permuted and flipped to RAS, nothing resampled.

    Its slices lie across the axis of the largest voxels, the third if all are alike.
    """
    voxels = nib.as_closest_canonical(nib.Nifti1Image(scan.voxels, scan.affine))
    turned = nib.as_closest_canonical(nib.Nifti1Image(brain.astype(np.uint8), scan.affine))
    inside = np.asarray(turned.dataobj) > 0
    image = np.asarray(voxels.dataobj, np.float32)
    spacing = np.linalg.norm(voxels.affine[:3, :3], axis=0)
    thick = spacing.max() > 1.01 * spacing.min()
    axis = int(spacing.argmax()) if thick else 2
    plane = next(plane for plane in PLANES if plane.axis == axis)
    own = next(row for row in nib.io_orientation(scan.affine) if row[0] == axis)
    window = grey_window(image[inside], 99.5 if scan.contrast == "qsm" else _WHITE)
    return View(image, inside, voxels.affine, plane, bool(own[1] > 0), window)


def grey_window(values: NDArray[np.float32], white: float = 99.5) -> tuple[float, float]:
    """The values shown black and white; white: the percentile from which all is white."""
    low, high = np.percentile(values, (0.5, white)) if values.size else (0.0, 1.0)
    return float(low), float(high)
