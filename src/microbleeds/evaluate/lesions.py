"""The microbleeds of one scan, predicted or true, as matching sees them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from nibabel.affines import apply_affine
from numpy.typing import NDArray
from scipy import ndimage


@dataclass(frozen=True)
class Lesions:
    """xyz_mm: centres in scanner mm, (N, 3). confidence: (N,), 1 for the truth.

    labels: (X, Y, Z), lesion n as n + 1 and 0 elsewhere, with its affine; None where only
    centres are known. volumes_mm3: (N,); None where they are not known.
    """

    xyz_mm: NDArray[np.float64]
    confidence: NDArray[np.float64]
    labels: NDArray[np.int32] | None = None
    affine: NDArray[np.float64] | None = None
    volumes_mm3: NDArray[np.float64] | None = None

    def __len__(self) -> int:
        """How many lesions."""
        return len(self.xyz_mm)


def from_centres(
    xyz_mm: NDArray[np.float64],
    confidence: NDArray[np.float64] | None = None,
    volumes_mm3: NDArray[np.float64] | None = None,
) -> Lesions:
    """Lesions of which only the centres (N, 3) are known, and perhaps the volumes."""
    centres = np.asarray(xyz_mm, np.float64).reshape(-1, 3)
    chances = np.ones(len(centres)) if confidence is None else confidence
    return Lesions(centres, chances, volumes_mm3=volumes_mm3)


def with_unrated(truth: Lesions, centres_mm: NDArray[np.float64]) -> Lesions:
    """True lesions by their centres, and more (N, 3) that count neither way, as of volume 0."""
    volumes = np.full(len(truth), np.nan) if truth.volumes_mm3 is None else truth.volumes_mm3
    return from_centres(
        np.concatenate([truth.xyz_mm, centres_mm.reshape(-1, 3)]),
        volumes_mm3=np.concatenate([volumes, np.zeros(len(centres_mm))]),
    )


def from_labels(
    numbers: NDArray[np.int32],
    affine: NDArray[np.float64],
    confidence: NDArray[np.float64] | None = None,
) -> Lesions:
    """Lesions of a label image (X, Y, Z): each positive number is one, in ascending order."""
    inside = numbers > 0
    present, found = np.unique(numbers[inside], return_inverse=True)
    labels = np.zeros(numbers.shape, np.int32)
    labels[inside] = found + 1
    voxels = ndimage.center_of_mass(inside, labels, range(1, len(present) + 1))
    centres = apply_affine(affine, np.array(voxels).reshape(-1, 3))
    chances = np.ones(len(present)) if confidence is None else confidence
    volumes = np.bincount(labels.ravel(), minlength=1)[1:] * abs(np.linalg.det(affine[:3, :3]))
    return Lesions(centres, chances, labels, affine, volumes)
