"""Which detection is which true microbleed: three policies, one table."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment
from scipy.spatial.distance import cdist

from microbleeds.errors import UserError
from microbleeds.evaluate.lesions import Lesions
from microbleeds.evaluate.overlap import Pairs, dice_of_hits, on_one_grid, shared_voxels

Policy = Literal["overlap", "valdo", "one-to-one"]


@dataclass(frozen=True)
class Finding:
    """A true microbleed, detected or missed, or a false detection.

    confidence: of the detection (the highest, where several hit one lesion); 0 when missed.
    distance_mm: from the true centre to the nearest matched one. dice: of the true voxels and
    those of the matched detections, where both are known.
    """

    subject: str
    is_lesion: bool
    detected: bool
    confidence: float
    xyz_mm: tuple[float, float, float]
    distance_mm: float | None = None
    dice: float | None = None


@dataclass(frozen=True)
class Findings:
    """All findings of some scans; `subjects` also names the scans without any."""

    table: tuple[Finding, ...]
    subjects: tuple[str, ...]

    def at(self, threshold: float) -> Findings:
        """As if only detections of that confidence or more had been made."""
        return replace(
            self,
            table=tuple(
                finding
                if finding.confidence >= threshold
                else replace(finding, detected=False, confidence=0.0, distance_mm=None, dice=None)
                for finding in self.table
                if finding.is_lesion or finding.confidence >= threshold
            ),
        )


def joined(parts: Iterable[Findings]) -> Findings:
    """The findings of several groups of scans as one."""
    groups = tuple(parts)
    return Findings(
        tuple(finding for group in groups for finding in group.table),
        tuple(subject for group in groups for subject in group.subjects),
    )


def match(
    subject: str,
    predicted: Lesions,
    truth: Lesions,
    policy: Policy,
    distance_mm: float = 5.0,
    smallest_mm3: float = 0.0,
) -> tuple[Finding, ...]:
    """The findings of one scan.

    smallest_mm3: true microbleeds of a known, smaller volume are left out: they are neither found
    nor missed, and what would hit one of them, and hits no other, is not false either. So are those
    of volume 0, which are there but cannot be seen.

    - `overlap`: any common voxel. One detection may hit several lesions and several detections
      one lesion; none of these is false. Needs label images on one grid. (Sundaresan et al. 2023)
    - `valdo`: every detection claims the true lesion with the nearest centre, if nearer than
      `distance_mm`; each lesion keeps one claim, all other detections are false. Here the most
      probable, there the nearest: the counts are the same, and this way they are right at every
      threshold as well (`Findings.at`, `froc`).
      (Sudre et al. 2024, section 2.5, and the challenge's code WhereIsValdo/valdo-eval-2021,
      which computes the distance in voxels; here it is mm, as the paper has it.)
    - `one-to-one`: the assignment with the most pairs, then the least total distance, among
      pairs within `distance_mm` or with the true centre inside the detection. At a threshold,
      fewer detections might have been assigned better.
    """
    distances = cdist(predicted.xyz_mm, truth.xyz_mm)
    reached = _reached(predicted, truth, policy, distances, distance_mm)
    rated = counted(truth, smallest_mm3)
    columns = np.flatnonzero(rated)
    pairs = _PAIRS[policy](reached[:, columns], distances[:, columns], predicted.confidence)
    pairs[:, 1] = columns[pairs[:, 1]]
    dice = dice_of_hits(predicted, truth, pairs) if on_one_grid(predicted, truth) else {}
    findings = []
    for lesion in columns:
        hits = pairs[pairs[:, 1] == lesion, 0]
        findings.append(
            Finding(
                subject,
                is_lesion=True,
                detected=len(hits) > 0,
                confidence=float(predicted.confidence[hits].max(initial=0.0)),
                xyz_mm=_triple(truth.xyz_mm[lesion]),
                distance_mm=float(distances[hits, lesion].min()) if len(hits) else None,
                dice=dice.get(int(lesion)),
            )
        )
    no_hit = np.setdiff1d(np.arange(len(predicted)), pairs[:, 0])
    for false in no_hit[~reached[np.ix_(no_hit, ~rated)].any(axis=1)]:
        confidence = float(predicted.confidence[false])
        findings.append(Finding(subject, False, True, confidence, _triple(predicted.xyz_mm[false])))
    return tuple(findings)


def counted(truth: Lesions, smallest_mm3: float = 0.0) -> NDArray[np.bool_]:
    """Which true microbleeds `match` counts, (T,): those not known to be smaller or unseen."""
    if truth.volumes_mm3 is None:
        return np.ones(len(truth), bool)
    small = (truth.volumes_mm3 < smallest_mm3) | (truth.volumes_mm3 == 0)  # NaN: not known
    others: NDArray[np.bool_] = ~small
    return others


def _reached(
    predicted: Lesions,
    truth: Lesions,
    policy: Policy,
    distances: NDArray[np.float64],
    distance_mm: float,
) -> NDArray[np.bool_]:
    """Which detection may hit which true lesion, (P, T)."""
    if policy == "valdo":
        return distances < distance_mm
    if policy == "one-to-one":
        return (distances <= distance_mm) | _centre_inside(predicted, truth)
    if not on_one_grid(predicted, truth):
        raise UserError(
            "The policy 'overlap' needs label images of detections and truth on one grid; "
            "use 'valdo' or 'one-to-one', which compare centres."
        )
    return shared_voxels(predicted, truth) > 0


def _overlap(
    reached: NDArray[np.bool_], _distances: NDArray[np.float64], _confidence: NDArray[np.float64]
) -> Pairs:
    return np.argwhere(reached)


def _valdo(
    reached: NDArray[np.bool_], distances: NDArray[np.float64], confidence: NDArray[np.float64]
) -> Pairs:
    if not reached.any():
        return np.empty((0, 2), int)
    claimed, nearest = distances.argmin(axis=1), distances.min(axis=1)
    pairs = []
    for lesion in range(reached.shape[1]):
        claims = np.flatnonzero((claimed == lesion) & reached[:, lesion])
        if len(claims):
            best = np.lexsort((nearest[claims], -confidence[claims]))[0]
            pairs.append((claims[best], lesion))
    return np.array(pairs, int)


def _one_to_one(
    reached: NDArray[np.bool_], distances: NDArray[np.float64], _confidence: NDArray[np.float64]
) -> Pairs:
    forbidden = 1 + distances.sum()  # dearer than any set of allowed pairs
    rows, lesions = linear_sum_assignment(np.where(reached, distances, forbidden))
    pairs: Pairs = np.stack([rows, lesions], axis=1)
    kept: Pairs = pairs[reached[rows, lesions]]
    return kept


_Choose = Callable[[NDArray[np.bool_], NDArray[np.float64], NDArray[np.float64]], Pairs]
_PAIRS: dict[Policy, _Choose] = {"overlap": _overlap, "valdo": _valdo, "one-to-one": _one_to_one}


def _centre_inside(predicted: Lesions, truth: Lesions) -> NDArray[np.bool_]:
    """Whether each true centre lies in a voxel of each detection, (P, T)."""
    inside = np.zeros((len(predicted), len(truth)), bool)
    if predicted.labels is None or predicted.affine is None:
        return inside
    linear, origin = predicted.affine[:3, :3], predicted.affine[:3, 3]
    voxels = np.rint((truth.xyz_mm - origin) @ np.linalg.inv(linear).T).astype(int)
    for lesion, voxel in enumerate(voxels):
        if np.all((voxel >= 0) & (voxel < predicted.labels.shape)):
            inside[:, lesion] = predicted.labels[tuple(voxel)] == np.arange(1, len(predicted) + 1)
    return inside


def _triple(xyz: NDArray[np.float64]) -> tuple[float, float, float]:
    x, y, z = (float(value) for value in xyz)
    return x, y, z
