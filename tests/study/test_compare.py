"""The command `compare`: results of detect in, table, page and record out; bad input."""

from __future__ import annotations

import csv
import json
import re
import shutil
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from microbleeds.errors import UserError
from microbleeds.models.zoo import load_models
from microbleeds.pipeline import Detections
from microbleeds.report.bids import output_paths
from microbleeds.report.results import concerns, write_results
from microbleeds.scan import Scan, write_nifti
from microbleeds.simulate.deform import rotation
from microbleeds.steps import Candidate
from microbleeds.study import compare, visit
from microbleeds.study.check import check_visits
from microbleeds.study.compare import findings, follow
from microbleeds.study.longitudinal import Rules
from microbleeds.study.registration import Registration
from microbleeds.study.visit import Visit, disagreement, plan_visit

from ..conftest import run

POSE = np.eye(4)
POSE[:3, :3] = rotation(np.deg2rad([3.0, -4.0, 6.0]))
POSE[:3, 3] = (4.0, -3.0, 5.0)
FAINT = Rules().second_look + 0.001  # a trace, below what is reported at any operating point
OLD, OLD_FAINT = (10.0, 20.0, 5.0), (-25.0, 5.0, 12.0)
NEW, GONE = (-12.0, -30.0, 0.0), (20.0, -20.0, 20.0)


@pytest.fixture(scope="module")
def models():
    return load_models()


def write_visit(folder, models, scan, brain, rows):
    """A scan and results as detect writes them; rows: (place, probability, reason)."""
    folder.mkdir(parents=True)
    source = folder / f"{scan.name}.nii.gz"
    write_nifti(source, scan.voxels, scan.affine)
    table = tuple(
        Candidate(i, tuple(map(float, place)), 30.0, 3.9, 0.2, 12.0, 0.6, chance, chance, reason)
        for i, (place, chance, reason) in enumerate(rows, start=1)
    )
    labels = np.zeros(brain.shape, np.int32)
    found = Detections(labels, table, brain, 0.9, models.card.settings(), {"step 1": 1.0})
    write_results(scan, source, found, models, output_paths(scan.name, folder / "results"))
    return folder / "results"


def there(place):
    return POSE[:3, :3] @ place + POSE[:3, 3]


@pytest.fixture(scope="module")
def visits(head, models, tmp_path_factory):
    """A pair with one of each: old, faint at baseline, new, gone."""
    folder = tmp_path_factory.mktemp("visits")
    before = head.scan(np.eye(4), (OLD, OLD_FAINT, GONE), name="sub-01_ses-1_T2starw")
    after = head.scan(
        POSE, (OLD, OLD_FAINT, NEW), voxel=(1.4, 1.4, 4.0), name="sub-01_ses-2_T2starw"
    )
    dropped = f"step 2: probability {FAINT:.3f} < 0.127"
    first = write_visit(
        folder / "1", models, *before,
        [(OLD, 0.9, ""), (GONE, 0.8, ""), (OLD_FAINT, FAINT, dropped)],
    )  # fmt: skip
    second = write_visit(
        folder / "2", models, *after,
        [(there(OLD) + 0.5, 0.9, ""), (there(OLD_FAINT), 0.5, ""), (there(NEW), 0.7, "")],
    )  # fmt: skip
    return first, second


@pytest.fixture(scope="module")
def out(visits, tmp_path_factory):
    folder = tmp_path_factory.mktemp("compared")
    assert run("compare", *visits, "-o", folder) == 0
    return folder


def test_the_table_says_what_became_of_each(out):
    with (out / "visits.tsv").open() as stream:
        rows = list(csv.DictReader(stream, delimiter="\t"))
    assert [row["status"] for row in rows] == ["new", "gone", "persisting", "persisting"]
    new, gone, old, faint = rows
    place = [float(new[f"follow_up_{axis}"]) for axis in "xyz"]
    assert place == pytest.approx(there(NEW), abs=0.01) and new["baseline_x"] == "n/a"
    assert gone["follow_up_index"] == "n/a" and float(old["distance_mm"]) < 1.5
    assert f"probability {FAINT:.2f}" in faint["note"]


