"""Touching microbleeds told apart: a watershed on the probability, from peaks with real valleys."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from skimage.morphology import h_maxima
from skimage.segmentation import watershed

from microbleeds.settings import CandidateSettings

NEIGHBOURS = np.ones((3, 3, 3), bool)  # 26-connected


def split_touching(
    probability: NDArray[np.float32], spacing: NDArray[np.float64], settings: CandidateSettings
) -> NDArray[np.int32]:
    """Part numbers, from 1, of one connected component; 0 where the probability is 0.

    probability: (X, Y, Z), positive in the component, 0 elsewhere. spacing: voxel size in mm.
    """
    component = probability > 0
    peaks, count = ndimage.label(h_maxima(probability, settings.valley), NEIGHBOURS)
    if count < 2:
        return component.astype(np.int32)
    numbers = np.arange(1, count + 1)
    centres = np.array(ndimage.center_of_mass(component, peaks, numbers)) * spacing
    heights = ndimage.maximum(probability, peaks, numbers)
    kept: list[int] = []
    for peak in np.argsort(-np.asarray(heights), kind="stable"):
        distances = np.linalg.norm(centres[kept] - centres[peak], axis=1)
        if np.all(distances >= settings.peak_distance_mm):
            kept.append(int(peak))
    seeds = np.zeros(count + 1, np.int32)
    seeds[numbers[kept]] = np.arange(1, len(kept) + 1)
    parts: NDArray[np.int32] = watershed(
        -probability, seeds[peaks], connectivity=NEIGHBOURS, mask=component
    )
    return parts
