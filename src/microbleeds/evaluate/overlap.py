"""Voxels that detections and true microbleeds share."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from microbleeds.evaluate.lesions import Lesions

Pairs = NDArray[np.int_]  # (M, 2): detection, true lesion, both from 0


def on_one_grid(one: Lesions, other: Lesions) -> bool:
    """Whether both have label images and these lie on the same voxels."""
    if one.labels is None or one.affine is None or other.labels is None or other.affine is None:
        return False
    return one.labels.shape == other.labels.shape and np.allclose(
        one.affine, other.affine, atol=1e-2
    )


def shared_voxels(predicted: Lesions, truth: Lesions) -> NDArray[np.int_]:
    """Voxels that each detection shares with each true lesion, (P, T); both on one grid."""
    shared = np.zeros((len(predicted), len(truth)), int)
    if predicted.labels is not None and truth.labels is not None:
        both = (predicted.labels > 0) & (truth.labels > 0)
        np.add.at(shared, (predicted.labels[both] - 1, truth.labels[both] - 1), 1)
    return shared


def dice_of_hits(predicted: Lesions, truth: Lesions, pairs: Pairs) -> dict[int, float]:
    """Dice of every matched true lesion with the union of its detections; both on one grid."""
    shared = shared_voxels(predicted, truth)
    predicted_size, true_size = _sizes(predicted), _sizes(truth)
    dice = {}
    for lesion in np.unique(pairs[:, 1]):
        hits = pairs[pairs[:, 1] == lesion, 0]
        total = predicted_size[hits].sum() + true_size[lesion]
        dice[int(lesion)] = float(2 * shared[hits, lesion].sum() / total)
    return dice


def _sizes(lesions: Lesions) -> NDArray[np.int_]:
    """Voxels of each lesion."""
    labels = np.empty(0, int) if lesions.labels is None else lesions.labels.ravel()
    return np.bincount(labels[labels > 0] - 1, minlength=len(lesions))
