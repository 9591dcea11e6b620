"""The search over placements by the overlap of brains."""

import numpy as np

from microbleeds.mni.coarse import coarse_scan, coarse_template
from microbleeds.mni.search import STARTS, likely_starts


def test_one_start_is_near_the_truth(template_scan, posed):
    to_scanner = posed(1.0, (13, 0, 0), (40, -60, 80))
    head = coarse_scan(*template_scan(to_scanner))
    starts = likely_starts(head, coarse_template())
    assert len(starts) == STARTS
    middle = np.array([0, -20, 10, 1.0])
    apart = [np.linalg.norm((start @ to_scanner @ middle - middle)[:3]) for start in starts]
    assert min(apart) < 15
