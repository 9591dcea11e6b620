"""The brain slice by slice: what is two-dimensional is done in one slice at a time.

A slice and all that is made of it fit into a processor's cache, a volume does not.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray


def brain_boxes(
    brain: NDArray[np.bool_], room: tuple[int, int]
) -> Iterator[tuple[slice, slice, int]]:
    """Index of the box around the brain in every slice along Z that has any.

    brain: (X, Y, Z). room: pixels around the brain along X and Y, as far as the array reaches.
    """
    for z in np.flatnonzero(brain.any(axis=(0, 1))):
        inside = brain[:, :, z]
        x, y = (
            slice(max(int(along[0]) - more, 0), int(along[-1]) + more + 1)
            for along, more in zip(
                (np.flatnonzero(inside.any(axis)) for axis in (1, 0)), room, strict=True
            )
        )
        yield x, y, int(z)
