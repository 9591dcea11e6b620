"""Sums that stay small: against NumPy on the same numbers."""

import numpy as np
import pytest

from microbleeds.study.group_tally import BRAIN_CM3, SECONDS, Extremes, Histogram, Names


def filled(edges, values) -> Histogram:
    made = Histogram.empty(edges)
    for value in values:
        made.add(value)
    return made


def test_quantiles_are_right_to_a_bin():
    values = np.random.default_rng(1).normal(1450, 120, 3000)
    made = filled(BRAIN_CM3, values)
    assert made.total == 3000
    for share in (0.01, 0.25, 0.5, 0.75, 0.99):
        assert made.quantile(share) == pytest.approx(np.quantile(values, share), abs=25)
    low, middle, high = np.quantile(values, (0.25, 0.5, 0.75))
    expected = (900 - middle) / ((high - low) / 1.349)
    assert made.deviation(900) == pytest.approx(expected, rel=0.06)


def test_bins_are_those_of_numpy():
    values = [0, 0.5, 1, 9.99, 10, 79, 12.5]
    counts = filled(SECONDS, values).counts
    assert counts == np.histogram(values, [*SECONDS, 1e9])[0].tolist()
    assert list(SECONDS) == sorted(set(SECONDS))


def test_values_beyond_the_ends_are_counted():
    made = filled((0, 10, 20), [-5, 1e9, 20])
    assert made.counts == [1, 0, 2] and made.quantile(0.9) == 20


def test_nothing_and_all_alike():
    assert np.isnan(Histogram.empty((0, 1)).quantile(0.5))
    assert Histogram.empty((0, 1)).deviation(3) == 0
    assert abs(filled(BRAIN_CM3, [1400] * 9).deviation(1400)) < 3.5


def test_the_highest_are_kept_and_of_equals_the_first():
    scores = np.random.default_rng(2).integers(0, 30, 500).tolist()
    kept = Extremes(7)
    for place, score in enumerate(scores):
        kept.add(score, place)
    expected = sorted(range(500), key=lambda place: (-scores[place], place))[:7]
    assert list(kept.rows()) == expected and kept.seen == 500


def test_names_beyond_the_first_twenty_are_only_counted():
    names = Names()
    for n in range(25):
        names.add(str(n))
    names.add("3")
    assert (names.total, names.others, names.different) == (26, 5, "more than 20")
    assert names.counts["3"] == 2
