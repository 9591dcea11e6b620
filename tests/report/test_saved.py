"""Results read back: whole, of one piece, and of the scan they name."""

import json
import re
from dataclasses import replace

import numpy as np
import pytest

from microbleeds.errors import UserError
from microbleeds.report.saved import find_records, read_result
from microbleeds.report.table import write_candidates
from microbleeds.scan import write_nifti

from .conftest import AFFINE, KEPT, ROWS, TRAITS


def test_what_was_written_comes_back(saved, head, brain):
    result = read_result(saved.report)
    assert result.candidates == ROWS and result.microbleeds == ROWS[:2]
    np.testing.assert_array_equal(result.scan.voxels, head.voxels)
    np.testing.assert_array_equal(result.brain, brain)
    assert result.traits == TRAITS and result.regions == {}
    assert result.record["confidence"]["expected"] == pytest.approx(1.6)


def test_region_and_side_where_the_table_has_them(saved):
    lines = saved.table.read_text().splitlines()
    columns = ("region\tside", "frontal\tright", "n/a\tn/a")
    saved.table.write_text("\n".join(map("\t".join, zip(lines, columns, strict=True))) + "\n")
    assert read_result(saved.report).regions == {1: "right frontal"}


def test_a_scan_that_is_gone_or_moved(saved, tmp_path):
    source = tmp_path / "sub-01_T2starw.nii.gz"
    moved = source.rename(tmp_path / "moved.nii.gz")
    with pytest.raises(UserError, match=r"sub-01_T2starw.nii.gz.*not there any more.*--scan"):
        read_result(saved.report)
    assert read_result(saved.report, moved).scan.name == "moved"


def test_another_scan_is_not_drawn_instead(saved, head, tmp_path):
    other = tmp_path / "other.nii.gz"
    write_nifti(other, head.voxels + 1, head.affine)
    with pytest.raises(UserError, match="is not the scan"):
        read_result(saved.report, other)
    shifted = head.affine.copy()
    shifted[0, 3] += 1
    write_nifti(other, head.voxels, shifted)
    with pytest.raises(UserError, match="is not the scan"):
        read_result(saved.report, other)


@pytest.mark.parametrize("name", ["table", "candidates", "brain"])
def test_a_missing_file_is_named(saved, name):
    path = getattr(saved, name)
    path.unlink()
    with pytest.raises(UserError, match=f"{re.escape(path.name)} is missing.*detect again"):
        read_result(saved.report)


def test_files_that_contradict_each_other(saved):
    write_candidates(saved.candidates, [KEPT, *(replace(r, reason="x") for r in ROWS[1:])], AFFINE)
    with pytest.raises(UserError, match="do not name the same microbleeds"):
        read_result(saved.report)


def test_records_that_are_none(saved):
    record = json.loads(saved.report.read_text())
    del record["confidence"]
    saved.report.write_text(json.dumps(record))
    with pytest.raises(UserError, match=r"version 0.1.0 and says nothing of 'confidence'"):
        read_result(saved.report)
    saved.report.write_text("[1]")
    with pytest.raises(UserError, match="no record of results"):
        read_result(saved.report)
    saved.report.write_text("{")
    with pytest.raises(UserError, match="cannot be read as JSON"):
        read_result(saved.report)


def without(content, place):
    first, _, rest = place.partition(".")
    kept = {name: value for name, value in content.items() if name != first}
    return kept | {first: without(content[first], rest)} if rest else kept


def test_a_part_of_a_record_that_is_missing(saved):
    record = json.loads(saved.report.read_text())
    for place in ("confidence.level", "settings.discriminate", "model.files"):
        saved.report.write_text(json.dumps(without(record, place)))
        with pytest.raises(UserError, match=r"what detect does not write \(.*run detect again"):
            read_result(saved.report)


@pytest.mark.parametrize(
    ("name", "value"),
    [("source", 5), ("settings", {}), ("settings", {"discriminate": [1]}), ("contrast", "t1"),
     ("contrast", []), ("voxel_mm", ["x"]), ("voxel_mm", 2),
     pytest.param("brain_cm3", 10**400, id="huge"), ("brain_cm3", float("nan")),
     ("traits", {"noise": "x"}), ("seconds", None), ("model", "slim"), ("brain_mask", 5),
     ("series", 7), ("warnings", 1)],
)  # fmt: skip
def test_a_part_of_a_record_that_is_of_another_kind(saved, name, value):
    record = json.loads(saved.report.read_text()) | {name: value}
    saved.report.write_text(json.dumps(record))
    with pytest.raises(UserError, match=rf"what detect does not write \({name}.*run detect again"):
        read_result(saved.report)


def test_a_mask_of_the_users_own_is_a_path_in_the_record(saved):
    record = json.loads(saved.report.read_text()) | {"brain_mask": "/mask.nii", "traits": None}
    saved.report.write_text(json.dumps(record))
    assert read_result(saved.report).record["brain_mask"] == "/mask.nii"


def test_finding_records(saved, tmp_path):
    assert find_records(tmp_path) == find_records(saved.report) == (saved.report,)
    with pytest.raises(UserError, match="no record of results"):
        find_records(saved.table)
    with pytest.raises(UserError, match="There is no folder"):
        find_records(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="holds no results"):
        find_records(tmp_path / "empty")
    hidden = tmp_path / ".scratch" / "killed"
    hidden.mkdir(parents=True)
    (hidden / saved.report.name).write_text("{}")
    assert find_records(tmp_path) == (saved.report,)


@pytest.mark.parametrize("cell", ["x", "nan"])
def test_a_number_that_is_none(saved, cell):
    for path in (saved.table, saved.candidates):
        text = path.read_text()
        header, first, *rest = text.splitlines()
        changed = "\t".join([cell, *first.split("\t")[1:]])
        path.write_text("\n".join([header, changed, *rest]) + "\n")
        with pytest.raises(UserError, match=f"{path.name} has '{cell}' in column 'index'"):
            read_result(saved.report)
        path.write_text(text)


def test_traits_of_another_version(saved):
    record = json.loads(saved.report.read_text())
    record["traits"] = {"colour": 1}
    saved.report.write_text(json.dumps(record))
    with pytest.raises(UserError, match="in other words than version"):
        read_result(saved.report)
