"""How sure a count is: the distribution of the number of microbleeds among the candidates."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from microbleeds.settings import Contrast, Settings
from microbleeds.steps import Candidate
from microbleeds.steps.cleanup import judge_again

LEVEL = 0.95
EXCLUDES = (
    "Microbleeds that step 1 did not make a candidate, or that the size and shape rules drop, are "
    "in neither number."
)


@dataclass(frozen=True)
class CountConfidence:
    """What the probabilities of the candidates say about the number of microbleeds.

    expected: their sum. low, high: the count lies between, both included, with probability
    `level` or more. candidates: how many took part. calibrated: whether the model's probabilities
    were calibrated at all. excludes: what none of it covers, in words.
    """

    expected: float
    low: int
    high: int
    level: float
    candidates: int
    calibrated: bool
    excludes: str = EXCLUDES


def count_confidence(
    table: Sequence[Candidate], settings: Settings, contrast: Contrast
) -> CountConfidence:
    """The confidence in a count, from the calibrated probabilities of a scan's candidates.

    Those dropped by step 2 take part with their probability, those that the size and shape rules
    of step 3 exclude do not: the calibration was fitted on what these rules let through
    (train/assemble.py). Microbleeds that step 1 did not propose are beyond it.
    """
    fitting = [row for row in judge_again(table, 0.0, settings.clean_up) if row.kept]
    probabilities = np.array([row.probability for row in fitting])
    low, high = central_interval(count_distribution(probabilities), LEVEL)
    return CountConfidence(
        expected=float(probabilities.sum()),
        low=low,
        high=high,
        level=LEVEL,
        candidates=len(fitting),
        calibrated=contrast in settings.discriminate.calibration,
    )


def count_distribution(probabilities: NDArray[np.float64]) -> NDArray[np.float64]:
    """Probabilities of 0, 1, ... N events among N independent ones, shape (N + 1,).

    The Poisson binomial distribution, by exact convolution (Hong, Comput Stat Data Anal 59:41,
    2013, compares the ways to compute it).
    """
    distribution = np.ones(1)
    for probability in probabilities:
        distribution = np.convolve(distribution, (1 - probability, probability))
    return distribution


def central_interval(distribution: NDArray[np.float64], level: float) -> tuple[int, int]:
    """The quantiles that leave at most half of `1 - level` on either side."""
    tail = (1 - level) / 2
    low, high = np.searchsorted(np.cumsum(distribution), (tail, 1 - tail))
    return int(low), int(high)
