"""How well a registration fits, and what speaks against it."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from microbleeds.mni.coarse import WORK_MM, CoarseHead

LEAST_OVERLAP = 0.86  # two heads turned the wrong way reached 0.84, sound ones 0.88 and more
STRETCH = (0.7, 1.4)
LARGEST_TURN_DEG = 50.0


def brain_cm3(head: CoarseHead) -> float:
    """Volume of the brain in view."""
    return float(head.brain.sum()) * WORK_MM**3 / 1000


def on_grid(
    values: NDArray[Any], affine: NDArray[np.float64], matrix: NDArray[np.float64], head: CoarseHead
) -> NDArray[Any]:
    """An array in MNI space (`affine`) on the grid of the head, linear; `matrix`: scan to MNI."""
    step = np.linalg.inv(affine) @ matrix @ head.affine
    moved: NDArray[Any] = ndimage.affine_transform(
        values, step[:3, :3], step[:3, 3], head.brain.shape, order=1
    )
    return moved


def brain_overlap(matrix: NDArray[np.float64], head: CoarseHead, template: CoarseHead) -> float:
    """Dice of the brains where the scan sees."""
    here = (head.brain > 0.5) & head.seen
    there = (on_grid(template.brain, template.affine, matrix, head) > 0.5) & head.seen
    return 2 * float((here & there).sum()) / max(float(here.sum() + there.sum()), 1.0)


def problem_of(matrix: NDArray[np.float64], overlap: float) -> str:
    """What speaks against a registration; empty when nothing does."""
    u, stretch, vt = np.linalg.svd(matrix[:3, :3])
    angle = float(np.degrees(np.arccos(np.clip((np.trace(u @ vt) - 1) / 2, -1, 1))))
    if not STRETCH[0] <= stretch.min() <= stretch.max() <= STRETCH[1]:
        return f"it would stretch the head {stretch.min():.2f} to {stretch.max():.2f} times"
    if angle > LARGEST_TURN_DEG:
        return f"it would turn the head by {angle:.0f} degrees"
    if overlap < LEAST_OVERLAP:
        return f"the brains overlap by {overlap:.2f} (Dice), less than {LEAST_OVERLAP:g}"
    return ""
