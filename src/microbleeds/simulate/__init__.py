"""Heads with known microbleeds, by physics: label map to susceptibility, field, signal, scanner."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from microbleeds.settings import Contrast
from microbleeds.simulate.deform import AnatomyRanges
from microbleeds.simulate.lesions import LesionRanges
from microbleeds.simulate.scanner import Protocol


@dataclass(frozen=True)
class HeadSettings:
    """What a simulated head contains and when a bleed counts as seen.

    whole_head: False simulates the brain and its rim only. visible_drop: share of the tissue's
    signal that a rater sees as a void; visible_ppm: its counterpart on QSM. conspicuous: share of
    the brain's median signal by which a void must be darker than most of what lies around it;
    conspicuous_ppm: its counterpart on QSM.
    """

    anatomy: AnatomyRanges = field(default_factory=AnatomyRanges)
    lesions: LesionRanges = field(default_factory=LesionRanges)
    whole_head: bool = True
    visible_drop: float = 0.15
    visible_ppm: float = 0.06
    conspicuous: float = 0.1
    conspicuous_ppm: float = 0.04


@dataclass(frozen=True)
class TrueBleed:
    """One bleed as it was made and as each contrast shows it.

    index: its number in the label images, from 1. xyz_mm: of its main deposit, scanner RAS.
    source_diameter_mm: of the deposit. volume_mm3: of what the image shows; 0 if it shows nothing.
    """

    index: int
    xyz_mm: tuple[float, float, float]
    source_diameter_mm: float
    susceptibility_ppm: float
    volume_mm3: dict[Contrast, float]


@dataclass(frozen=True)
class SimulatedHead:
    """A simulated head, all arrays (X, Y, Z) on one grid; images and labels by contrast.

    images: scanner integers as float32, QSM in ppm. labels: one number a visible microbleed.
    affine: (4, 4) voxel index to scanner mm (RAS+).
    """

    images: dict[Contrast, NDArray[np.float32]]
    labels: dict[Contrast, NDArray[np.int32]]
    brain: NDArray[np.bool_]
    affine: NDArray[np.float64]
    truth: tuple[TrueBleed, ...]
    protocol: Protocol