def test_the_record_says_what_the_comparison_depends_on(out, models):
    record = json.loads((out / "visits.json").read_text())
    assert (record["new"], record["gone"], record["persisting"]) == (1, 1, 2)
    assert record["aria_h_class_of_new"] == "mild"
    quality = record["registration"]
    assert quality["brain_overlap_dice"] > 0.95 and quality["detail_correlation"] > 0.6
    assert np.array(quality["baseline_mm_to_follow_up_mm"]) == pytest.approx(POSE, abs=0.7)
    assert record["model"]["files"] == models.card.files and record["version"]
    assert record["seconds"]["registration"] > 0 and record["rules"]["match_mm"] > 0
    assert not (out / "baseline").exists()  # results were used as they are


def test_the_page_is_whole_and_loads_nothing(out):
    text = (out / "visits.html").read_text()
    HTMLParser().feed(text)
    assert text.count('src="data:image/png;base64,') == 4
    assert not re.search(r"(src|href)=\"(?!data:|#)", text)
    assert "not a medical device" in text and "mild" in text
    assert "beyond 2 mm, or 0.6 of a slice across the slices, only if each image shows" in text
    assert "at least 58 % as much (for a microbleed of probability 1 85 %, in proportion" in text
    record = json.loads((out / "visits.json").read_text())
    source = Path(record["baseline"]["source"])  # folders may be called after the patient
    assert str(source.parent) not in text and record["baseline"]["scan"] in text


def test_nothing_is_overwritten_unless_asked(visits, out, capsys):
    assert run("compare", *visits, "-o", out) == 2
    assert "exists already" in capsys.readouterr().err


def refuse(words, folder, capsys):
    """The sentence with which the command ends; nothing is written."""
    assert run("compare", *words, "-o", folder / "out") == 2
    said = capsys.readouterr().err
    assert "Traceback" not in said and 20 < len(said) < 700
    assert not (folder / "out" / "visits.json").exists()
    return said


def test_the_same_image_twice_is_refused(visits, tmp_path, capsys):
    assert "same image" in refuse((visits[0], visits[0]), tmp_path, capsys)


def test_another_person_is_refused(visits, other_head, models, tmp_path, capsys):
    stranger = write_visit(
        tmp_path / "3", models, *other_head.scan(POSE, name="sub-02_T2starw"), [(OLD, 0.9, "")]
    )
    assert "do not show the same brain" in refuse((visits[0], stranger), tmp_path, capsys)


def test_a_map_against_a_magnitude_is_refused(visits, head, models, tmp_path, capsys):
    scan, brain = head.scan(POSE, name="sub-01_Chimap")
    voxels = np.where(brain, scan.voxels - scan.voxels[brain].mean(), 0).astype(np.float32)
    scan = replace(scan, voxels=voxels, contrast="qsm")
    qsm = write_visit(tmp_path / "3", models, scan, brain, [(OLD, 0.9, "")])
    assert "QSM" in refuse((visits[0], qsm), tmp_path, capsys)


def test_parts_of_the_head_without_anything_in_common_are_refused(head, models, tmp_path, capsys):
    pieces = [
        write_visit(
            tmp_path / name, models, *head.scan(np.eye(4), cover=cover, name=f"sub-{name}"), []
        )
        for name, cover in (("low", (0.1, 0.4)), ("high", (0.65, 0.95)))
    ]
    refuse(pieces, tmp_path, capsys)


def test_swi_against_t2star_and_other_slices_are_warned_of(head):
    one, two = (
        Visit(*head.scan(pose, voxel=(2.0, 2.0, thick)), (), Path("x"), {})
        for pose, thick in ((np.eye(4), 2.5), (POSE, 5.0))
    )
    assert "5.0 mm" in " ".join(check_visits(one, two))
    swi = replace(two, scan=replace(two.scan, contrast="swi"))
    assert "unequally" in " ".join(check_visits(one, swi))
    assert check_visits(two, replace(two, scan=replace(two.scan, voxels=two.scan.voxels + 1))) == []


def test_results_that_are_none_or_too_many_are_refused(visits, tmp_path, capsys):
    both = visits[0].parent.parent
    assert "results of 2 scans" in refuse((both, visits[1]), tmp_path, capsys)
    bad = tmp_path / "bad_cmb.json"
    bad.write_text("{}")
    assert "says nothing of 'microbleeds'" in refuse((bad, visits[1]), tmp_path, capsys)
    bad.write_text("{")
    assert "cannot be read as JSON" in refuse((bad, visits[1]), tmp_path, capsys)
    assert "no file" in refuse((tmp_path / "none.nii.gz", visits[1]), tmp_path, capsys)


