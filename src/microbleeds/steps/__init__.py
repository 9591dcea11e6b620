"""The three steps of the method and the table that runs through them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Candidate:
    """One row of the candidate table. Positions are scanner mm (RAS+), sizes mm and mm³."""

    index: int  # its number in the label image, from 1
    xyz_mm: tuple[float, float, float]
    volume_mm3: float
    diameter_mm: float  # of the sphere of equal volume
    elongation: float  # 1 - shortest / longest principal axis in mm: 0 sphere, near 1 line
    edge_mm: float  # distance from the centre to the brain's edge
    detector_probability: float  # the highest in the candidate
    student_probability: float | None = None
    joint_probability: float | None = None  # of both, as the model weighs them
    reason: str = ""  # why it was dropped; empty while it is kept
    region: str = ""  # where it lies, of report.atlas.REGIONS; empty: not known
    side: str = ""  # "left" or "right"; empty: not known

    @property
    def kept(self) -> bool:
        """Whether the candidate is (so far) a microbleed."""
        return not self.reason

    @property
    def probability(self) -> float:
        """Of the last step that gave one."""
        if self.joint_probability is None:
            return self.detector_probability
        return self.joint_probability


@dataclass(frozen=True)
class Candidates:
    """labels: int32 on the working grid, 0 background; table: one row per label value."""

    labels: NDArray[np.int32]
    table: tuple[Candidate, ...]
    highest_probability: float  # of step 1 anywhere in the brain
