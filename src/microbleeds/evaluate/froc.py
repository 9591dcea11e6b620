"""Free-response curve: true positive rate against false positives a scan."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from microbleeds.evaluate.matching import Findings


@dataclass(frozen=True)
class Froc:
    """One point a threshold, from the highest threshold to the lowest, each array (T,).

    The first point is at an infinite threshold: nothing detected.
    """

    threshold: NDArray[np.float64]
    fp_per_scan: NDArray[np.float64]
    tpr: NDArray[np.float64]


def froc(findings: Findings) -> Froc:
    """The curve of findings with confidences; the rate is NaN without any true lesion."""
    hits = _confidences(findings, is_lesion=True)
    false = _confidences(findings, is_lesion=False)
    lesions = sum(finding.is_lesion for finding in findings.table)
    threshold = np.append(np.inf, np.unique(np.concatenate([hits, false]))[::-1])
    return Froc(
        threshold,
        _at_least(false, threshold) / len(findings.subjects),
        _at_least(hits, threshold) / (lesions or np.nan),
    )


def tpr_at(curve: Froc, fp_per_scan: float) -> float:
    """The highest true positive rate at no more than that many false positives a scan."""
    return float(curve.tpr[curve.fp_per_scan <= fp_per_scan].max())


def threshold_at(curve: Froc, fp_per_scan: float) -> float:
    """The lowest threshold with no more than that many false positives a scan."""
    return float(curve.threshold[curve.fp_per_scan <= fp_per_scan].min())


def _confidences(findings: Findings, is_lesion: bool) -> NDArray[np.float64]:
    """Of the hits or of the false detections, ascending."""
    chosen = (f for f in findings.table if f.detected and f.is_lesion == is_lesion)
    return np.sort([finding.confidence for finding in chosen]).astype(np.float64)


def _at_least(ascending: NDArray[np.float64], threshold: NDArray[np.float64]) -> NDArray[np.int_]:
    """How many values reach each threshold."""
    return len(ascending) - np.searchsorted(ascending, threshold, side="left")
