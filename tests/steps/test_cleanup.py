"""The rules of step 3 on hand-made rows."""

from dataclasses import replace

import numpy as np

from microbleeds.settings import CleanUpSettings
from microbleeds.steps import Candidate, Candidates
from microbleeds.steps.cleanup import (
    PUBLISHED_CLEAN_UP,
    clean_up,
    drop_implausible,
    judge_again,
    number_kept_first,
)

GOOD = Candidate(1, (0, 0, 0), 14.0, 3.0, 0.1, 12.0, 0.9, 0.8, 0.8)


def reasons(rows, settings=CleanUpSettings()) -> list[str]:  # noqa: B008
    return [row.reason for row in drop_implausible(rows, settings)]


def test_each_rule_names_its_value_and_its_limit():
    rows = [
        GOOD,
        replace(GOOD, volume_mm3=1.2),
        replace(GOOD, diameter_mm=12.0),
        replace(GOOD, elongation=0.9),
        replace(GOOD, edge_mm=3.0),
        replace(GOOD, reason="step 2: improbable", volume_mm3=1.2),
    ]
    assert reasons(rows, CleanUpSettings(min_edge_mm=5)) == [
        "",
        "step 3: too small, 1.20 mm3 < 2.5",
        "step 3: too large, 12.00 mm > 10",
        "step 3: elongated, 0.90 > 0.85",
        "step 3: too close to the brain edge, 3.00 mm < 5",
        "step 2: improbable",
    ]


def test_a_lobar_bleed_stays_by_default_and_goes_by_the_published_rule():
    lobar = replace(GOOD, edge_mm=1.5)
    assert reasons([lobar]) == [""]
    assert "edge" in reasons([lobar], PUBLISHED_CLEAN_UP)[0]
    assert "elongated" in reasons([replace(GOOD, elongation=0.3)], PUBLISHED_CLEAN_UP)[0]


def test_values_at_the_limit_stay():
    rows = [replace(GOOD, volume_mm3=2.5), replace(GOOD, diameter_mm=10.0)]
    assert reasons(rows) == ["", ""]


def test_judging_again_forgets_the_earlier_reasons():
    rows = [
        replace(GOOD, reason="step 3: too small, 14.00 mm3 < 20"),
        replace(GOOD, joint_probability=0.2),
        replace(GOOD, joint_probability=None, elongation=0.95),
    ]
    again = judge_again(rows, 0.5, CleanUpSettings())
    assert [row.reason[:6] for row in again] == ["", "step 2", "step 3"]


def test_the_kept_come_first_and_the_labels_follow():
    labels = np.array([[[1, 0, 2, 3, 3, 4]]], np.int32)
    rows = (
        replace(GOOD, index=1, reason="step 2"),
        replace(GOOD, index=2, joint_probability=0.6),
        replace(GOOD, index=3, joint_probability=0.9),
        replace(GOOD, index=4, volume_mm3=0.1),
    )
    numbered = number_kept_first(clean_up(Candidates(labels, rows, 0.9), CleanUpSettings()))
    assert [row.kept for row in numbered.table] == [True, True, False, False]
    assert [row.index for row in numbered.table] == [1, 2, 3, 4]
    assert [row.joint_probability for row in numbered.table[:2]] == [0.9, 0.6]
    np.testing.assert_array_equal(numbered.labels, [[[3, 0, 2, 1, 1, 4]]])
    assert numbered.labels.dtype == np.int32
