"""Which scans are called unlike those the networks learnt from."""

import json
import re
from dataclasses import asdict, replace

import pytest

from microbleeds.report.unusual import RANGES, compare, unusual

from .conftest import TRAITS

SEEN = json.loads(RANGES.read_text())


@pytest.mark.parametrize("contrast", ["t2star", "swi", "qsm"])
def test_every_trait_has_its_range(contrast):
    seen = SEEN["qsm" if contrast == "qsm" else "magnitude"]
    assert set(seen) == set(asdict(TRAITS))
    assert all(low < high for low, high in seen.values())
    middle = replace(TRAITS, **{name: sum(ends) / 2 for name, ends in seen.items()})
    assert unusual(middle, contrast) == {}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"slice_mm": 8.0}, "the slices are thick: distance between slices 8.0 mm, there "),
        ({"brain_cm3": 550.0}, "there is little brain .*: brain in the mask 550 cm³"),
        ({"cut": 0.9}, "the image ends inside the brain"),
        ({"noise": 0.4}, "the image is noisy: noise to signal 0.400"),
        ({"dark": 0.3}, "much of the brain is dark: .*30.0%"),
        ({"bright": 0.9}, "much of the brain is bright"),
        ({"rim": -0.9}, "rim is bright beside its middle: .* −0.90"),
        ({"in_plane_mm": 2.5}, "the voxels are coarse in the slice: .* 2.50 mm"),
    ],
)
def test_one_sentence_for_each_trait_out_of_range(change, words):
    ((name, sentence),) = unusual(replace(TRAITS, **change), "t2star").items()
    assert {name} == set(change)
    assert sentence.startswith("unlike the heads the networks learnt from, ")
    assert re.search(words, sentence)
    outside = [row for row in compare(replace(TRAITS, **change), "t2star") if row.reason]
    assert len(outside) == 1


def test_the_comparison_names_all_traits():
    rows = compare(TRAITS, "t2star")
    assert len(rows) == len(asdict(TRAITS)) and not any(row.reason for row in rows)
    assert rows[1].value == "3.0 mm" and rows[1].seen.endswith(" mm")
