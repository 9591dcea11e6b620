"""A small head with two microbleeds and its results on disk, as `detect` leaves them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from microbleeds.models.card import read_card
from microbleeds.models.zoo import DEFAULT_MODEL, WEIGHTS, Models
from microbleeds.pipeline import Detections
from microbleeds.prepare.traits import Traits
from microbleeds.report.bids import OutputPaths, output_paths
from microbleeds.report.results import write_results
from microbleeds.scan import Scan, write_nifti
from microbleeds.steps import Candidate

# the file's axes run left, back, up: 2 x 2 x 5 mm
AFFINE = np.array([[-2.0, 0, 0, 79], [0, -2, 0, 99], [0, 0, 5, -50], [0, 0, 0, 1]])
SHAPE = (80, 100, 24)
RIGHT_FRONT = (31.0, 41.0, 10.0)  # scanner mm of the first microbleed
LEFT_BACK = (-21.0, -31.0, -10.0)
KEPT = Candidate(1, RIGHT_FRONT, 33.5, 4.0, 0.1, 12.0, 0.9, 0.8, 0.9)
DROPPED = replace(
    KEPT, index=3, xyz_mm=(1.0, 5.0, 20.0), student_probability=0.1, joint_probability=0.1,
    reason="step 2: probability 0.100 < 0.5",
)  # fmt: skip
ROWS = (KEPT, replace(KEPT, index=2, xyz_mm=LEFT_BACK, joint_probability=0.6), DROPPED)
TRAITS = Traits(
    in_plane_mm=0.8, slice_mm=3, brain_cm3=1400, cut=0, noise=0.03, dark=0.035, bright=0.05, rim=0
)


@pytest.fixture(scope="session")
def brain() -> np.ndarray:
    centre, radii = np.array([39.5, 49.5, 10]), np.array([33, 42, 10])
    place = (np.indices(SHAPE).transpose(1, 2, 3, 0) - centre) / radii
    return (place**2).sum(-1) <= 1


@pytest.fixture(scope="session")
def head(brain) -> Scan:
    """Tissue 100, the patient's right half 120, a dark block in the middle.

    Black balls of 3 mm radius stand at the microbleeds.
    """
    x, y, z = (AFFINE[:3, :3] @ np.indices(SHAPE).reshape(3, -1) + AFFINE[:3, 3:]).reshape(
        3, *SHAPE
    )
    voxels = np.where(brain, np.where(x > 0, 120, 100), 20).astype(np.float32)
    voxels[(abs(x) < 9) & (abs(y) < 12) & (abs(z) < 6)] = 20
    for centre in (RIGHT_FRONT, LEFT_BACK):
        ball = np.sqrt(sum((a - c) ** 2 for a, c in zip((x, y, z), centre, strict=True))) < 3.1
        voxels[ball] = 0
    return Scan(voxels, AFFINE, "t2star", "sub-01_T2starw")


def write(folder: Path, scan: Scan, brain: np.ndarray, rows: tuple[Candidate, ...]) -> OutputPaths:
    """The scan as NIfTI in `folder` and its results in `folder/results`."""
    folder.mkdir(parents=True, exist_ok=True)
    source = folder / f"{scan.name}.nii.gz"
    write_nifti(source, scan.voxels, scan.affine)
    weights = WEIGHTS / DEFAULT_MODEL
    models = Models(read_card(weights), None, None, weights)  # only the card is asked
    labels = np.zeros(scan.voxels.shape, np.int32)
    settings = models.card.settings()
    highest = max((row.detector_probability for row in rows), default=0.12)
    seconds = {"preparation": 1.0}
    found = Detections(labels, rows, brain, highest, settings, seconds, traits=TRAITS)
    paths = output_paths(scan.name, folder / "results")
    write_results(scan, source, found, models, paths)
    return paths


@pytest.fixture
def saved(tmp_path, head, brain) -> OutputPaths:
    return write(tmp_path, head, brain, ROWS)
