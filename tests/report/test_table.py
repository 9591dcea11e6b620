"""Detections and candidates, there and back."""

from dataclasses import replace

import numpy as np
import pytest

from microbleeds.errors import UserError
from microbleeds.report.table import (
    clean_up_table,
    read_candidates,
    write_candidates,
    write_detections,
)
from microbleeds.settings import CleanUpSettings
from microbleeds.steps import Candidate

AFFINE = np.array([[0, 0.5, 0, -30.0], [-0.5, 0, 0, 12.0], [0, 0, 3.0, 5.0], [0, 0, 0, 1.0]])
KEPT = Candidate(1, (-20.25, 2.0, 23.0), 14.5, 3.0, 0.125, 12.0, 0.9, 0.75, 0.8)
ROWS = (
    replace(KEPT, region="thalamus", side="left"),
    replace(
        KEPT,
        index=2,
        reason="step 2: probability 0.100 < 0.5",
        student_probability=0.1,
        joint_probability=0.1,
    ),
    replace(KEPT, index=3, student_probability=None, joint_probability=None, edge_mm=float("inf")),
    replace(KEPT, index=4, volume_mm3=1.5, reason="step 3: too small, 1.50 mm3 < 2.5"),
)


def test_candidates_come_back_as_they_were(tmp_path):
    path = tmp_path / "c.tsv"
    write_candidates(path, ROWS, AFFINE)
    assert read_candidates(path) == ROWS


def test_detections_are_the_kept_ones_with_the_voxel_of_the_scan(tmp_path):
    path = tmp_path / "d.tsv"
    write_detections(path, ROWS, AFFINE)
    header, first, second = path.read_text().splitlines()
    names = "index name x y z i j k volume_mm3 equivalent_diameter_mm elongation edge_distance_mm"
    assert header == "\t".join(
        [
            *names.split(),
            *["detector_probability", "student_probability", "probability", "region", "side"],
        ]
    )
    assert first.split("\t")[:9] == [
        "1",
        "microbleed 1",
        "-20.25",
        "2",
        "23",
        "20",
        "20",
        "6",
        "14.5",
    ]
    assert second.split("\t")[11:] == ["n/a", "0.9", "n/a", "0.9", "n/a", "n/a"]
    assert read_candidates(path) == (ROWS[0], ROWS[2])


def test_no_detections_still_make_a_table(tmp_path):
    write_detections(tmp_path / "d.tsv", (), AFFINE)
    assert read_candidates(tmp_path / "d.tsv") == ()


def test_other_rules_on_a_written_table(tmp_path):
    source, target = tmp_path / "c.tsv", tmp_path / "again.tsv"
    write_candidates(source, ROWS, AFFINE)
    table = clean_up_table(source, target, 0.05, CleanUpSettings(min_volume_mm3=2.0))
    assert [row.kept for row in table] == [True, True, True, False]
    assert read_candidates(target) == table
    columns = [line.split("\t")[4:7] for line in target.read_text().splitlines()]
    assert columns == [["i", "j", "k"]] + 4 * [["20", "20", "6"]]


def test_a_table_of_something_else(tmp_path):
    path = tmp_path / "c.tsv"
    path.write_text("subject\tage\n1\t2\n")
    with pytest.raises(UserError, match="no column 'index'"):
        read_candidates(path)
