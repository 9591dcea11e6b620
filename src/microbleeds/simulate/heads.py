"""Label maps of whole heads made ready to draw training examples from."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from microbleeds.errors import UserError
from microbleeds.prepare.brain import largest_piece
from microbleeds.simulate.label_map import read_label_map

Tissue = Literal["air", "white", "grey", "deep", "csf", "vessel", "bone", "marrow", "soft", "eye"]

AIR, CAVITY = 0, 1  # air around the head; air inside it (sinuses, airway, ear)

# FreeSurfer numbers, and those that the SynthSeg training maps add outside the brain.
_TISSUES: dict[Tissue, tuple[int, ...]] = {
    "white": (2, 41, 7, 46, 16, 28, 60, 85, 512),
    "grey": (3, 42, 8, 47, 17, 53, 18, 54, 25, 57),
    "deep": (10, 49, 11, 50, 12, 51, 13, 52, 26, 58),
    "csf": (4, 43, 5, 44, 14, 15, 72, 24),
    "vessel": (30, 62, 136, 137, 163, 164, 502, 514),
    "bone": (515,),
    "marrow": (516,),
    "soft": (507, 508, 509, 511, 530),
    "eye": (506,),
}
_CEREBELLUM = (7, 46, 8, 47)
_STEM = 16
_BRAIN = (
    2, 41, 7, 46, 16, 28, 60, 85, *_TISSUES["grey"], *_TISSUES["deep"],
    4, 43, 5, 44, 14, 15, 72, 30, 62, 136, 137, 163, 164,
)  # fmt: skip


@dataclass(frozen=True)
class Head:
    """A label map at 1 mm, RAS, cropped to the head.

    labels: uint8, an index into `tissues`, 0 air, 1 air inside the head.
    tissues: what kind of tissue each label is.
    mask: bool, the brain with its ventricles and sulci and a millimetre of fluid around it.
    brain_centre: voxel in the middle of the mask's bounding box.
    """

    labels: NDArray[np.uint8]
    tissues: tuple[Tissue, ...]
    mask: NDArray[np.bool_]
    brain_centre: tuple[float, float, float]


def read_head(path: Path) -> Head:
    """Read a whole-head label map with FreeSurfer numbers, any orientation and voxel size.

    Raises UserError when the file is no such map.
    """
    numbers = read_label_map(path)
    if not np.isin(numbers, (2, 41)).any() or not np.isin(numbers, _TISSUES["soft"]).any():
        raise UserError(
            f"{path} holds no brain (labels 2 and 41) inside a head (label 507); "
            "give a whole-head label map with FreeSurfer numbers."
        )
    return make_head(numbers)


def make_head(numbers: NDArray[np.int16]) -> Head:
    """Head from FreeSurfer numbers (X, Y, Z) at 1 mm in RAS order."""
    solid = largest_piece(numbers > 0)
    box = ndimage.find_objects(solid.astype(np.uint8))[0]
    numbers, solid = np.where(solid, numbers, 0)[box], solid[box]
    order = [number for group in _TISSUES.values() for number in group]
    lookup = np.full(max(int(numbers.max()), *order) + 1, order.index(507) + 2, np.uint8)
    lookup[0] = AIR
    lookup[order] = np.arange(len(order)) + 2
    labels = lookup[numbers]
    labels[(labels == AIR) & _between(solid, 0) & _between(solid, 1)] = CAVITY
    kinds: list[Tissue] = [tissue for tissue, group in _TISSUES.items() for _ in group]
    mask = brain_of(numbers)
    extent = ndimage.find_objects(mask.astype(np.uint8))[0]
    x, y, z = ((side.start + side.stop - 1) / 2 for side in extent)
    return Head(labels, ("air", "air", *kinds), mask, (x, y, z))


def brain_of(numbers: NDArray[np.int16]) -> NDArray[np.bool_]:
    """The mask to learn, from FreeSurfer numbers at 1 mm in RAS order.

    Brain tissue and ventricles, sulci closed (4 mm), 1 mm of fluid around; the brain stem ends
    1 cm below the cerebellum, about at the foramen magnum.
    """
    brain = np.isin(numbers, _BRAIN)
    levels = np.flatnonzero(np.isin(numbers, _CEREBELLUM).any(axis=(0, 1)))
    if len(levels):
        brain[:, :, : max(0, levels[0] - 10)] &= numbers[:, :, : max(0, levels[0] - 10)] != _STEM
    brain = largest_piece(brain)
    box = ndimage.find_objects(brain.astype(np.uint8))[0]
    closed = ndimage.binary_fill_holes(_closed(brain[box], 4.0))
    grown = np.zeros_like(brain)
    grown[box] = closed
    return ndimage.binary_dilation(grown)  # type: ignore[no-any-return]


def _between(mask: NDArray[np.bool_], axis: int) -> NDArray[np.bool_]:
    """Voxels with `mask` on both sides of them along an axis."""
    before = np.logical_or.accumulate(mask, axis)
    after = np.flip(np.logical_or.accumulate(np.flip(mask, axis), axis), axis)
    return before & after


def _closed(mask: NDArray[np.bool_], radius: float) -> NDArray[np.bool_]:
    """Morphological closing with a ball, by distances (fast for large balls)."""
    pad = int(radius) + 2
    wide = np.pad(mask, pad)
    grown = ndimage.distance_transform_edt(~wide) <= radius
    shrunk: NDArray[np.bool_] = ndimage.distance_transform_edt(grown) > radius
    return (shrunk | wide)[pad:-pad, pad:-pad, pad:-pad]
