import numpy as np
import pytest

from microbleeds.steps import Candidate
from microbleeds.study.longitudinal import Findings, Rules, aria_h, compare_visits, counts, match


def candidate(index, place, probability=0.9, kept=True):
    return Candidate(
        index, tuple(map(float, place)), 20.0, 3.4, 0.2, 10.0, 0.5, probability, probability,
        "" if kept else "step 2: improbable",
    )  # fmt: skip


def findings(*rows, shift=(0.0, 0.0, 0.0), covered=None, traces=None, slice_mm=(0.0, 0.0, 1.0)):
    """The other visit's mm are these plus `shift`."""
    places = np.array([row.xyz_mm for row in rows]).reshape(-1, 3) + shift
    count = len(rows)
    return Findings(
        rows,
        places,
        np.ones(count, bool) if covered is None else np.array(covered, bool),
        np.zeros(count) if traces is None else np.array(traces, float),
        np.array(slice_mm),
    )


SHIFT = np.array([10.0, -4.0, 2.0])


def test_one_persists_one_is_new_one_is_gone():
    baseline = findings(candidate(1, (0, 0, 0)), candidate(2, (30, 0, 0)), shift=SHIFT)
    follow_up = findings(candidate(1, (11, -4, 2)), candidate(2, (0, 50, 0)), shift=-SHIFT)
    changes = compare_visits(baseline, follow_up)
    assert [(c.number, c.status) for c in changes] == [(1, "new"), (2, "gone"), (3, "persisting")]
    assert changes[2].distance_mm == pytest.approx(1.0)
    assert changes[0].baseline is None and changes[1].follow_up is None
    assert counts(changes) == {"persisting": 1, "new": 1, "gone": 1, "not covered": 0}


def test_a_candidate_below_the_threshold_is_no_new_microbleed_and_none_that_went():
    seen = candidate(1, (0, 0, 0))
    nearly = candidate(2, (1, 0, 0), probability=0.06, kept=False)
    for pair in ((findings(nearly), findings(seen)), (findings(seen), findings(nearly))):
        (change,) = compare_visits(*pair)
        assert change.status == "persisting" and "0.06" in change.note
    hardly = candidate(2, (1, 0, 0), probability=0.001, kept=False)
    assert compare_visits(findings(hardly), findings(seen))[0].status == "new"


def test_what_is_dark_in_the_other_image_is_no_change():
    seen = candidate(1, (0, 0, 0))
    assert compare_visits(findings(), findings(seen, traces=[0.9]))[0].status == "persisting"
    assert compare_visits(findings(), findings(seen, traces=[0.2]))[0].status == "new"
    assert compare_visits(findings(seen, traces=[0.2]), findings())[0].status == "gone"


def test_the_surer_one_is_the_darker_its_place_must_have_been_where_there_was_no_candidate():
    """A new microbleed on a vessel; one that was hardly there is a candidate at least."""
    sure, unsure = candidate(1, (0, 0, 0), 0.95), candidate(1, (0, 0, 0), 0.2)
    assert compare_visits(findings(), findings(sure, traces=[0.7]))[0].status == "new"
    assert compare_visits(findings(), findings(sure, traces=[0.9]))[0].status == "persisting"
    assert compare_visits(findings(), findings(unsure, traces=[0.7]))[0].status == "persisting"
    there = findings(candidate(1, (0.5, 0, 0), 0.02, kept=False))
    assert compare_visits(there, findings(sure, traces=[0.7]))[0].status == "persisting"


@pytest.mark.parametrize(
    ("place", "status"),
    [
        ((0, 0, 2.9), "persisting"),
        ((0, 0, 3.1), "new"),
        ((0, 2.1, 0), "new"),
        ((1.5, 0, 2.2), "new"),
    ],
)
def test_thick_slices_leave_the_place_across_them_open(place, status):
    """0.6 of a slice of 5 mm is 3 mm, and within the slice it stays at 2: an ellipsoid."""
    thick = (0.0, 0.0, 5.0)
    before = findings(candidate(1, (0, 0, 0)), slice_mm=thick)
    after = findings(candidate(1, place), slice_mm=thick)
    assert compare_visits(before, after)[0].status == status


def test_outside_the_other_scan_is_not_covered_whatever_is_there():
    change = compare_visits(findings(candidate(1, (0, 0, 0)), covered=[False]), findings())[0]
    assert change.status == "not covered" and "follow-up" in change.note


def test_each_microbleed_is_used_once_and_as_many_as_can_be_are_matched():
    """Nearest first would leave one alone: 0 to 3 and 3 to 6.5 must be taken instead of 3 to 3."""
    both = candidate(1, (0, 0, 0)), candidate(2, (3, 0, 0))
    baseline = findings(*both, traces=[0.9, 0.9])
    both = candidate(1, (3, 0, 0)), candidate(2, (6.5, 0, 0))
    follow_up = findings(*both, traces=[0.9, 0.9])
    assert match(baseline, follow_up, [0, 1], [0, 1], Rules()) == [(0, 0, 3.0), (1, 1, 3.5)]
    twins = findings(candidate(1, (0, 0, 0)), candidate(2, (1, 0, 0)))
    changes = compare_visits(findings(candidate(1, (0, 0, 0))), twins)
    assert sorted(c.status for c in changes) == ["new", "persisting"]


def test_nothing_matches_beyond_the_limit():
    one = findings(candidate(1, (0, 0, 0)), traces=[0.9])
    two = findings(candidate(1, (4.1, 0, 0)), traces=[0.9])
    assert match(one, two, [0], [0], Rules()) == []
    assert len(compare_visits(one, two, Rules(match_mm=4.2))) == 1


def test_beside_an_old_one_that_was_not_reported_again_it_is_new():
    old, beside = candidate(1, (0, 0, 0)), candidate(1, (3, 0, 0))
    changes = compare_visits(findings(old, traces=[0.9]), findings(beside, traces=[0.3]))
    assert [change.status for change in changes] == ["new", "persisting"]
    assert changes[0].follow_up is beside and changes[1].baseline is old
    both = compare_visits(findings(old, traces=[0.9]), findings(beside, traces=[0.9]))
    assert [change.status for change in both] == ["persisting"]
    nearer = candidate(1, (1.9, 0, 0))
    (change,) = compare_visits(findings(old), findings(nearer))
    assert change.status == "persisting"


def test_no_microbleed_at_all():
    assert compare_visits(findings(), findings()) == ()


@pytest.mark.parametrize(
    ("new", "name"),
    [(0, "none"), (1, "mild"), (4, "mild"), (5, "moderate"), (9, "moderate"), (10, "severe"),
     (40, "severe")],
)  # fmt: skip
def test_aria_h_classes(new, name):
    assert aria_h(new) == name