def test_a_scan_that_is_gone_is_named(head, models, visits, tmp_path, capsys):
    folder = write_visit(tmp_path / "3", models, *head.scan(POSE, name="sub-01_ses-3"), [])
    (tmp_path / "3" / "sub-01_ses-3.nii.gz").unlink()
    assert "not there any more" in refuse((visits[0], folder), tmp_path, capsys)


def test_a_scan_is_detected_and_compared_with_results(simulated, models, tmp_path):
    """With a copy of it, moved and noisy, in which every microbleed it has was seen."""
    source = nib.load(simulated / "sub-01_T2starw.nii.gz")
    voxels = np.asarray(source.dataobj, np.float32)
    noise = np.random.default_rng(0).normal(0, voxels.mean() / 20, voxels.shape)
    copy = np.maximum(voxels + noise, 0).astype(np.float32)
    scan = Scan(copy, POSE @ source.affine, "t2star", "sub-01_ses-2_T2starw")
    brain = np.asarray(nib.load(simulated / "sub-01_desc-brain_mask.nii.gz").dataobj) > 0
    truth = json.loads((simulated / "sub-01.json").read_text())["microbleeds"]
    seen = [(there(np.array(b["xyz_mm"])), 0.9, "") for b in truth if b["volume_mm3"]["t2star"]]
    results = write_visit(tmp_path / "2", models, scan, brain, seen)
    assert run("compare", simulated / "sub-01_T2starw.nii.gz", results, "-o", tmp_path / "out") == 0
    record = json.loads((tmp_path / "out" / "visits.json").read_text())
    assert record["persisting"] >= len(seen) - 1 and record["new"] <= 1
    assert record["registration"]["detail_correlation"] > 0.9
    assert (tmp_path / "out" / "baseline" / "sub-01_cmb.json").exists()
    assert not (tmp_path / "out" / "follow-up").exists()


def test_the_edge_of_the_thicker_slices_is_told_in_the_other_scan_s_mm(head):
    """4 mm at the follow-up, whose head is turned, against 3 mm at baseline."""
    thin = Visit(*head.scan(np.eye(4), ()), (), Path("x"), {})
    thick = Visit(*head.scan(POSE, (), voxel=(1.4, 1.4, 4.0)), (), Path("x"), {})
    edge = thick.scan.affine[:3, 2]
    assert np.linalg.norm(edge) == pytest.approx(4)
    seen = findings(thin, thick, POSE, Rules()).slice_mm
    np.testing.assert_allclose(seen, edge)
    back = findings(thick, thin, np.linalg.inv(POSE), Rules()).slice_mm
    np.testing.assert_allclose(back, POSE[:3, :3].T @ edge)


def test_just_beyond_the_other_field_of_view_nothing_is_new_or_gone(head):
    """Of a microbleed 1.7 mm outside the last slice less than half is in view."""
    place = (2.0, -5.0, 15.2)
    row = Candidate(1, place, 30.0, 3.9, 0.2, 12.0, 0.6, 0.9, 0.9)
    whole = Visit(*head.scan(np.eye(4), (place,)), (row,), Path("x"), {})
    part = Visit(*head.scan(np.eye(4), (place,), cover=(0, 0.6)), (), Path("x"), {})
    last = part.scan.affine[2, 3] + 3 * (part.scan.voxels.shape[2] - 0.5)
    assert place[2] - last == pytest.approx(1.7)
    registered = Registration(np.eye(4), 1.0, 1.0, 1.0)
    for pair in ((whole, part), (part, whole)):
        (change,) = follow(*pair, registered, Rules())
        assert change.status == "not covered"


def test_results_of_another_series_are_not_used(visits, models, tmp_path, capsys):
    record = json.loads(next(visits[0].glob("*_cmb.json")).read_text())
    settings = models.card.settings()
    assert disagreement({**record, "series": "7"}, models, settings, "7") == ""
    assert "series 8" in disagreement({**record, "series": "7"}, models, settings, "8")
    assert "series 8" in disagreement(record, models, settings, "8")
    said = refuse((*visits, "--baseline-series", "8"), tmp_path, capsys)
    assert "is for DICOM folders" in said  # the scan was to be detected anew, and is a file


