"""The BIDS derivative dataset: links, sidecars, and the validator's opinion."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from microbleeds.errors import UserError
from microbleeds.report.bids import OutputPaths, plan_outputs, tree_folder
from microbleeds.report.dataset import check_dataset, describe_dataset, write_dataset
from microbleeds.report.table import write_candidates, write_detections
from microbleeds.scan import write_nifti
from microbleeds.steps import Candidate

VALIDATOR = shutil.which("bids-validator-deno")


@pytest.fixture
def raw(tmp_path) -> Path:
    root = tmp_path / "study"
    (root / "sub-01" / "ses-a" / "anat").mkdir(parents=True)
    (root / "dataset_description.json").write_text('{"Name": "x", "BIDSVersion": "1.10.0"}')
    return root


def results(out: Path, scan: Path) -> OutputPaths:
    """What detect leaves there for one scan with one microbleed, and its description."""
    (paths,) = plan_outputs([scan], out, overwrite=True, tree=True)
    paths.mask.parent.mkdir(parents=True, exist_ok=True)
    image = np.zeros((5, 6, 7), np.uint8)
    image[2, 3, 4] = 1
    for path in (paths.mask, paths.brain, paths.dseg):
        write_nifti(path, image, np.diag([1.0, 1, 3, 1]), np.int32 if path == paths.dseg else None)
    row = Candidate(1, (2.0, 3.0, 12.0), 3.0, 1.8, 0.1, 2.0, 0.9)
    write_detections(paths.table, [row], np.eye(4))
    write_candidates(paths.candidates, [row], np.eye(4))
    for path in (paths.report, paths.picture, paths.seg, paths.sr):
        path.write_text("{}")
    write_dataset(out, scan, paths)
    return paths


def test_sidecars_name_their_sources(raw):
    scan = raw / "sub-01" / "ses-a" / "anat" / "sub-01_ses-a_T2starw.nii.gz"
    out = raw / "derivatives" / "microbleeds"
    paths = results(out, scan)
    assert paths.mask.parent == out / "sub-01" / "ses-a" / "anat"
    mask = json.loads((paths.mask.parent / "sub-01_ses-a_label-CMB_mask.json").read_text())
    source = "bids:raw:sub-01/ses-a/anat/sub-01_ses-a_T2starw.nii.gz"
    brain = "bids::sub-01/ses-a/anat/sub-01_ses-a_desc-brain_mask.nii.gz"
    assert mask["Type"] == "Lesion" and mask["SpatialReference"] == source
    assert mask["Sources"] == [source, brain]
    assert (out / brain.removeprefix("bids::")).is_file()
    description = json.loads((out / "dataset_description.json").read_text())
    linked = out / description["DatasetLinks"]["raw"]
    assert (linked / source.removeprefix("bids:raw:")).parent.resolve() == scan.parent.resolve()


def test_a_scan_that_is_a_link_is_named_where_it_stands(raw, tmp_path):
    scan = raw / "sub-01" / "ses-a" / "anat" / "sub-01_ses-a_swi.nii.gz"
    (raw / ".git").mkdir()
    (raw / ".git" / "annexed").touch()
    scan.symlink_to(raw / ".git" / "annexed")
    paths = results(tmp_path / "out", scan)
    sidecar = json.loads((paths.mask.parent / "sub-01_ses-a_label-CMB_mask.json").read_text())
    assert sidecar["SpatialReference"] == "bids:raw:sub-01/ses-a/anat/sub-01_ses-a_swi.nii.gz"


def test_the_description_is_written_once(raw, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    name = describe_dataset(out, raw)
    written = (out / "dataset_description.json").stat().st_ino
    assert describe_dataset(out, raw) == name == "raw"
    assert (out / "dataset_description.json").stat().st_ino == written


def test_every_column_of_the_table_is_described(raw):
    paths = results(raw.parent / "out", raw / "sub-01" / "ses-a" / "anat" / "sub-01_ses-a_swi.nii")
    columns = paths.table.read_text().splitlines()[0].split("\t")
    sidecar = json.loads(paths.table.with_suffix(".json").read_text())
    assert set(columns) - {"index"} <= set(sidecar)


def test_scans_of_other_datasets_get_links_of_their_own(raw, tmp_path):
    out = tmp_path / "out"
    for folder in (raw, tmp_path / "loose", raw):
        results(out, folder / "sub-02_swi.nii.gz")
    description = json.loads((out / "dataset_description.json").read_text())
    assert description["DatasetLinks"] == {"raw": "../study", "raw2": "../loose"}


def test_links_of_the_users_own_stay(raw, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    links = {"raw2": "../other"}
    mine = {"Name": "x", "BIDSVersion": "1.10.0", "DatasetType": "derivative"}
    (out / "dataset_description.json").write_text(json.dumps({**mine, "DatasetLinks": links}))
    names = [describe_dataset(out, folder) for folder in (raw, tmp_path / "more", raw)]
    assert names == ["raw", "raw3", "raw"]
    description = json.loads((out / "dataset_description.json").read_text())
    assert description["DatasetLinks"] == {**links, "raw": "../study", "raw3": "../more"}


@pytest.mark.parametrize("links", [None, "raw", ["raw"]])
def test_links_that_are_none_are_refused_beforehand(tmp_path, links):
    said = {"DatasetType": "derivative", "DatasetLinks": links}
    (tmp_path / "dataset_description.json").write_text(json.dumps(said))
    with pytest.raises(UserError, match="DatasetLinks that are no JSON object"):
        check_dataset(tmp_path)


def test_what_users_wrote_into_the_description_stays(raw, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    mine = {"Name": "Mine", "BIDSVersion": "1.9.0", "DatasetType": "derivative"}
    (out / "dataset_description.json").write_text(json.dumps(mine))
    (out / "README.md").write_text("mine")
    results(out, raw / "sub-01_swi.nii.gz")
    description = json.loads((out / "dataset_description.json").read_text())
    assert description["Name"] == "Mine" and description["GeneratedBy"]
    assert (out / "README.md").read_text() == "mine"


def test_results_do_not_go_into_raw_data(raw, tmp_path):
    with pytest.raises(UserError, match=r"raw BIDS dataset.*derivatives"):
        check_dataset(raw)
    check_dataset(tmp_path / "new")
    (raw / "dataset_description.json").write_text("{")
    with pytest.raises(UserError, match="no readable JSON"):
        check_dataset(raw)


@pytest.mark.parametrize("name", ["scan", "sub-01", "my_sub-01_swi"])
def test_other_names_have_no_place_in_a_dataset(name, tmp_path):
    with pytest.raises(UserError, match="no BIDS name"):
        tree_folder(name, tmp_path)


@pytest.mark.skipif(VALIDATOR is None, reason="bids-validator-deno (PyPI) is not installed")
def test_the_validator_finds_no_error(raw, tmp_path):
    out = tmp_path / "out"
    results(out, raw / "sub-01" / "ses-a" / "anat" / "sub-01_ses-a_T2starw.nii.gz")
    results(out, tmp_path / "sub-02_acq-3d_run-1_swi.nii.gz")

    def issues():
        done = subprocess.run(
            [VALIDATOR, out, "--format", "json"], capture_output=True, text=True, check=False
        )
        return {
            (issue["code"], issue["severity"])
            for issue in json.loads(done.stdout)["issues"]["issues"]
        }

    assert issues() == {("TOO_FEW_AUTHORS", "warning")}  # who the authors are is not ours to say
    (out / ".bidsignore").unlink()
    assert ("NOT_INCLUDED", "error") in issues()  # it did look
