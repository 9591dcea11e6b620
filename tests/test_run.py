"""What is refused before anything is computed, and what one bad scan leaves to the others."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path
from threading import Event

import nibabel as nib
import numpy as np
import pytest

from microbleeds.mni.regions import HeadRegions
from microbleeds.mni.register import unregistered
from microbleeds.models.card import read_card
from microbleeds.models.zoo import DEFAULT_MODEL, WEIGHTS, Models
from microbleeds.pipeline import Detections
from microbleeds.run import Tools, detect_in_regions
from microbleeds.scan import read_scan

from .conftest import run


@pytest.fixture
def scan(tmp_path) -> Path:
    """A small scan, and beside it a mask on its grid."""
    voxels = np.random.default_rng(0).normal(100, 5, (32, 32, 8)).astype(np.float32)
    for name, array in (("a", voxels), ("mask", np.ones(voxels.shape, np.uint8))):
        nib.save(nib.Nifti1Image(array, np.diag([1.0, 1, 3, 1])), tmp_path / f"{name}.nii.gz")
    return tmp_path / "a.nii.gz"


@pytest.fixture
def networks(monkeypatch):
    """Stands in for them: nothing is found anywhere."""
    weights = WEIGHTS / DEFAULT_MODEL
    models = Models(read_card(weights), None, None, weights)

    def detect(scan, models, brain, settings, mask, on_step, on_brain=lambda brain: None):
        inside = np.ones(scan.voxels.shape, bool) if mask is None else mask
        on_brain(inside)
        return Detections(np.zeros(inside.shape, np.int32), (), inside, 0.1, settings, {})

    tools = Tools(models, None, None, models.card.settings())
    monkeypatch.setattr("microbleeds.run.load_tools", lambda *_: tools)
    monkeypatch.setattr("microbleeds.run.detect", detect)
    return tools


@pytest.fixture
def no_networks(monkeypatch):
    """Fails where they are loaded."""

    def load(*_):
        raise AssertionError("the networks were loaded in vain")

    for name in ("run.load_tools", "preprocess.load_models"):
        monkeypatch.setattr(f"microbleeds.{name}", load)


@pytest.mark.parametrize("threads", [1, 2])
def test_regions_are_worked_out_beside_the_detection_where_threads_allow(
    scan, networks, monkeypatch, threads
):
    begun = Event()

    def locate(*_):
        begun.set()
        return HeadRegions(None, unregistered("it shows nothing"))

    def detect(scan, models, brain, settings, mask, on_step, on_brain):
        inside = np.ones(scan.voxels.shape, bool)
        on_brain(inside)
        assert begun.wait(10 if threads > 1 else 0.1) is (threads > 1)
        return Detections(np.zeros(inside.shape, np.int32), (), inside, 0.1, settings, {})

    monkeypatch.setattr("microbleeds.run.locate_regions", locate)
    monkeypatch.setattr("microbleeds.run.detect", detect)
    tools = replace(networks, settings=networks.models.card.settings("balanced", threads))
    found = detect_in_regions(read_scan(scan, "t2star"), None, tools, lambda step: None)
    assert begun.is_set() and found.registration.problem == "it shows nothing"


@pytest.mark.parametrize(
    ("command", "name"),
    [("detect", "desc-brain_mask"), ("preprocess", "space-prepared_desc-brain_mask")],
)
def test_a_mask_that_would_be_written_over_is_kept(
    scan, tmp_path, no_networks, command, name, capsys
):
    mask = tmp_path / f"a_{name}.nii.gz"
    (tmp_path / "mask.nii.gz").rename(mask)
    link = tmp_path / "link.nii.gz"
    link.symlink_to(mask)
    for given in (mask, link):
        assert run(command, scan, "-o", tmp_path, "--mask", given, "--overwrite") == 2
        assert "copy the mask elsewhere" in capsys.readouterr().err and mask.exists()


@pytest.mark.parametrize("command", ["detect", "preprocess"])
@pytest.mark.parametrize("place", ["file", "file/below"])
def test_an_output_that_cannot_be_written_is_refused_once(
    scan, tmp_path, no_networks, command, place, capsys
):
    (tmp_path / "file").touch()
    assert run(command, scan, tmp_path / "b.nii.gz", "-o", tmp_path / place) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and "Nothing can be written to" in said


def test_a_disk_that_is_read_only_is_refused(scan, tmp_path, no_networks, monkeypatch, capsys):
    def refuse(**_):
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr("microbleeds.run.TemporaryFile", refuse)
    assert run("detect", scan, "-o", tmp_path / "new" / "out") == 2
    said = f"Nothing can be written to {tmp_path} (Read-only file system)"
    assert said in capsys.readouterr().err and not (tmp_path / "new").exists()


@pytest.mark.parametrize("name", [b"M\xfcller.nii.gz", b"p$x_{$q.nii.gz"])
def test_a_name_of_any_bytes_has_results_and_a_report(scan, tmp_path, networks, name, capsys):
    odd, out = tmp_path / os.fsdecode(name), tmp_path / "out"
    scan.rename(odd)
    options = ("--mask", tmp_path / "mask.nii.gz", "--no-regions", "--report")
    assert run("detect", odd, "-o", out, *options) == 0
    (page,) = out.glob("*_cmb.html")
    assert len(list(out.glob("*_cmb.png"))) == 1
    page.unlink()
    assert run("report", out) == 0 and page.exists()
    assert "Traceback" not in capsys.readouterr().err


def test_sentences_are_one_line_each(scan, tmp_path, networks, capsys):
    bad = tmp_path / ("long" * 30 + ".nii.gz")
    bad.write_text("no scan")
    assert run("detect", bad, scan, "-o", tmp_path / "out", "--no-regions", "--no-picture") == 2
    said = capsys.readouterr()
    assert said.err.count("\n") == 1 and said.err.startswith("long")
    warnings = [line for line in said.out.splitlines() if "warning: " in line]
    assert len(said.out.splitlines()) == 2 + len(warnings) and warnings


def test_a_report_that_the_system_refuses_does_not_stop_the_others(
    scan, tmp_path, networks, capsys
):
    for name in ("1", "2"):
        assert run("detect", scan, "-o", tmp_path / name, "--no-regions", "--no-picture") == 0
    record = tmp_path / "1" / "a_cmb.json"
    record.write_text(json.dumps(json.loads(record.read_text()) | {"source": "x" * 300}))
    assert run("report", tmp_path) == 2
    assert "cannot be used" in capsys.readouterr().err
    assert (tmp_path / "2" / "a_cmb.html").exists() and not record.with_suffix(".html").exists()
