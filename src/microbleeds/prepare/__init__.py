"""Raw scan to network input; shared by detection and training."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from microbleeds.prepare.grid import Grid


@dataclass(frozen=True)
class Prepared:
    """What the networks see, all of shape `grid.shape`.

    image: float32 in [0, 1], bleeds bright whatever the contrast, 0 outside the brain.
    brain: bool.
    symmetry: float32 in [0, 1], fast radial symmetry of `image`.
    vessels: float32 in [0, 1], vesselness of `image`.
    """

    image: NDArray[np.float32]
    brain: NDArray[np.bool_]
    symmetry: NDArray[np.float32]
    vessels: NDArray[np.float32]
    grid: Grid
