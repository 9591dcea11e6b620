"""The command line as users meet it: files in, files out, one sentence when something is wrong."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys

import nibabel as nib
import numpy as np
import pytest

from microbleeds.mni.atlas import GROUPS

from .conftest import run


def one_sentence(text: str) -> bool:
    return "Traceback" not in text and 20 < len(text.strip()) < 600


@pytest.fixture(scope="module")
def scan(simulated):
    return simulated / "sub-01_T2starw.nii.gz"


@pytest.fixture(scope="module")
def results(scan, tmp_path_factory):
    out = tmp_path_factory.mktemp("results")
    assert run("detect", scan, "-o", out) == 0
    return out


def test_detect_writes_every_promised_file_on_the_scans_grid(scan, results):
    names = {path.name for path in results.iterdir()}
    assert names == {
        "sub-01_label-CMB_mask.nii.gz", "sub-01_seg-CMB_dseg.nii.gz", "sub-01_seg-CMB_dseg.tsv",
        "sub-01_label-CMB_candidates.tsv", "sub-01_desc-brain_mask.nii.gz", "sub-01_cmb.json",
        "sub-01_cmb.png", "sub-01_cmb_mars.tsv",
    }  # fmt: skip
    source = nib.load(scan)
    for name in names:
        if name.endswith(".nii.gz"):
            image = nib.load(results / name)
            assert image.shape == source.shape
            assert image.affine == pytest.approx(source.affine, abs=1e-4)
    mask = nib.load(results / "sub-01_label-CMB_mask.nii.gz")
    assert mask.get_data_dtype() == np.uint8
    assert set(np.unique(np.asanyarray(mask.dataobj))) <= {0, 1}


def test_the_record_says_what_the_result_depends_on(results):
    record = json.loads((results / "sub-01_cmb.json").read_text())
    dseg = np.asanyarray(nib.load(results / "sub-01_seg-CMB_dseg.nii.gz").dataobj)
    assert record["microbleeds"] == len(np.unique(dseg)) - 1
    assert {"detector.onnx", "student.onnx"} <= set(record["model"]["files"])
    assert record["settings"]["prepare"]["in_plane_mm"] == 0.5
    assert "not a medical device" in record["notice"]
    assert record["seconds"] and record["version"]


def test_every_microbleed_has_a_region_and_mars_counts_them(results):
    record = json.loads((results / "sub-01_cmb.json").read_text())
    assert record["registration"]["problem"] == "" and record["registration"]["overlap"] > 0.85
    assert "regions" in record["seconds"]
    lines = (results / "sub-01_seg-CMB_dseg.tsv").read_text().splitlines()
    names = [line.split("\t")[-2:] for line in lines]
    assert names[0] == ["region", "side"]
    assert {side for _, side in names[1:]} <= {"left", "right"}
    mars = [line.split("\t") for line in (results / "sub-01_cmb_mars.tsv").read_text().splitlines()]
    assert sum(int(sure) + int(maybe) for *_, sure, maybe in mars[1:]) == record["microbleeds"]
    groups = {group for group, region, *_ in mars[1:] if region in {name for name, _ in names[1:]}}
    assert ("strictly" in record["pattern"]) == (len(groups - {"infratentorial"}) == 1)


def test_results_are_not_overwritten_unless_asked(scan, results, capsys):
    before = (results / "sub-01_cmb.json").stat().st_mtime_ns
    assert run("detect", scan, "-o", results) == 2
    assert "exists already" in capsys.readouterr().err
    assert (results / "sub-01_cmb.json").stat().st_mtime_ns == before


def test_one_bad_scan_does_not_stop_the_others(scan, tmp_path, capsys):
    bad = tmp_path / "sub-02_T2starw.nii.gz"
    bad.write_bytes(b"not a scan")
    assert run("detect", bad, scan, "-o", tmp_path / "out", "--no-regions") == 2
    assert "sub-02" in capsys.readouterr().err
    assert (tmp_path / "out" / "sub-01_cmb.json").exists()
    assert not list((tmp_path / "out").glob("sub-02*"))
    assert not (tmp_path / "out" / "sub-01_cmb_mars.tsv").exists()
    assert json.loads((tmp_path / "out" / "sub-01_cmb.json").read_text())["pattern"] is None


def broken(kind: str, scan, folder):
    """A file that `detect` must refuse, by kind."""
    image = nib.load(scan)
    voxels = np.asarray(image.dataobj, np.float32)
    path = folder / "bad.nii.gz"
    arrays = {
        "4d": np.stack([voxels, voxels], -1),
        "2d": voxels[:, :, 5],
        "nan": np.where(voxels > voxels.mean(), np.nan, voxels),
        "infinite": np.where(voxels > voxels.mean(), np.inf, voxels),
        "constant": np.full_like(voxels, 7),
        "complex": voxels.astype(np.complex64),
        "noise": np.abs(np.random.default_rng(0).normal(0, 1, voxels.shape)).astype(np.float32),
    }
    if kind in arrays:
        nib.save(nib.Nifti1Image(arrays[kind], image.affine), path)
    elif kind == "huge voxels":
        nib.save(nib.Nifti1Image(voxels, image.affine * 40), path)
    elif kind == "empty":
        path.write_bytes(b"")
    elif kind == "truncated":
        path.write_bytes(scan.read_bytes()[: scan.stat().st_size // 2])
    return path


@pytest.mark.parametrize(
    "kind",
    ["missing", "empty", "truncated", "4d", "2d", "nan", "infinite", "constant", "complex",
     "huge voxels", "noise"],
)  # fmt: skip
def test_a_bad_scan_gets_one_sentence_and_nothing_is_written(kind, scan, tmp_path, capsys):
    out = tmp_path / "out"
    assert run("detect", broken(kind, scan, tmp_path), "-o", out) == 2
    assert one_sentence(capsys.readouterr().err)
    assert not out.exists() or not list(out.iterdir())


@pytest.mark.parametrize(
    "words",
    [("detect", "PATH", "-o", "OUT"), ("report", "PATH"), ("cohort", "PATH", "-o", "OUT"),
     ("compare", "PATH", "PATH", "-o", "OUT")],
)  # fmt: skip
def test_a_path_that_the_system_refuses_gets_one_sentence(words, tmp_path, capsys):
    places = {"PATH": tmp_path / ("x" * 300), "OUT": tmp_path / "out"}  # too long: root may do all
    assert run(*(places.get(word, word) for word in words)) == 2
    assert one_sentence(capsys.readouterr().err)


def test_a_scan_that_the_system_refuses_does_not_stop_the_others(tmp_path, monkeypatch, capsys):
    def refuse(source, *_):
        raise PermissionError(13, "Permission denied", str(source))

    monkeypatch.setattr("microbleeds.run.detect_file", refuse)
    assert run("detect", "a.nii", "b.nii", "-o", tmp_path) == 2
    said = " ".join(capsys.readouterr().err.split())
    assert all(f"{name}: {name} cannot be used (Permission" in said for name in ("a.nii", "b.nii"))


def test_negative_magnitude_is_refused(scan, tmp_path, capsys):
    image = nib.load(scan)
    voxels = np.asarray(image.dataobj, np.float32)
    path = tmp_path / "negative.nii.gz"
    nib.save(nib.Nifti1Image(voxels - np.float32(voxels.mean()), image.affine), path)
    assert run("detect", path, "-o", tmp_path / "out", "--contrast", "t2star") == 2
    assert "negative" in capsys.readouterr().err


def test_a_mask_on_another_grid_is_refused(scan, tmp_path, capsys):
    mask = tmp_path / "mask.nii.gz"
    nib.save(nib.Nifti1Image(np.ones((5, 5, 5), np.uint8), np.eye(4)), mask)
    assert run("detect", scan, "-o", tmp_path / "out", "--mask", mask) == 2
    assert one_sentence(capsys.readouterr().err)


def test_an_output_that_cannot_be_a_folder_is_refused(scan, tmp_path, capsys):
    blocked = tmp_path / "file"
    blocked.write_text("in the way")
    assert run("detect", scan, "-o", blocked / "out") == 2
    assert one_sentence(capsys.readouterr().err)


def test_unknown_model_names_the_known_ones(scan, tmp_path, capsys):
    assert run("detect", scan, "-o", tmp_path, "--model", "nowhere") == 2
    assert "slim" in capsys.readouterr().err


def test_preprocess_writes_the_working_grid(scan, tmp_path):
    tmp_path = tmp_path / "new" / "folder"
    assert run("preprocess", scan, "-o", tmp_path) == 0
    image = nib.load(tmp_path / "sub-01_desc-prepared.nii.gz")
    assert min(nib.load(scan).header.get_zooms()) > 0.8  # coarser than the grid ever is
    assert image.header.get_zooms()[:2] == pytest.approx((0.8, 0.8))
    values = np.asanyarray(image.dataobj)
    assert values.min() >= 0 and values.max() <= 1
    for name in ("symmetry", "vessels"):
        assert nib.load(tmp_path / f"sub-01_desc-{name}.nii.gz").shape == image.shape
    assert run("preprocess", scan, "-o", tmp_path) == 2


def test_preprocess_goes_on_after_a_bad_scan_and_refuses_names_that_meet(scan, tmp_path, capsys):
    bad = tmp_path / "bad.nii.gz"
    bad.write_text("no image")
    assert run("preprocess", bad, scan, "-o", tmp_path / "out") == 2
    assert one_sentence(capsys.readouterr().err)
    assert (tmp_path / "out" / "sub-01_desc-prepared.json").exists()
    twin = tmp_path / "sub-01_swi.nii.gz"
    shutil.copy(scan, twin)
    assert run("preprocess", scan, twin, "-o", tmp_path / "two") == 2
    assert "would both write" in capsys.readouterr().err and not (tmp_path / "two").exists()
    assert run("preprocess", scan, twin, "-o", tmp_path / "two", "--mask", scan) == 2
    assert "belongs to one" in capsys.readouterr().err


def test_overwriting_leaves_nothing_of_the_run_before(scan, tmp_path):
    assert run("detect", scan, "-o", tmp_path, "--report") == 0
    assert run("detect", scan, "-o", tmp_path, "--overwrite", "--no-picture", "--no-regions") == 0
    left = {path.name for path in tmp_path.iterdir()}
    assert not left & {"sub-01_cmb.html", "sub-01_cmb.png", "sub-01_cmb_mars.tsv"}
    assert "sub-01_cmb.json" in left


def test_brackets_in_a_name_are_shown(scan, tmp_path, capsys):
    copy = tmp_path / "scan [red].nii.gz"
    shutil.copy(scan, copy)
    assert run("detect", copy, "-o", tmp_path / "[out]", "--no-picture", "--no-regions") == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "scan [red].nii.gz" in said and "[out]" in said


def test_the_report_is_a_page_that_can_be_made_again(scan, tmp_path, capsys):
    moved = tmp_path / "moved" / scan.name
    moved.parent.mkdir()
    shutil.copy(scan, moved)
    out = tmp_path / "out"
    assert run("detect", moved, "-o", out, "--no-picture", "--report") == 0
    page = out / "sub-01_cmb.html"
    first = page.read_bytes()
    assert b"Cerebral microbleeds" in first
    page.unlink()
    assert run("report", out) == 0
    assert "sub-01_cmb.html" in capsys.readouterr().out
    assert page.read_bytes() == first
    moved.unlink()
    page.unlink()
    assert run("report", out) == 2
    said = capsys.readouterr().err
    assert one_sentence(said) and "not there any more" in said and not page.exists()
    assert run("report", out, "--scan", scan) == 0
    assert page.read_bytes() == first
    second = tmp_path / "both" / "2"
    shutil.copytree(out, tmp_path / "both" / "1")
    assert run("detect", scan, "-o", second, "--no-picture") == 0
    assert run("report", tmp_path / "both") == 2  # the first scan is gone, the second is drawn
    assert "not there any more" in capsys.readouterr().err and (second / page.name).exists()
    record = json.loads((out / "sub-01_cmb.json").read_text())
    assert record["confidence"]["low"] <= record["confidence"]["high"] <= record["candidates"]
    assert record["traits"]["slice_mm"] == pytest.approx(4, abs=0.01)


@pytest.mark.parametrize("where", ["nowhere", "."])
def test_a_report_of_nothing_gets_one_sentence(where, tmp_path, capsys):
    assert run("report", tmp_path / where) == 2
    assert one_sentence(capsys.readouterr().err)


def test_the_group_of_a_scan_is_its_row_and_a_link_to_its_page(results, tmp_path, capsys):
    folder = shutil.copytree(results, tmp_path / "results")
    capsys.readouterr()
    assert run("group", folder) == 0
    assert re.search(r"1 scan, 0 failed: .*group.tsv", capsys.readouterr().out)
    rows = (folder / "group.tsv").read_text().splitlines()
    cells = dict(zip(*(line.split("\t") for line in rows), strict=True))
    record = json.loads((folder / "sub-01_cmb.json").read_text())
    assert int(cells["microbleeds"]) == record["microbleeds"]
    assert int(cells["lobar"]) == sum(record["regions"][name] for name in GROUPS["lobar"])
    assert 'href="sub-01_cmb.png"' in (folder / "group.html").read_text()
    assert run("group", tmp_path / "nowhere") == 2
    assert one_sentence(capsys.readouterr().err)


def test_clean_up_decides_anew_without_a_network(results, tmp_path, capsys):
    table = results / "sub-01_label-CMB_candidates.tsv"
    assert run("clean-up", table, "-o", tmp_path / "all.tsv", "--probability", 0,
               "--min-volume", 0, "--max-elongation", 1, "--max-diameter", 99) == 0  # fmt: skip
    said = capsys.readouterr().out
    count = len(table.read_text().splitlines()) - 1
    assert f"{count} of {count}" in said
    assert run("clean-up", table, "-o", tmp_path / "none.tsv", "--min-volume", 1e6) == 0
    assert f"0 of {count}" in capsys.readouterr().out
    assert run("clean-up", table, "-o", tmp_path / "none.tsv") == 2


def test_clean_up_by_other_rules_leaves_what_step_2_decided(results, tmp_path, capsys):
    table = results / "sub-01_label-CMB_candidates.tsv"
    kept = json.loads((results / "sub-01_cmb.json").read_text())["microbleeds"]
    again = tmp_path / "again.tsv"
    assert run("clean-up", table, "-o", again) == 0
    assert capsys.readouterr().out.startswith(f"{kept} of ") and kept
    assert again.read_text() == table.read_text()


def test_evaluate_scores_results_against_labels(simulated, results, tmp_path, capsys):
    labels = tmp_path / "labels"
    labels.mkdir()
    shutil.copy(simulated / "sub-01_T2starw_label.nii.gz", labels / "sub-01_label.nii.gz")
    assert run("evaluate", results, labels, "-o", tmp_path / "scores") == 0
    said = capsys.readouterr().out
    false = int(re.search(r"false positives\W+(\d+)", said)[1])  # of one scan
    rates = [float(rate) for rate in re.findall(r"tpr at ([\d.]+)", said)]
    assert "tpr" in said and rates == [rate for rate in (0.5, 1, 2, 4) if rate <= false]
    assert (tmp_path / "scores" / "summary.json").exists()


def test_simulate_continues_a_series(tmp_path):
    words = ("simulate", "-o", tmp_path, "--n", 1, "--seed", 3, "--bleeds", "1-2", "--brain-only")
    assert run(*words) == 0
    image = next(tmp_path.glob("*_T2starw.nii.gz"))
    before = image.stat().st_mtime_ns
    assert run(*words) == 0
    assert image.stat().st_mtime_ns == before
    assert (tmp_path / "table.csv").read_text().startswith("image,label,contrast,mask,subject")
    assert run("simulate", "-o", tmp_path, "--bleeds", "5-1") == 2


def test_ctrl_c_ends_with_a_sentence_and_the_code_of_a_shell(capsys):
    def interrupted() -> None:
        raise KeyboardInterrupt  # not the signal: libraries of other tests took its handler

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("microbleeds.console.show_info", interrupted)
        assert run("info") == 130
    assert one_sentence(capsys.readouterr().err)


def test_info_names_models_and_checksums(capsys):
    assert run("info") == 0
    said = capsys.readouterr().out
    assert "slim" in said and "brain" in said and "sha256" in said


def test_a_training_table_without_a_column_is_refused(tmp_path, capsys):
    table = tmp_path / "table.csv"
    table.write_text("image,contrast\na.nii.gz,swi\n")
    assert run("train", "detector", "--data", table, "-o", tmp_path / "out") == 2
    assert "label" in capsys.readouterr().err


@pytest.mark.parametrize(("words", "precision"), [([], "32-true"), (["--bf16"], "bf16-mixed")])
def test_mixed_precision_reaches_the_training(tmp_path, words, precision):
    for name in ("a.nii.gz", "l.nii.gz"):
        (tmp_path / name).touch()
    table = tmp_path / "table.csv"
    table.write_text("image,label\na.nii.gz,l.nii.gz\n")
    seen = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            "microbleeds.train.recipes.train_detector",
            lambda rows, out, recipe, work, mined=None: seen.append(recipe.detector.precision),
        )
        assert run("train", "detector", "--data", table, "-o", tmp_path / "out", *words) == 0
    assert seen == [precision]


@pytest.mark.parametrize(
    "words", [["--help"], ["detect", "--help"], ["train", "all", "--help"], ["cohort", "--help"]]
)
def test_help_imports_nothing_heavy(words):
    code = (
        f"import sys; from microbleeds.cli import main; sys.argv = ['microbleeds', *{words!r}]\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "heavy = {'numpy', 'scipy', 'torch', 'openvino', 'SimpleITK', 'nibabel', 'dask'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert "Usage" in result.stdout
