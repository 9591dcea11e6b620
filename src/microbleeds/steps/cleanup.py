"""Step 3: candidates too small, too large, elongated or too near the brain's edge are dropped.

Everything here works on the table alone, so that other rules need no network.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from microbleeds.settings import CleanUpSettings
from microbleeds.steps import Candidate, Candidates
from microbleeds.steps.discriminate import STEP_2, drop_improbable

# Sundaresan et al. 2023, final clean-up. The edge rule costs lobar microbleeds: the cortex
# lies within 5 mm of the edge.
PUBLISHED_CLEAN_UP = CleanUpSettings(
    min_volume_mm3=2.5, max_diameter_mm=10.0, max_elongation=0.2, min_edge_mm=5.0
)


def clean_up(candidates: Candidates, settings: CleanUpSettings) -> Candidates:
    """Candidates with a reason for each that breaks a rule; those already dropped stay so."""
    return replace(candidates, table=drop_implausible(candidates.table, settings))


def drop_implausible(
    table: Sequence[Candidate], settings: CleanUpSettings
) -> tuple[Candidate, ...]:
    """The table with a reason for every kept candidate that breaks a rule."""
    return tuple(
        replace(row, reason=_broken_rule(row, settings)) if row.kept else row for row in table
    )


def judge_again(
    table: Sequence[Candidate], student_threshold: float | None, settings: CleanUpSettings
) -> tuple[Candidate, ...]:
    """Steps 2 and 3 anew on candidates of an earlier run, whatever was decided then.

    student_threshold: of step 2; None leaves what it decided.
    """
    if student_threshold is None:
        known = [row if row.reason.startswith(STEP_2) else replace(row, reason="") for row in table]
        return drop_implausible(known, settings)
    fresh = [replace(row, reason="") for row in table]
    return drop_implausible(drop_improbable(fresh, student_threshold), settings)


def number_kept_first(candidates: Candidates) -> Candidates:
    """The same candidates numbered anew: those kept from 1, the most probable first."""
    order = sorted(candidates.table, key=lambda row: (not row.kept, -row.probability, row.index))
    numbers = np.zeros(len(order) + 1, np.int32)
    numbers[[row.index for row in order]] = np.arange(1, len(order) + 1)
    table = tuple(replace(row, index=int(numbers[row.index])) for row in order)
    return replace(candidates, labels=numbers[candidates.labels], table=table)


def _broken_rule(row: Candidate, settings: CleanUpSettings) -> str:
    """The first rule that the candidate breaks, in words; empty when it breaks none."""
    if row.volume_mm3 < settings.min_volume_mm3:
        return f"step 3: too small, {row.volume_mm3:.2f} mm3 < {settings.min_volume_mm3:g}"
    if row.diameter_mm > settings.max_diameter_mm:
        return f"step 3: too large, {row.diameter_mm:.2f} mm > {settings.max_diameter_mm:g}"
    if row.elongation > settings.max_elongation:
        return f"step 3: elongated, {row.elongation:.2f} > {settings.max_elongation:g}"
    if row.edge_mm < settings.min_edge_mm:
        return (
            f"step 3: too close to the brain edge, {row.edge_mm:.2f} mm < {settings.min_edge_mm:g}"
        )
    return ""
