"""How well predicted counts per scan agree with true ones."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_BURDEN = (1, 5, 11)  # first counts of the classes 1-4, 5-10 and more than 10


def icc_2_1(ratings: NDArray[np.float64]) -> float:
    """Intraclass correlation, two-way random effects, absolute agreement, single rater.

    ratings: (targets, raters). NaN for fewer than two targets or without any variance.
    Source: Shrout and Fleiss, Psychological Bulletin 86 (1979), ICC(2,1).
    """
    targets, raters = ratings.shape
    if targets < 2:
        return float("nan")
    mean = ratings.mean()
    between_targets = raters * np.sum((ratings.mean(axis=1) - mean) ** 2)
    between_raters = targets * np.sum((ratings.mean(axis=0) - mean) ** 2)
    error = np.sum((ratings - mean) ** 2) - between_targets - between_raters
    bms = between_targets / (targets - 1)
    jms = between_raters / (raters - 1)
    ems = error / ((targets - 1) * (raters - 1))
    total = bms + (raters - 1) * ems + raters * (jms - ems) / targets
    return float((bms - ems) / total) if total > 0 else float("nan")


def bland_altman(predicted: NDArray[np.float64], true: NDArray[np.float64]) -> tuple[float, float]:
    """Mean difference of the counts (predicted less true) and half the 95 % limits' width."""
    difference = predicted - true
    spread = float(difference.std(ddof=1)) if len(difference) > 1 else float("nan")
    return float(difference.mean()), 1.96 * spread


def burden_class(counts: NDArray[np.float64]) -> NDArray[np.int_]:
    """0 for no microbleed, 1 for 1-4, 2 for 5-10, 3 for more than 10."""
    return np.digitize(counts, _BURDEN)
