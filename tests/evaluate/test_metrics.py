"""Figures of the golden findings, worked out by hand."""

import numpy as np
import pytest

from microbleeds.evaluate.matching import Findings
from microbleeds.evaluate.metrics import count, figures_of, summarise


def test_golden_figures(golden):
    summary = summarise(golden)
    assert (summary.scans, summary.lesions, summary.hits) == (3, 10, 5)
    assert summary.false_positives == 4
    values = {name: figure.value for name, figure in summary.figures.items()}
    assert values["tpr"] == pytest.approx(0.5)
    assert values["precision"] == pytest.approx(5 / 9)
    assert values["f1"] == pytest.approx(10 / 19)
    assert values["fp_per_scan"] == pytest.approx(4 / 3)
    # a: 2*4 / (2*4 + 1 + 1) = 0.8; b: 2 / (2 + 1 + 4) = 2/7; c has no lesion and so no F1
    assert values["f1_median"] == pytest.approx((0.8 + 2 / 7) / 2)
    assert values["dice"] == pytest.approx((0.8 + 0.6 + 0.4 + 1.0) / 4)
    # counts: 5 for 5, 2 for 5, 2 for 0
    assert values["count_error"] == pytest.approx(5 / 3)
    assert values["count_bias"] == pytest.approx(-1 / 3)
    assert values["count_limits"] == pytest.approx(1.96 * np.std([0, -3, 2], ddof=1))
    assert values["burden"] == pytest.approx(1 / 3)  # 5-10 for 5-10, 1-4 for 5-10, 1-4 for 0


def test_a_threshold_turns_hits_into_misses_and_removes_false_detections(golden):
    values = figures_of(count(golden.at(0.7)))
    assert values["tpr"] == pytest.approx(0.4)
    assert values["fp_per_scan"] == pytest.approx(1 / 3)
    assert values["dice"] == pytest.approx((0.8 + 0.6 + 1.0) / 3)
    assert golden.at(0.0) == golden


def test_intervals_contain_the_value_repeat_with_the_seed_and_shrink_with_scans(golden):
    many = Findings(
        tuple(
            type(f)(f"{f.subject}{n}", *list(vars(f).values())[1:])
            for n in range(20)
            for f in golden.table
        ),
        tuple(f"{s}{n}" for n in range(20) for s in golden.subjects),
    )
    few, lots = summarise(golden).figures["tpr"], summarise(many).figures["tpr"]
    assert few.low <= few.value <= few.high
    assert lots.low < 0.5 < lots.high and lots.high - lots.low < few.high - few.low
    assert summarise(many, seed=1) == summarise(many, seed=1)
    assert summarise(many, seed=1).figures["tpr"] != lots


def test_a_single_scan_has_no_intervals(golden):
    alone = Findings(tuple(f for f in golden.table if f.subject == "a"), ("a",))
    figures = summarise(alone).figures
    assert np.isnan([(one.low, one.high) for one in figures.values()]).all()
    assert figures["tpr"].value == pytest.approx(4 / 5)


def test_bootstrap_agrees_with_scipy(golden):
    from scipy.stats import bootstrap

    rng = np.random.default_rng(4)
    false = rng.poisson(3.0, 60).astype(float)
    names = tuple(f"s{n}" for n in range(60))
    template = next(f for f in golden.table if not f.is_lesion)
    table = tuple(
        type(template)(name, *list(vars(template).values())[1:])
        for name, number in zip(names, false, strict=True)
        for _ in range(int(number))
    )
    figure = summarise(Findings(table, names), resamples=1000).figures["fp_per_scan"]
    expected = bootstrap((false,), np.mean, method="percentile", rng=5).confidence_interval
    assert (figure.low, figure.high) == pytest.approx(tuple(expected), abs=0.06)


def test_without_lesions_there_is_no_rate(golden):
    only = Findings(tuple(f for f in golden.table if f.subject == "c"), ("c",))
    values = figures_of(count(only))
    assert np.isnan([values[n] for n in ("tpr", "f1", "f1_median", "dice", "count_icc")]).all()
    assert values["precision"] == 0 and values["fp_per_scan"] == 2


def test_perfect_and_empty():
    values = figures_of(count(Findings((), ("a", "b"))))
    assert values["fp_per_scan"] == 0 and values["burden"] == 1
    assert np.isnan(values["precision"])