def test_results_of_other_networks_or_preparation_are_not_used(visits, models):
    record = json.loads(next(visits[0].glob("*_cmb.json")).read_text())
    settings = models.card.settings("precise", threads=3)
    assert disagreement(record, models, settings) == ""
    finer = replace(settings, prepare=replace(settings.prepare, in_plane_mm=0.4))
    assert "settings" in disagreement(record, models, finer)
    other = {**record, "brain_mask": {"files": {"brain.onnx": "0"}}}
    assert "networks" in disagreement(other, models, settings)
    assert disagreement({**record, "brain_mask": "/my/mask.nii.gz"}, models, settings) == ""
    record["model"]["files"] = {"detector.onnx": "0"}
    assert "networks" in disagreement(record, models, settings)


def test_the_users_own_mask_is_used_again_when_a_scan_is_detected_anew(
    simulated, models, tmp_path, monkeypatch
):
    mask = simulated / "sub-01_desc-brain_mask.nii.gz"
    scan = simulated / "sub-01_T2starw.nii.gz"
    assert run("detect", scan, "-o", tmp_path / "own", "--mask", mask, "--no-picture") == 0
    monkeypatch.setattr(visit, "disagreement", lambda *_: "it was made with other networks")
    settings = models.card.settings()
    plan = plan_visit(tmp_path / "own", tmp_path / "anew", models, settings)
    made = compare._ready(plan, settings, models.folder, "balanced", 1, 0.8, False, lambda _: None)
    assert made.record["brain_mask"] == str(mask.absolute()) and "other networks" in plan.notes[0]
    np.testing.assert_array_equal(made.brain, np.asarray(nib.load(mask).dataobj) > 0)


@pytest.fixture
def undetected(monkeypatch):
    """Sources that detect was to run for, which it does not."""
    asked = []

    def detect_files(sources, *_, **__):
        asked.extend(sources)
        raise UserError("Nothing is detected here.")

    monkeypatch.setattr(compare, "detect_files", detect_files)
    return asked


def scan_of(results):
    return Path(json.loads(next(results.glob("*_cmb.json")).read_text())["source"])


def test_both_visits_are_looked_for_before_one_is_detected(
    visits, undetected, models, head, tmp_path, capsys
):
    scan = scan_of(visits[0])
    assert "no file" in refuse((scan, tmp_path / "none.nii.gz"), tmp_path, capsys)
    lost = write_visit(tmp_path / "3", models, *head.scan(POSE, name="sub-01_ses-3"), [])
    next(lost.glob("*_candidates.tsv")).unlink()
    assert "not whole" in refuse((scan, lost), tmp_path, capsys)
    shutil.copytree(lost, tmp_path / "out" / "follow-up")  # of another name: not in the way
    in_the_way = tmp_path / "out" / "follow-up" / "sub-01_ses-2_cmb.png"
    in_the_way.touch()
    assert "exists already" in refuse((scan, scan_of(visits[1])), tmp_path, capsys)
    assert undetected == []


def test_what_an_earlier_run_left_of_the_same_scan_is_used(
    visits, undetected, models, tmp_path, capsys
):
    out, scan = tmp_path / "out", scan_of(visits[0])
    shutil.copytree(visits[0], out / "baseline")
    assert run("compare", scan, visits[1], "-o", out) == 0 and undetected == []
    record = json.loads((out / "visits.json").read_text())
    assert record["baseline"]["record"] == str(next((out / "baseline").glob("*_cmb.json")))
    assert record["new"] == record["gone"] == 1
    assert run("compare", scan, visits[1], "-o", out, "--overwrite") == 2 and undetected == [scan]
    for name in ("visits.json", "visits.tsv", "visits.html"):
        (out / name).unlink()
    (tmp_path / "other").mkdir()
    image = nib.load(scan)
    other = tmp_path / "other" / scan.name  # another scan of this name
    write_nifti(other, np.asarray(image.dataobj) + np.float32(1), image.affine)
    assert "exists already" in refuse((other, visits[1]), tmp_path, capsys)
    assert "exists already" in refuse((scan, visits[1], "--contrast", "swi"), tmp_path, capsys)
    assert undetected == [scan]


