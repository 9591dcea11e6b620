"""The curve of the golden findings by hand, and beside picai_eval."""

import numpy as np
import pytest

from microbleeds.evaluate.froc import froc, threshold_at, tpr_at


def test_golden_curve(golden):
    curve = froc(golden)
    assert curve.threshold.tolist() == [np.inf, 0.95, 0.9, 0.85, 0.8, 0.7, 0.6, 0.5, 0.3, 0.2]
    np.testing.assert_allclose(curve.tpr, np.array([0, 1, 2, 2, 3, 4, 4, 5, 5, 5]) / 10)
    np.testing.assert_allclose(curve.fp_per_scan, np.array([0, 0, 0, 1, 1, 1, 2, 2, 3, 4]) / 3)
    assert tpr_at(curve, 0) == pytest.approx(0.2)
    assert tpr_at(curve, 0.5) == pytest.approx(0.4)
    assert tpr_at(curve, 10) == pytest.approx(0.5)
    assert threshold_at(curve, 0.5) == 0.7 and threshold_at(curve, 0) == 0.9


def test_the_curve_is_what_the_thresholds_give(golden):
    from microbleeds.evaluate.metrics import count, figures_of

    curve = froc(golden)
    for threshold, false, rate in zip(curve.threshold, curve.fp_per_scan, curve.tpr, strict=True):
        values = figures_of(count(golden.at(threshold)))
        assert (values["fp_per_scan"], values["tpr"]) == pytest.approx((false, rate))


def test_picai_eval_gives_the_same_curve(golden):
    from picai_eval import metrics

    results = {
        subject: [
            (int(f.is_lesion), f.confidence, float(f.detected))
            for f in golden.table
            if f.subject == subject
        ]
        for subject in golden.subjects
    }
    theirs = metrics.Metrics(lesion_results=results)
    ours = froc(golden)
    for rate in (0, 0.3, 1 / 3, 0.5, 2 / 3, 1, 4 / 3, 3):
        assert tpr_at(ours, rate) == pytest.approx(theirs.lesion_TPR_at_FPR(rate))


def test_without_lesions_the_rate_is_not_defined(golden):
    only = type(golden)(tuple(f for f in golden.table if f.subject == "c"), ("c",))
    curve = froc(only)
    assert np.isnan(curve.tpr).all() and curve.fp_per_scan.tolist() == [0, 1, 2]
