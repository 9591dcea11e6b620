"""Every choice that a result depends on, in frozen dataclasses written next to the result."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

Contrast = Literal["t2star", "swi", "qsm"]
OperatingPoint = Literal["sensitive", "balanced", "precise"]

MEMORY_GB = 0.8  # about what one pass through a network may take


@dataclass(frozen=True)
class PrepareSettings:
    """How a raw scan becomes network input; a property of the model, not of the user.

    in_plane_mm, max_in_plane_mm, min_slice_mm: of the working grid. In the slice it has the scan's
    own spacing between the first two, the first alone without the second; None for the first keeps
    the scan's own whatever it is, and so does None for the slices.
    """

    in_plane_mm: float | None = 0.5
    max_in_plane_mm: float | None = None
    min_slice_mm: float | None = 1.0
    margin_mm: float = 6.0
    symmetry_radii_mm: tuple[float, ...] = (1.0, 1.5, 2.0, 3.0)
    symmetry_radii_voxels: tuple[float, ...] | None = None  # instead of mm, as the authors' weights
    symmetry_alpha: float = 2.0
    vessel_scales_mm: tuple[float, ...] = (0.5, 1.0)
    paint_vessels: bool = False  # the published filling of vessels from their neighbours


@dataclass(frozen=True)
class CandidateSettings:
    """Step 1: probability map to candidates.

    A candidate is what reaches `threshold` or the part `reach` of its peak, whichever is less.
    Touching bleeds are told apart when their peaks are `peak_distance_mm` apart or more, with a
    fall in probability of `valley` or more between them. mirrored: the detector's mean over the
    volume and its mirror image.
    """

    threshold: float = 0.2
    peak_distance_mm: float = 2.0
    valley: float = 0.1
    reach: float = 0.5
    mirrored: bool = False


@dataclass(frozen=True)
class Calibration:
    """From log odds to those that hold on average: intercept + slope * log odds (Platt 1999)."""

    intercept: float = 0.0
    slope: float = 1.0


@dataclass(frozen=True)
class DiscriminateSettings:
    """Step 2: patch geometry, weighing and calibration (of the model), and the threshold.

    calibration: of the joint probability, by contrast; empty: none. One threshold then means the
    same in all contrasts, though look-alikes are more in one than in another.
    other_calibration: of a contrast that has none of its own.
    """

    threshold: float = 0.5
    detector_weight: float = 0.0  # in the joint log odds; 0: the student alone, as published
    calibration: dict[Contrast, Calibration] = field(default_factory=dict)
    other_calibration: Calibration = field(default_factory=Calibration)
    mirrored: bool = False  # the student's mean over a patch and its mirror images in the slice
    patch_shape: tuple[int, int, int] = (32, 32, 16)
    patch_spacing_mm: tuple[float, float, float] | None = (0.5, 0.5, 1.5)  # None: grid voxels
    context: tuple[int, ...] = ()  # how many times farther a second view reaches; none without


@dataclass(frozen=True)
class CleanUpSettings:
    """Step 3, all in mm. The published values are volume 2.5, ellipticity 0.2, edge 5."""

    min_volume_mm3: float = 2.5
    max_diameter_mm: float = 10.0
    max_elongation: float = 0.85
    min_edge_mm: float = 0.0


@dataclass(frozen=True)
class Settings:
    """Everything `detect` depends on besides the scan and the networks."""

    prepare: PrepareSettings = field(default_factory=PrepareSettings)
    candidates: CandidateSettings = field(default_factory=CandidateSettings)
    discriminate: DiscriminateSettings = field(default_factory=DiscriminateSettings)
    clean_up: CleanUpSettings = field(default_factory=CleanUpSettings)
    threads: int = 0  # 0: as many as the process may use
