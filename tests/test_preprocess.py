"""What the networks see, written: one scan that fails leaves the others alone."""

from __future__ import annotations

import json

import nibabel as nib
import numpy as np
import pytest

from .conftest import run


@pytest.fixture(autouse=True)
def brain(monkeypatch):
    """Stands in for the network: all is brain."""
    monkeypatch.setattr(
        "microbleeds.preprocess.brain_mask", lambda scan, engine: np.ones(scan.voxels.shape, bool)
    )


def test_what_the_system_refuses_does_not_stop_the_others(tmp_path, monkeypatch, capsys):
    voxels = np.random.default_rng(0).normal(100, 5, (32, 32, 8)).astype(np.float32)
    for name in "ab":
        image = nib.Nifti1Image(voxels, np.diag([1.0, 1, 3, 1]))
        nib.save(image, tmp_path / f"{name}_T2starw.nii.gz")
    (tmp_path / "out" / "a_T2starw_desc-prepared.json").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    words = ("a_T2starw.nii.gz", "b_T2starw.nii.gz", "-o", "out", "--overwrite")
    assert run("preprocess", *words) == 2
    said = capsys.readouterr().err
    assert said.startswith("a_T2starw.nii.gz: ") and "cannot be used" in said
    record = json.loads((tmp_path / "out" / "b_T2starw_desc-prepared.json").read_text())
    assert record["source"] == str(tmp_path / "b_T2starw.nii.gz")  # wherever it is read
