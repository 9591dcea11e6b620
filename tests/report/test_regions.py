"""Regions of candidates, the MARS table, the pattern."""

import csv
from dataclasses import replace

import numpy as np
import pytest

from microbleeds.mni.register import Registration
from microbleeds.models.card import Thresholds
from microbleeds.pipeline import Detections
from microbleeds.report.regions import distribution, locate_regions, name_regions, write_mars
from microbleeds.scan import Scan
from microbleeds.settings import Settings
from microbleeds.steps import Candidate

BLEED = Candidate(1, (0.0, 0, 0), 10.0, 2.7, 0.1, 5.0, 0.9, 0.8, 0.8)


def at(region: str, side: str = "left", **changes: float) -> Candidate:
    return replace(BLEED, region=region, side=side, **changes)


@pytest.mark.parametrize(
    ("regions", "pattern"),
    [
        ([], "none"),
        (["frontal", "insula"], "strictly lobar"),
        (["thalamus", "deep and periventricular white matter"], "strictly deep"),
        (["occipital", "basal ganglia"], "mixed"),
        (["cerebellum", "brainstem"], "infratentorial only"),
        (["frontal", "brainstem"], "strictly lobar, and infratentorial"),
        (["thalamus", "frontal", "cerebellum"], "mixed, and infratentorial"),
        (["frontal", ""], "not known"),
    ],
)
def test_pattern(regions, pattern):
    assert distribution([at(region) for region in regions]) == pattern


def test_mars_table_counts_every_microbleed_once(tmp_path):
    bleeds = [
        at("thalamus"), at("thalamus", joint_probability=0.3), at("thalamus", "right"),
        at("frontal", detector_probability=0.2), at("", ""),
    ]  # fmt: skip
    write_mars(tmp_path / "m.tsv", bleeds, Thresholds(detector=0.5, student=0.5))
    with (tmp_path / "m.tsv").open() as stream:
        rows = list(csv.DictReader(stream, delimiter="\t"))
    counts = {(r["region"], r["side"]): (int(r["definite"]), int(r["possible"])) for r in rows}
    assert len(rows) == 2 * 13 + 1
    assert counts["thalamus", "left"] == (1, 1)
    assert counts["thalamus", "right"] == (1, 0)
    assert counts["frontal", "left"] == (0, 1)
    assert counts["n/a", "n/a"] == (1, 0)
    assert sum(sum(pair) for pair in counts.values()) == len(bleeds)
    assert [r["group"] for r in rows[:4]] == ["infratentorial"] * 4


def test_thresholds_count_as_reached(tmp_path):
    bleed = at("insula", detector_probability=0.5, joint_probability=0.5)
    write_mars(tmp_path / "m.tsv", [bleed], Thresholds(0.5, 0.5))
    assert "insula\tleft\t1\t0" in (tmp_path / "m.tsv").read_text()


def test_without_a_registration_no_candidate_gets_a_region():
    scan = Scan(np.ones((20, 20, 20), np.float32), np.eye(4), "swi")
    brain = np.zeros(scan.voxels.shape, bool)
    brain[5:15, 5:15, 5:15] = True
    labels = np.zeros(scan.voxels.shape, np.int32)
    found = Detections(labels, (BLEED,), brain, 0.9, Settings(), {})
    regions = locate_regions(scan, brain, None)  # no network is asked
    named = name_regions(found, lambda: regions)
    assert named.registration is not None and "cm3 of brain" in named.registration.problem
    assert named.table == found.table
    assert named.seconds["regions"] >= 0


def test_the_record_warns_of_a_failed_registration():
    from microbleeds.report.results import warnings

    scan = Scan(np.ones((20, 20, 20), np.float32), np.eye(4), "swi")
    labels = np.zeros(scan.voxels.shape, np.int32)
    failed = Registration(np.eye(4), np.eye(4), 0.5, "the brains overlap by 0.50")
    found = Detections(labels, (BLEED,), labels == 0, 0.9, Settings(), {}, registration=failed)
    said = [text for text in warnings(scan, found) if text.startswith("no regions")]
    assert len(said) == 1 and "overlap by 0.50" in said[0]
    assert not [t for t in warnings(scan, replace(found, registration=None)) if "regions" in t]
