"""Every figure, from the table of findings alone, with bootstrap intervals over scans."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from microbleeds.evaluate.agreement import bland_altman, burden_class, icc_2_1
from microbleeds.evaluate.matching import Findings


@dataclass(frozen=True)
class Figure:
    """A value with its 95 % interval; NaN where it is not defined."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Summary:
    """Counts over all scans, and the figures named in `figures_of`."""

    scans: int
    lesions: int
    hits: int
    false_positives: int
    figures: dict[str, Figure]


@dataclass(frozen=True)
class Counts:
    """Per scan, each (S,): true lesions, those detected, false detections, Dice of the hits.

    dice: sum over the hits whose Dice is known; dice_known: how many these are.
    """

    lesions: NDArray[np.float64]
    hits: NDArray[np.float64]
    false_positives: NDArray[np.float64]
    dice: NDArray[np.float64]
    dice_known: NDArray[np.float64]

    def of(self, scans: NDArray[np.int_]) -> Counts:
        """Those scans only, as often as they are named."""
        return Counts(
            self.lesions[scans],
            self.hits[scans],
            self.false_positives[scans],
            self.dice[scans],
            self.dice_known[scans],
        )


def count(findings: Findings) -> Counts:
    """Counts per scan, in the order of `findings.subjects`."""
    place = {subject: index for index, subject in enumerate(findings.subjects)}
    counts = Counts(*np.zeros((5, len(place))))
    for finding in findings.table:
        scan = place[finding.subject]
        counts.lesions[scan] += finding.is_lesion
        counts.hits[scan] += finding.is_lesion and finding.detected
        counts.false_positives[scan] += not finding.is_lesion
        if finding.dice is not None:
            counts.dice[scan] += finding.dice
            counts.dice_known[scan] += 1
    return counts


def figures_of(counts: Counts) -> dict[str, float]:
    """The figures of some scans.

    - `tpr`, `precision`, `f1`: lesions pooled over scans; `fp_per_scan`.
    - `f1_median`: the median over scans with true lesions (a scan without has no F1).
    - `dice`: mean over detected lesions.
    - `count_error`: mean absolute difference of counts a scan; `count_bias`, `count_limits`:
      Bland-Altman; `count_icc`: ICC(2,1); `burden`: share of scans in the right class of
      0, 1-4, 5-10, more than 10. The predicted count is hits and false positives.
    """
    lesions, hits, false = (
        float(values.sum()) for values in (counts.lesions, counts.hits, counts.false_positives)
    )
    with_lesions = counts.lesions > 0
    f1 = 2 * counts.hits / np.maximum(counts.hits + counts.false_positives + counts.lesions, 1)
    predicted = counts.hits + counts.false_positives
    bias, limits = bland_altman(predicted, counts.lesions)
    return {
        "tpr": _ratio(hits, lesions),
        "precision": _ratio(hits, hits + false),
        "f1": _ratio(2 * hits, hits + false + lesions) if lesions else float("nan"),
        "fp_per_scan": false / len(counts.lesions),
        "f1_median": float(np.median(f1[with_lesions])) if with_lesions.any() else float("nan"),
        "dice": _ratio(float(counts.dice.sum()), float(counts.dice_known.sum())),
        "count_error": float(np.abs(predicted - counts.lesions).mean()),
        "count_bias": bias,
        "count_limits": limits,
        "count_icc": icc_2_1(np.stack([predicted, counts.lesions], axis=1)),
        "burden": float(np.mean(burden_class(predicted) == burden_class(counts.lesions))),
    }


def summarise(findings: Findings, seed: int = 0, resamples: int = 1000) -> Summary:
    """Figures with percentile intervals from `resamples` draws of scans with replacement.

    A single scan has no intervals: all draws of it are alike, which says nothing.
    """
    counts = count(findings)
    scans = len(findings.subjects)
    draws = np.random.default_rng(seed).integers(scans, size=(resamples, scans))
    values = figures_of(counts)
    resampled = [figures_of(counts.of(draw)) for draw in draws if scans > 1]
    return Summary(
        scans=scans,
        lesions=int(counts.lesions.sum()),
        hits=int(counts.hits.sum()),
        false_positives=int(counts.false_positives.sum()),
        figures={
            name: Figure(value, *_interval(np.array([one[name] for one in resampled])))
            for name, value in values.items()
        },
    )


def _interval(values: NDArray[np.float64]) -> tuple[float, float]:
    defined = values[np.isfinite(values)]
    if not len(defined):
        return float("nan"), float("nan")
    low, high = np.percentile(defined, (2.5, 97.5))
    return float(low), float(high)


def _ratio(part: float, whole: float) -> float:
    return part / whole if whole else float("nan")