def test_results_of_another_contrast_than_asked_for_are_not_used(visits, models, tmp_path):
    settings = models.card.settings()
    assert plan_visit(visits[0], tmp_path, models, settings, "t2star").visit is not None
    plan = plan_visit(visits[0], tmp_path, models, settings, "swi")
    assert plan.visit is None and plan.contrast == "swi" and plan.source == scan_of(visits[0])
    assert "since it is of contrast t2star, not swi; the scan was detected anew" in plan.notes[0]


def changed(results, folder, **values):
    """A copy of results whose record says something else."""
    (path,) = shutil.copytree(results, folder).glob("*_cmb.json")
    path.write_text(json.dumps(json.loads(path.read_text()) | values))
    return folder


def test_warnings_of_each_visit_are_told(visits, models, head, tmp_path, capsys):
    """But not that detect dropped all, which the sensitive operating point may have kept."""
    scan, brain = head.scan(np.eye(4))
    row = Candidate(1, OLD, 30.0, 3.9, 0.2, 12.0, 0.6, 0.1, 0.1, "step 2: probability")
    labels = np.zeros(brain.shape, np.int32)
    found = Detections(labels, (row,), brain, 0.9, models.card.settings(), {})
    words = [concerns(scan, found)["no-microbleed"], "left and right may be swapped"]
    first = changed(visits[0], tmp_path / "1", warnings=words)
    second = changed(visits[1], tmp_path / "2", warnings=["the image ends"])
    assert run("compare", first, second, "-o", tmp_path / "out") == 0
    told = [
        "baseline sub-01_ses-1_T2starw: left and right may be swapped",
        "follow-up sub-01_ses-2_T2starw: the image ends",
    ]
    assert json.loads((tmp_path / "out" / "visits.json").read_text())["warnings"] == told
    page, shown = (tmp_path / "out" / "visits.html").read_text(), capsys.readouterr()
    shown = " ".join((shown.out + shown.err).split())
    assert all(line in page and line in shown for line in told)


@pytest.mark.parametrize(
    "values",
    [
        {"settings": {}}, {"settings": 5}, {"settings": {"prepare": {}, "candidates": {}}},
        {"model": 5}, {"brain_mask": 5}, {"source": 5}, {"contrast": "t1"}, {"contrast": []},
        {"series": 5}, {"warnings": 5}, {"voxel_mm": 5},
    ],
    ids=str,
)  # fmt: skip
def test_a_record_that_detect_does_not_write_is_refused(visits, values, tmp_path, capsys):
    bad = changed(visits[0], tmp_path / "1", **values)
    said = refuse((bad, visits[1]), tmp_path, capsys)
    assert "holds what detect does not write" in said and next(iter(values)) in said


@pytest.mark.parametrize("unit", [1, 1000, 0.001])
def test_maps_in_different_units_are_compared(head, unit):
    """One of ppm with one of ppb."""

    def visit_of(pose, balls, factor):
        scan, brain = head.scan(pose, balls)
        voxels = ((600 - scan.voxels) * factor / 2000).astype(np.float32)
        rows = tuple(
            Candidate(
                i, tuple(pose[:3, :3] @ ball + pose[:3, 3]), 30.0, 3.9, 0.2, 12.0, 0.6, 0.9, 0.9
            )
            for i, ball in enumerate(balls, start=1)
        )
        return Visit(replace(scan, voxels=voxels, contrast="qsm"), brain, rows, Path("x"), {})

    pair = visit_of(np.eye(4), (OLD, GONE), 1), visit_of(POSE, (OLD, NEW), unit)
    changes = follow(*pair, Registration(POSE, 1.0, 1.0, 1.0), Rules())
    assert [change.status for change in changes] == ["new", "gone", "persisting"]
    assert all("dark" not in change.note for change in changes)
    unseen = replace(pair[1], table=())  # none is reported, though OLD is in the image
    changes = follow(pair[0], unseen, Registration(POSE, 1.0, 1.0, 1.0), Rules())
    assert [change.status for change in changes] == ["gone", "persisting"]
    assert re.fullmatch(
        r"not reported at follow-up, but stands out \d+% as much at follow-up", changes[1].note
    )
