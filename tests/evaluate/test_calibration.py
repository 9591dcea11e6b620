from dataclasses import replace

import numpy as np
import pytest
from scipy.special import expit

from microbleeds.evaluate.calibration import fit_calibration, reliability
from microbleeds.evaluate.matching import Finding, Findings
from microbleeds.settings import Calibration
from microbleeds.steps.discriminate import calibrated


def findings(confidence, hit, missed=0):
    rows = [
        Finding("a", bool(h), True, float(c), (0, 0, 0))
        for c, h in zip(confidence, hit, strict=True)
    ]
    rows += [Finding("a", True, False, 0.0, (0, 0, 0))] * missed
    return Findings(tuple(rows), ("a",))


def corrected(seen, calibration):
    table = tuple(
        replace(row, confidence=float(calibrated(np.array(row.confidence), calibration)))
        for row in seen.table
        if row.detected
    )
    return replace(seen, table=table)


@pytest.fixture
def overconfident():
    """Detections whose true log odds are -1 + 0.5 times the stated ones."""
    rng = np.random.default_rng(0)
    stated = rng.normal(0, 3, 20000)
    hit = rng.random(20000) < expit(-1 + 0.5 * stated)
    return findings(expit(stated), hit, missed=50)


def test_the_law_that_made_the_hits_is_found_and_corrected(overconfident):
    calibration = fit_calibration(overconfident)
    assert calibration.intercept == pytest.approx(-1, abs=0.06)
    assert calibration.slope == pytest.approx(0.5, abs=0.02)
    assert reliability(overconfident).error > 0.1
    assert reliability(corrected(overconfident, calibration)).error < 0.015


def test_few_well_separated_detections_are_not_called_certain():
    calibration = fit_calibration(findings([0.9, 0.8, 0.2, 0.1], [1, 1, 0, 0]))
    top = float(calibrated(np.array(0.9), calibration))
    assert 0.6 < top < 0.9  # Platt's target for two hits is 3/4


@pytest.mark.parametrize(
    ("confidence", "hit"),
    [([], []), ([0.7, 0.2], [1, 1]), ([0.7, 0.2], [0, 0]), ([0.1, 0.2, 0.9], [1, 1, 0])],
)
def test_nothing_is_corrected_where_there_is_nothing_to_learn_from(confidence, hit):
    assert fit_calibration(findings(confidence, hit, missed=1)) == Calibration()


def test_reliability_by_hand():
    shown = reliability(findings([0.05, 0.15, 0.11, 0.95, 1.0], [0, 1, 0, 1, 1]))
    np.testing.assert_allclose(shown.probability, [0.05, 0.13, 0.975])
    np.testing.assert_allclose(shown.share, [0, 0.5, 1])
    assert shown.count.tolist() == [1, 2, 2]
    assert shown.error == pytest.approx((0.05 + 2 * 0.37 + 2 * 0.025) / 5)
    assert np.isnan(reliability(findings([], [])).error)
