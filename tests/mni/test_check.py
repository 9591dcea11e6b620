"""What speaks against a registration."""

import numpy as np
import pytest

from microbleeds.mni.check import brain_overlap, problem_of
from microbleeds.mni.coarse import CoarseHead, coarse_template
from microbleeds.simulate.deform import rotation


def turned(degrees):
    matrix = np.eye(4)
    matrix[:3, :3] = rotation(np.deg2rad([degrees, 0.0, 0.0]))
    return matrix


@pytest.mark.parametrize(
    ("matrix", "overlap", "said"),
    [
        (turned(20), 0.9, ""),
        (turned(60), 0.95, "turn the head by 60 degrees"),
        (np.diag([1.0, 1.6, 1.0, 1.0]), 0.95, "stretch the head 1.00 to 1.60 times"),
        (turned(5), 0.8, "overlap by 0.80"),
    ],
)
def test_problems_are_named(matrix, overlap, said):
    problem = problem_of(matrix, overlap)
    assert said in problem and bool(said) == bool(problem)


def test_overlap_counts_only_what_the_scan_sees():
    template = coarse_template()
    shifted = np.eye(4)
    shifted[2, 3] = 12.0
    whole = brain_overlap(shifted, template, template)
    assert brain_overlap(np.eye(4), template, template) == pytest.approx(1.0)
    assert 0.8 < whole < 0.95
    seen = np.zeros(template.brain.shape, bool)
    seen[:, :, 20:24] = True  # a slab from the middle, where a shift along its axis hardly shows
    slab = CoarseHead(template.image, template.brain, seen, template.affine)
    assert brain_overlap(shifted, slab, template) > whole
