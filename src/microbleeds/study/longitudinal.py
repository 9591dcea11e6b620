"""What became of each microbleed between two visits: pure functions on two tables."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from microbleeds.steps import Candidate

Status = Literal["persisting", "new", "gone", "not covered"]
Aria = Literal["none", "mild", "moderate", "severe"]
_CLASSES: tuple[tuple[int, Aria], ...] = ((10, "severe"), (5, "moderate"), (1, "mild"))


@dataclass(frozen=True)
class Rules:
    """When two findings are one, and when one that is missing was there all the same.

    match_mm: farthest apart after registration. same_mm: farther apart than this they are one only
    if the image of each visit shows what was found at the other; across slices the limit is
    `same_slices` of the thicker one where that is more, as either may cut a thing anywhere along
    it. second_look: probability from which a candidate that was dropped is still a trace of a
    microbleed. trace: share of the darkness here that the same place has at the other visit, from
    which something is there. trace_of_sure: the same for a microbleed of probability 1 that has no
    candidate there; in proportion for those below. One so plain would have been a candidate: what
    is dark there is rather a vessel or a rim that it lies on. outside_mm: how far outside the other
    brain mask a place may lie before it is called not covered.
    """

    match_mm: float = 4.0
    same_mm: float = 2.0
    same_slices: float = 0.6
    second_look: float = 0.015
    trace: float = 0.58
    trace_of_sure: float = 0.85
    outside_mm: float = 2.0


@dataclass(frozen=True)
class Findings:
    """One visit as the other sees it, all of its candidates in order.

    places: (N, 3), registered, mm of the other scan. covered: (N,), whether the other scan and its
    brain hold them, and show anything there. traces: (N,), darkness of the other scan there, as a
    share of that here. slice_mm: (3,), edge across the slices of a voxel of the scan whose are the
    thicker, mm of the other scan.
    """

    table: Sequence[Candidate]
    places: NDArray[np.float64]
    covered: NDArray[np.bool_]
    traces: NDArray[np.float64]
    slice_mm: NDArray[np.float64]


@dataclass(frozen=True)
class Change:
    """One microbleed through both visits.

    number: in the comparison, from 1. baseline, follow_up: its candidates, None where there is
    none. distance_mm: between them after registration. note: why, in words.
    """

    number: int
    status: Status
    baseline: Candidate | None
    follow_up: Candidate | None
    distance_mm: float | None = None
    note: str = ""


def compare_visits(
    baseline: Findings, follow_up: Findings, rules: Rules | None = None
) -> tuple[Change, ...]:
    """Every microbleed reported at either visit, new ones first, then gone, persisting, unseen.

    Microbleeds are matched with each other first. Each that stays alone gets a second look at the
    other visit: a candidate that was dropped there (but not matched yet), then the image itself.
    """
    rules = rules or Rules()
    ours, theirs = _kept(baseline), _kept(follow_up)
    pairs = match(baseline, follow_up, ours, theirs, rules)
    changes = [_persisting(baseline, follow_up, pair, "") for pair in pairs]
    alone = [i for i in ours if i not in {i for i, _, _ in pairs}]
    fresh = [j for j in theirs if j not in {j for _, j, _ in pairs}]
    traces = match(baseline, follow_up, alone, _nearly(follow_up, rules), rules)
    changes += [
        _persisting(baseline, follow_up, pair, _below("follow-up", follow_up.table[pair[1]]))
        for pair in traces
    ]
    alone = [i for i in alone if i not in {i for i, _, _ in traces}]
    traces = match(baseline, follow_up, _nearly(baseline, rules), fresh, rules)
    changes += [
        _persisting(baseline, follow_up, pair, _below("baseline", baseline.table[pair[0]]))
        for pair in traces
    ]
    fresh = [j for j in fresh if j not in {j for _, j, _ in traces}]
    changes += [_alone(baseline, i, "baseline", rules) for i in alone]
    changes += [_alone(follow_up, j, "follow-up", rules) for j in fresh]
    return _numbered(changes)


def match(
    baseline: Findings, follow_up: Findings, ours: list[int], theirs: list[int], rules: Rules
) -> list[tuple[int, int, float]]:
    """One-to-one pairs (row of the baseline, row of the follow-up, mm) that the rules allow.

    As many pairs as can be, and of those the least sum of distances: the assignment problem (Kuhn,
    Naval Research Logistics 2:83, 1955), solved by SciPy.
    """
    if not ours or not theirs:
        return []
    there = np.array([follow_up.table[j].xyz_mm for j in theirs])
    offsets = there - baseline.places[ours][:, None]
    distances = np.linalg.norm(offsets, axis=2)
    seen = np.minimum.outer(baseline.traces[ours], follow_up.traces[theirs]) >= rules.trace
    same = seen | _same_place(offsets, baseline.slice_mm, rules)
    allowed = (distances <= rules.match_mm) & same
    # a pair too many is dearer than any set of allowed ones
    cost = np.where(allowed, distances, 1 + rules.match_mm * (len(ours) + len(theirs)))
    return [
        (ours[i], theirs[j], float(distances[i, j]))
        for i, j in zip(*linear_sum_assignment(cost), strict=True)
        if allowed[i, j]
    ]


def _same_place(
    offsets: NDArray[np.float64], slice_mm: NDArray[np.float64], rules: Rules
) -> NDArray[np.bool_]:
    """Whether what lies so far apart (..., 3) may be one thing, whatever the images show."""
    thickness = float(np.linalg.norm(slice_mm))
    across = offsets @ (slice_mm / thickness)
    within2 = (offsets**2).sum(axis=-1) - across**2
    room = max(rules.same_mm, rules.same_slices * thickness)
    same: NDArray[np.bool_] = within2 / rules.same_mm**2 + (across / room) ** 2 <= 1
    return same


def counts(changes: Sequence[Change]) -> dict[Status, int]:
    """How many microbleeds of each fate."""
    names: tuple[Status, ...] = ("persisting", "new", "gone", "not covered")
    return {name: sum(change.status == name for change in changes) for name in names}


def aria_h(new: int) -> Aria:
    """Class of so many new microbleeds: mild 1-4, moderate 5-9, severe 10 or more.

    Source: the counts and grades of RadElement RDES291, "ARIA-H follow-up" (ACR/RSNA Common Data
    Elements), new since the scan before treatment; it names 1-4 mild, and 5-9 and 10 or more are
    its next two bins as moderate and severe are its next two grades. Siderosis, its other half,
    is not looked for, and the classes are meant for patients under such a treatment.
    """
    return next((name for least, name in _CLASSES if new >= least), "none")


def nearly(candidate: Candidate, rules: Rules) -> bool:
    """Whether a candidate was dropped but is a trace of something."""
    return not candidate.kept and candidate.probability >= rules.second_look


def _kept(findings: Findings) -> list[int]:
    return [row for row, candidate in enumerate(findings.table) if candidate.kept]


def _nearly(findings: Findings, rules: Rules) -> list[int]:
    return [row for row, candidate in enumerate(findings.table) if nearly(candidate, rules)]


def _persisting(
    baseline: Findings, follow_up: Findings, pair: tuple[int, int, float], note: str
) -> Change:
    i, j, distance = pair
    return Change(0, "persisting", baseline.table[i], follow_up.table[j], distance, note)


def _below(visit: str, candidate: Candidate) -> str:
    return (
        f"not reported at {visit}, but a candidate there "
        f"(probability {candidate.probability:.2f}; {candidate.reason})"
    )


def _alone(findings: Findings, row: int, visit: str, rules: Rules) -> Change:
    """A microbleed without any candidate at the other visit."""
    candidate, trace = findings.table[row], float(findings.traces[row])
    at_baseline = visit == "baseline"
    other = "follow-up" if at_baseline else "baseline"
    status: Status = "gone" if at_baseline else "new"
    limit = rules.trace + candidate.probability * (rules.trace_of_sure - rules.trace)
    note = f"stands out {trace:.0%} as much at {other}"  # dark, or bright in a QSM
    if not findings.covered[row]:
        status, note = "not covered", f"outside the brain or the field of view of the {other}"
    elif trace >= limit:
        status, note = "persisting", f"not reported at {other}, but {note}"
    ours, theirs = (candidate, None) if at_baseline else (None, candidate)
    return Change(0, status, ours, theirs, None, note)


def _numbered(changes: list[Change]) -> tuple[Change, ...]:
    """New ones first, each kind by probability."""
    order: tuple[Status, ...] = ("new", "gone", "persisting", "not covered")

    def key(change: Change) -> tuple[int, float]:
        seen = [row.probability for row in (change.baseline, change.follow_up) if row]
        return order.index(change.status), -max(seen)

    return tuple(
        Change(number, c.status, c.baseline, c.follow_up, c.distance_mm, c.note)
        for number, c in enumerate(sorted(changes, key=key), start=1)
    )
