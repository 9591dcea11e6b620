"""How a head lies between two visits: turned and shifted as a whole, with all that is in it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from microbleeds.simulate.deform import rotation
from microbleeds.simulate.lesions import Bleed
from microbleeds.simulate.vessels import Tubes


@dataclass(frozen=True)
class Pose:
    """A turn about the middle of the 1 mm anatomy grid, then a shift; by default none.

    turn_deg: about x, y and z. shift_mm: along them.
    """

    turn_deg: tuple[float, float, float] = (0.0, 0.0, 0.0)
    shift_mm: tuple[float, float, float] = (0.0, 0.0, 0.0)

    @property
    def rotation(self) -> NDArray[np.float64]:
        """Directions before to directions after, (3, 3)."""
        return rotation(np.deg2rad(self.turn_deg))

    def points(self, points: NDArray[Any], shape: tuple[int, ...]) -> NDArray[np.float64]:
        """Where points (N, 3) of an anatomy grid of `shape` come to lie."""
        middle = (np.array(shape) - 1) / 2
        moved: NDArray[np.float64] = (points - middle) @ self.rotation.T + middle + self.shift_mm
        return moved

    def image(self, image: NDArray[Any], order: int) -> NDArray[Any]:
        """A 1 mm image (X, Y, Z) moved on its own grid; 0 comes in from outside.

        order: 0 nearest, for labels; 3 cubic, for what is smooth.
        """
        if self == Pose():
            return image
        back = self.rotation.T
        middle = (np.array(image.shape) - 1) / 2
        offset = middle - back @ (middle + self.shift_mm)
        moved: NDArray[Any] = ndimage.affine_transform(image, back, offset, order=order)
        return moved

    def tubes(self, tubes: Tubes, shape: tuple[int, ...]) -> Tubes:
        """Vessels moved."""
        if self == Pose():
            return tubes
        return replace(tubes, centres=self.points(tubes.centres, shape).astype(np.float32))

    def bleed(self, bleed: Bleed, shape: tuple[int, ...]) -> Bleed:
        """A bleed moved; the axes of its ellipsoids stay along the grid."""
        if self == Pose():
            return bleed
        return replace(bleed, centres=self.points(bleed.centres, shape))
