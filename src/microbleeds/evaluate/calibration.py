"""Does a probability mean what it says: reliability, and the curve that corrects it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from microbleeds.evaluate.matching import Findings
from microbleeds.settings import Calibration
from microbleeds.steps.discriminate import log_odds


@dataclass(frozen=True)
class Reliability:
    """Detections by their probability, one entry a bin that has any, each array (B,).

    probability: mean in the bin. share: of true microbleeds in it. count: of detections.
    error: expected calibration error, the mean of |probability - share| weighted by count.
    """

    probability: NDArray[np.float64]
    share: NDArray[np.float64]
    count: NDArray[np.int_]

    @property
    def error(self) -> float:
        """Expected calibration error; NaN without detections."""
        if not len(self.count):
            return float("nan")
        return float(np.average(np.abs(self.probability - self.share), weights=self.count))


def fit_calibration(findings: Findings) -> Calibration:
    """The logistic curve through hits and false detections (Platt 1999, with his targets).

    What was not detected has no probability and takes no part. No correction when there are only
    hits or only false detections, or when hits are not the more probable ones.
    """
    confidence, hit = _detections(findings)
    hits = int(hit.sum())
    if hits in (0, len(hit)):
        return Calibration()
    odds = log_odds(confidence)
    # Not quite 1 and 0, or a few well separated detections would be called certain.
    target = np.where(hit, (hits + 1) / (hits + 2), 1 / (len(hit) - hits + 2))

    def loss(line: NDArray[np.float64]) -> float:
        corrected = line[0] + line[1] * odds
        return float(np.mean(np.logaddexp(0, corrected) - target * corrected))

    intercept, slope = minimize(loss, (0.0, 1.0)).x
    return Calibration(float(intercept), float(slope)) if slope > 0 else Calibration()


def reliability(findings: Findings, bins: int = 10) -> Reliability:
    """Share of true microbleeds among the detections of each of `bins` equal ranges in [0, 1]."""
    confidence, hit = _detections(findings)
    place = np.minimum((confidence * bins).astype(int), bins - 1)
    count = np.bincount(place, minlength=bins)
    used = count > 0
    return Reliability(
        np.bincount(place, confidence, bins)[used] / count[used],
        np.bincount(place, hit, bins)[used] / count[used],
        count[used],
    )


def _detections(findings: Findings) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Confidence of every detection, and whether it is a true microbleed."""
    rows = [row for row in findings.table if row.detected]
    return np.array([row.confidence for row in rows]), np.array([r.is_lesion for r in rows], bool)
