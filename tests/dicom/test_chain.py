"""A simulated head as DICOM through the whole command, beside the same head as NIfTI."""

from __future__ import annotations

import json
import sys

import highdicom as hd
import nibabel as nib
import numpy as np
import pytest

from microbleeds.report.table import read_candidates

from ..conftest import run


@pytest.fixture(scope="module")
def head(simulated, series_of_nifti, tmp_path_factory):
    """The simulated head as a DICOM folder with a BIDS name."""
    folder = tmp_path_factory.mktemp("dicom") / "sub-02_T2starw"
    series_of_nifti(simulated / "sub-01_T2starw.nii.gz").write(folder)
    return folder


def test_dicom_and_nifti_give_the_same_microbleeds(simulated, head, tmp_path, capsys):
    options = ("-o", tmp_path, "--operating-point", "sensitive", "--bids")
    assert run("detect", simulated / "sub-01_T2starw.nii.gz", *options) == 0
    assert run("detect", head, *options, "--dicom") == 0
    assert "Research software" in capsys.readouterr().out
    folders = [tmp_path / f"sub-{n}" / "anat" for n in ("01", "02")]
    tables = [
        read_candidates(folder / f"{folder.parent.name}_seg-CMB_dseg.tsv") for folder in folders
    ]
    assert len(tables[0]) == len(tables[1]) > 0
    places = [sorted(row.xyz_mm for row in table) for table in tables]  # ranks may change places
    for one, other in zip(*places, strict=True):
        assert one == pytest.approx(other, abs=0.1)
    record = json.loads((folders[1] / "sub-02_cmb.json").read_text())
    assert "taken" in record["notes"][0] and record["source"] == str(head)
    assert json.loads((folders[1] / "sub-02_label-CMB_mask.json").read_text())["Type"] == "Lesion"
    same_voxels(folders[1])


def same_voxels(folder):
    """Segments and numbered image hold the same places (LPS mm against RAS mm)."""
    image = nib.load(folder / "sub-02_seg-CMB_dseg.nii.gz")
    labels = np.asarray(image.dataobj)
    segmentation = hd.seg.segread(folder / "sub-02_cmb_seg.dcm")
    assert segmentation.number_of_segments == labels.max()
    for number in segmentation.segment_numbers:
        volume = segmentation.get_volume(segment_numbers=[number])
        found = volume.map_indices_to_reference(np.argwhere(volume.array[..., 0]))
        expected = nib.affines.apply_affine(image.affine, np.argwhere(labels == number))
        expected = expected * [-1, -1, 1]
        assert sorted(map(tuple, np.round(found, 1))) == sorted(map(tuple, np.round(expected, 1)))


@pytest.mark.parametrize("option", [("--dicom",), ("--series", "7")])
def test_options_for_folders_are_refused_for_files(simulated, tmp_path, option, capsys):
    scan = simulated / "sub-01_T2starw.nii.gz"
    assert run("detect", scan, "-o", tmp_path / "out", *option) == 2
    assert "is for DICOM folders" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_bad_folder_gets_one_sentence_and_nothing_is_written(tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    assert run("detect", tmp_path / "empty", "-o", tmp_path / "out", "--dicom") == 2
    said = capsys.readouterr().err
    assert "no DICOM file" in said and "Traceback" not in said
    assert not (tmp_path / "out").exists()


def test_preprocess_takes_a_folder(head, tmp_path):
    assert run("preprocess", head, "-o", tmp_path, "--series", 7) == 0
    assert (tmp_path / "sub-02_desc-prepared.nii.gz").exists()


def test_no_extra_no_dicom(head, tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "highdicom", None)
    assert run("detect", head, "-o", tmp_path / "out", "--dicom") == 2
    assert 'pip install "microbleeds[dicom]"' in capsys.readouterr().err


def test_the_page_is_made_again_from_the_folder(head, tmp_path):
    assert run("detect", head, "-o", tmp_path, "--series", 7, "--no-picture") == 0
    assert not (tmp_path / "sub-02_cmb.html").exists()
    assert run("report", tmp_path) == 0
    assert "sub-02_T2starw" in (tmp_path / "sub-02_cmb.html").read_text()


def test_compare_takes_the_series_that_is_named_of_each_visit(simulated, head, tmp_path, capsys):
    scan = simulated / "sub-01_T2starw.nii.gz"
    assert run("compare", scan, head, "-o", tmp_path / "a", "--follow-up-series", "8") == 2
    assert "has no series '8'" in capsys.readouterr().err
    assert run("compare", scan, head, "-o", tmp_path / "b", "--follow-up-series", "7") == 0
    record = json.loads((tmp_path / "b" / "visits.json").read_text())
    assert record["new"] == record["gone"] == 0 < record["persisting"]  # one head, twice
    assert run("compare", scan, head, "-o", tmp_path / "c", "--baseline-series", "7") == 2
    assert "is for DICOM folders" in capsys.readouterr().err
