"""Step 2: the student looks at a patch around every candidate and gives its probability."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, logit

from microbleeds.prepare.grid import Grid
from microbleeds.settings import Calibration, Contrast, DiscriminateSettings
from microbleeds.steps import Candidate, Candidates
from microbleeds.steps.patches import extract_views, views_of

# Seven of ten candidates get less than this joint probability, calibrated, from the first look, and
# no mirror images: of 3,414 in T2* heads none of these would have reached even the sensitive
# threshold, twice as much would lose one (student and heads of the twenty-second session).
HOPELESS = 0.005
STEP_2 = "step 2"  # what its reasons begin with
_BATCH = 32


class PatchClassifier(Protocol):
    """Anything that turns patches (B, C, X, Y, Z) into probabilities (B, 2): an `Engine`."""

    def run(self, batch: NDArray[np.float32], /) -> NDArray[np.float32]:
        """Probabilities of "no microbleed" and "microbleed", shape (B, 2)."""


def discriminate(
    candidates: Candidates,
    channels: NDArray[Any],
    grid: Grid,
    student: PatchClassifier,
    settings: DiscriminateSettings,
    contrast: Contrast,
) -> Candidates:
    """Candidates with the student's and the joint probability, improbable ones dropped.

    channels: (C, X, Y, Z) on `grid`, as the student was trained. contrast: of the scan, for the
    calibration; one that the model was not calibrated for has that of all. The probability is
    compared with a threshold, so that the operating point can be chosen; the published code took
    the larger of two outputs.
    """
    views = views_of(channels, grid, settings.patch_spacing_mm, settings.context)
    rated: list[Candidate] = []
    for start in range(0, len(candidates.table), _BATCH):
        rows = candidates.table[start : start + _BATCH]
        patches = extract_views(views, np.array([row.xyz_mm for row in rows]), settings.patch_shape)
        before = np.array([row.detector_probability for row in rows])
        once = student.run(patches)[:, 1]
        probabilities = _looked_at_again(student, patches, before, once, settings, contrast)
        joint = _joint(before, probabilities, settings, contrast)
        rated += [
            replace(row, student_probability=float(student), joint_probability=float(both))
            for row, student, both in zip(rows, probabilities, joint, strict=True)
        ]
    return replace(candidates, table=drop_improbable(rated, settings.threshold))


def mirrored_probability(
    student: PatchClassifier, patches: NDArray[np.float32], once: NDArray[np.floating[Any]]
) -> NDArray[np.float64]:
    """Of a microbleed, (N,): the mean log odds over patches and three mirror images in the slice.

    patches: (N, C, X, Y, Z), slices along Z. once: what the student gave the patches as they are.
    """
    views = (np.flip(patches, axes) for axes in (2, 3, (2, 3)))
    odds = [log_odds(student.run(np.ascontiguousarray(view))[:, 1]) for view in views]
    probability: NDArray[np.float64] = expit(np.mean([log_odds(once), *odds], axis=0))
    return probability


def joint_probability(
    detector: NDArray[Any], student: NDArray[Any], weight: float
) -> NDArray[np.float64]:
    """Of the probabilities of steps 1 and 2, (N,) each: the weighted mean of their log odds.

    weight: of the detector; 0 is the published rule, where the student alone decides.
    """
    odds = [log_odds(detector), log_odds(student)]
    joint: NDArray[np.float64] = expit(weight * odds[0] + (1 - weight) * odds[1])
    return joint


def calibrated(probability: NDArray[Any], calibration: Calibration) -> NDArray[np.float64]:
    """Probabilities (N,) that hold on average, in the same order as before."""
    odds = calibration.intercept + calibration.slope * log_odds(probability)
    result: NDArray[np.float64] = expit(odds)
    return result


def log_odds(probability: NDArray[Any]) -> NDArray[np.float64]:
    """Of probabilities (N,), finite even of 0 and 1."""
    odds: NDArray[np.float64] = logit(np.clip(np.asarray(probability, np.float64), 1e-6, 1 - 1e-6))
    return odds


def drop_improbable(table: Sequence[Candidate], threshold: float) -> tuple[Candidate, ...]:
    """The table with a reason for every candidate that step 2 rated below `threshold`."""
    return tuple(
        replace(row, reason=f"{STEP_2}: probability {row.joint_probability:.3f} < {threshold:.3g}")
        if row.kept and row.joint_probability is not None and row.joint_probability < threshold
        else row
        for row in table
    )


def _looked_at_again(
    student: PatchClassifier,
    patches: NDArray[np.float32],
    detector: NDArray[np.float64],
    once: NDArray[np.float32],
    settings: DiscriminateSettings,
    contrast: Contrast,
) -> NDArray[np.floating[Any]]:
    """The student's probabilities, from mirror images too where the first look left a doubt."""
    if not settings.mirrored:
        return once
    doubtful = _joint(detector, once, settings, contrast) >= HOPELESS
    if not doubtful.any():
        return once
    probabilities = once.astype(np.float64)
    probabilities[doubtful] = mirrored_probability(student, patches[doubtful], once[doubtful])
    return probabilities


def _joint(
    detector: NDArray[np.float64],
    student: NDArray[np.floating[Any]],
    settings: DiscriminateSettings,
    contrast: Contrast,
) -> NDArray[np.float64]:
    both = joint_probability(detector, student, settings.detector_weight)
    return calibrated(both, settings.calibration.get(contrast, settings.other_calibration))
