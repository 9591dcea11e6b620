"""Intensity scaling: one range for every contrast, with microbleeds bright."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from microbleeds.errors import UserError
from microbleeds.settings import Contrast

MAD_TO_SIGMA = 1.4826  # of a normal distribution
QSM_MEDIAN = 0.3
QSM_PER_SIGMA = 0.05


def bright(
    voxels: NDArray[np.float32], brain: NDArray[np.bool_], contrast: Contrast
) -> NDArray[np.float32]:
    """Image in [0, 1] of any shape: bleeds towards 1, 0 outside the brain.

    Magnitude (t2star, swi): `1 - v / (2 median)`, so that tissue is 0.5, a signal void 1 and
    cerebrospinal fluid, up to twice as bright as tissue, near 0. The published `1 - v / max`
    hangs on one voxel; the median does not.
    QSM: `0.3 + 0.05 (v - median) / sigma`, sigma from the median absolute deviation in the brain,
    so that ppm, ppb and integers of any scale and offset give the same.

    Raises UserError when the brain has no signal or no contrast.
    """
    inside = voxels[brain]
    if not inside.size:
        raise UserError("The brain mask is empty; give one with --mask.")
    centre = float(np.median(inside))
    if contrast == "qsm":
        sigma = robust_sd(inside)
        if not sigma > 0:
            raise UserError("The susceptibility map is constant in most of the brain mask.")
        scaled = QSM_MEDIAN + (voxels - np.float32(centre)) * np.float32(QSM_PER_SIGMA / sigma)
    else:
        if not centre > 0:
            raise UserError(
                "Half the brain mask or more has no signal; check that the mask fits the scan."
            )
        scaled = 1 - voxels * np.float32(0.5 / centre)
    result: NDArray[np.float32] = np.where(brain, np.clip(scaled, 0, 1), np.float32(0))
    return result


def robust_sd(values: NDArray[np.float32]) -> float:
    """Standard deviation of values (N,), N > 0, from their median absolute deviation."""
    return MAD_TO_SIGMA * float(np.median(np.abs(values - float(np.median(values)))))
