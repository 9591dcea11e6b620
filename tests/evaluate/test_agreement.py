"""Agreement of counts against the published example and against formulas."""

import numpy as np
import pytest

from microbleeds.evaluate.agreement import bland_altman, burden_class, icc_2_1


def test_icc_of_the_published_example():
    # Shrout and Fleiss 1979, table 2: six targets, four judges; ICC(2,1) = 0.29 in table 4
    ratings = [[9, 2, 5, 8], [6, 1, 3, 2], [8, 4, 6, 8], [7, 1, 2, 6], [10, 5, 6, 9], [6, 2, 4, 7]]
    assert icc_2_1(np.array(ratings, float)) == pytest.approx(0.29, abs=0.005)


def test_icc_of_equal_shifted_and_constant_counts():
    counts = np.array([0, 1, 4, 9.0])
    assert icc_2_1(np.stack([counts, counts], axis=1)) == pytest.approx(1)
    assert icc_2_1(np.stack([counts, counts + 5], axis=1)) < 0.7
    assert np.isnan(icc_2_1(np.zeros((4, 2)))) and np.isnan(icc_2_1(np.zeros((1, 2))))


def test_bland_altman():
    bias, limits = bland_altman(np.array([3, 5, 2.0]), np.array([1, 5, 3.0]))
    assert bias == pytest.approx(1 / 3)
    assert limits == pytest.approx(1.96 * np.sqrt(7 / 3))


def test_burden_classes():
    assert burden_class(np.array([0, 1, 4, 5, 10, 11, 80.0])).tolist() == [0, 1, 1, 2, 2, 3, 3]
