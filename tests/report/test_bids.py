"""Output names of plain and of BIDS inputs."""

from pathlib import Path

import pytest

from microbleeds.errors import UserError
from microbleeds.report.bids import (
    nifti_stem,
    output_paths,
    plan_outputs,
    result_paths,
    stem_with_space,
)


def test_the_files_of_a_plain_scan():
    names = [path.name for path in output_paths("scan", Path("out")).all()]
    assert names == [
        "scan_label-CMB_mask.nii.gz",
        "scan_seg-CMB_dseg.nii.gz",
        "scan_seg-CMB_dseg.tsv",
        "scan_label-CMB_candidates.tsv",
        "scan_desc-brain_mask.nii.gz",
        "scan_cmb.png",
        "scan_cmb.json",
        "scan_cmb_seg.dcm",
        "scan_cmb_sr.dcm",
        "scan_cmb_mars.tsv",
        "scan_cmb.html",
    ]


@pytest.mark.parametrize(
    ("name", "mask"),
    [
        ("sub-01_ses-1_T2starw", "sub-01_ses-1_label-CMB_mask.nii.gz"),
        ("sub-01_acq-highres_run-2_swi", "sub-01_acq-highres_run-2_label-CMB_mask.nii.gz"),
        ("sub-01_space-T2S_desc-masked_T2S", "sub-01_space-T2S_label-CMB_mask.nii.gz"),
        ("sub-01_label-old_seg-x_T2starw", "sub-01_label-CMB_mask.nii.gz"),
        ("my_head_T2starw", "my_head_T2starw_label-CMB_mask.nii.gz"),
        ("sub-01", "sub-01_label-CMB_mask.nii.gz"),
        ("head v1.2", "head v1.2_label-CMB_mask.nii.gz"),
    ],
)
def test_mask_names(name, mask):
    assert output_paths(name, Path("out")).mask.name == mask


@pytest.mark.parametrize("name", ["a.b.nii", "a.b.nii.gz", "a.b"])
def test_stem(name):
    assert nifti_stem(Path("folder") / name) == "a.b"


def test_two_scans_for_one_name(tmp_path):
    scans = [Path("sub-01_T2starw.nii.gz"), Path("sub-01_swi.nii.gz")]
    with pytest.raises(UserError, match=r"sub-01_T2starw.*sub-01_swi.*both write"):
        plan_outputs(scans, tmp_path)


def test_existing_outputs_are_only_overwritten_when_asked(tmp_path):
    scan = Path("scan.nii.gz")
    (plan,) = plan_outputs([scan], tmp_path)
    plan.brain.touch()
    with pytest.raises(UserError, match=r"scan_desc-brain_mask.nii.gz exists already"):
        plan_outputs([scan], tmp_path)
    assert plan_outputs([scan], tmp_path, overwrite=True) == (plan,)


@pytest.mark.parametrize(
    ("name", "stem"),
    [
        ("sub-01_swi", "sub-01_space-swi"),
        ("sub-01_ses-a_run-2_T2starw", "sub-01_ses-a_run-2_space-T2starw"),
        ("scan", "scan"),
    ],
)
def test_images_of_one_session_have_results_of_their_own(name, stem, tmp_path):
    assert stem_with_space(name) == stem
    assert result_paths(stem, tmp_path).report == tmp_path / f"{stem}_cmb.json"
