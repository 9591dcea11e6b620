"""The distribution of a count, against enumeration and SciPy."""

from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from scipy import stats

from microbleeds.report.confidence import central_interval, count_confidence, count_distribution
from microbleeds.settings import Calibration, CleanUpSettings, DiscriminateSettings, Settings
from microbleeds.steps import Candidate

ROW = Candidate(1, (0, 0, 0), 20.0, 3.4, 0.1, 9, 0.9, 0.9, 0.9)
SETTINGS = Settings(
    discriminate=DiscriminateSettings(calibration={"t2star": Calibration(0.5, 1.2)}),
    clean_up=CleanUpSettings(min_volume_mm3=2.5),
)


def test_the_distribution_is_that_of_all_outcomes():
    probabilities = np.array([0.9, 0.02, 0.5, 0.33, 1.0, 0.0])
    expected = np.zeros(7)
    for outcome in product((0, 1), repeat=6):
        chance = np.prod(np.where(outcome, probabilities, 1 - probabilities))
        expected[sum(outcome)] += chance
    assert count_distribution(probabilities) == pytest.approx(expected)


def test_equal_probabilities_are_binomial():
    distribution = count_distribution(np.full(300, 0.03))
    assert distribution == pytest.approx(stats.binom.pmf(range(301), 300, 0.03), abs=1e-12)
    low, high = central_interval(distribution, 0.95)
    assert (low, high) == stats.binom.interval(0.95, 300, 0.03)


def test_nothing_and_certainty():
    assert count_distribution(np.array([])).tolist() == [1.0]
    assert central_interval(np.ones(1), 0.95) == (0, 0)
    assert central_interval(count_distribution(np.ones(4)), 0.95) == (4, 4)


def test_improbable_candidates_take_part_and_misshapen_ones_do_not():
    dropped = replace(ROW, index=2, joint_probability=0.1, reason="step 2: probability 0.1 < 0.5")
    small = replace(ROW, index=3, volume_mm3=1.0, reason="step 3: too small")
    improbable_and_small = replace(dropped, index=4, volume_mm3=1.0)
    confidence = count_confidence([ROW, dropped, small, improbable_and_small], SETTINGS, "t2star")
    assert confidence.expected == pytest.approx(1.0) and confidence.candidates == 2
    assert (confidence.low, confidence.high) == (0, 2)  # 0.09 none, 0.82 one, 0.09 both
    assert confidence.calibrated and "step 1" in confidence.excludes


def test_a_model_without_calibration_says_so():
    settings = replace(SETTINGS, discriminate=DiscriminateSettings())
    assert not count_confidence([ROW], settings, "t2star").calibrated
    assert not count_confidence([ROW], SETTINGS, "swi").calibrated  # only T2* was calibrated


def test_without_candidates():
    confidence = count_confidence([], SETTINGS, "t2star")
    assert (confidence.expected, confidence.low, confidence.high) == (0, 0, 0)
