"""Names of outputs: the folder's, unless that tells the patient."""

from __future__ import annotations

import unicodedata
from dataclasses import replace

import numpy as np
import pydicom
import pytest

from microbleeds.dicom.name import folder_name


def named(make, folder, **header):
    """What outputs of a folder are called whose files say this."""
    series = replace(make(), extra={"SpecificCharacterSet": "ISO_IR 192", **header})
    return folder_name(series.write(folder))


@pytest.mark.parametrize(
    ("name", "patient", "hidden"),
    [
        ("scan12", "Doe^Jane", False),
        ("JANE_DOE_swi", "Doe^Jane", True),
        ("sub-01", "sub-01", False),
        ("sub-Doe", "Doe^Jane", True),
        ("DoeJane2024", "Doe^Jane", True),
        ("p1", "", False),
        ("LI_BO", "Li^Bo", True),
        ("BoLi_7T", "Li^Bo", True),
        ("LI_swi", "Li^Bo", False),  # or every folder with an "li" in it
        ("P01_swi", "P01", False),
        ("MULLER_T2star", "Müller^Eva", True),
        ("MUELLER_T2star", "Müller^Eva", True),
        ("müller", "Mueller^Eva", True),
        (unicodedata.normalize("NFD", "Müller"), "Müller^Eva", True),
        ("Müller", unicodedata.normalize("NFD", "Müller^Eva"), True),
        ("SOERENSEN_1", "Sørensen^Bo", True),
        ("WALESA_1", "Wałęsa^Bo", True),
        ("山田太郎_MR", "Yamada^Tarou=山田^太郎=やまだ^たろう", True),
    ],
)
def test_the_patients_name_is_in_no_output_name(make, tmp_path, name, patient, hidden):
    found = named(make, tmp_path / name, PatientName=patient)
    assert found.startswith("study-") if hidden else found == name
    assert "doe" not in found.lower() and "jane" not in found.lower()


@pytest.mark.parametrize(
    ("name", "header", "hidden"),
    [
        ("4711-0815", {"PatientID": "4711-0815"}, True),
        ("MR_47110815_swi", {"PatientID": "4711-0815"}, True),
        ("X0815b_1", {"PatientID": "x0815B"}, True),
        ("A-2024-77", {"AccessionNumber": "A202477"}, True),
        ("scan_12", {"PatientID": "12"}, False),  # or every folder with a 12 in it
        ("sub-1234_swi", {"PatientID": "sub-1234"}, False),
        ("P0042_swi", {"PatientID": "P0042", "PatientName": "P0042"}, False),
    ],
)
def test_nor_is_a_number_of_the_patients(make, tmp_path, name, header, hidden):
    found = named(make, tmp_path / name, **header)
    assert found.startswith("study-") if hidden else found == name


def test_the_patients_name_is_looked_for_behind_a_dicomdir(make, tmp_path):
    folder = replace(make(), extra={"PatientName": "Doe^Jane"}).write(tmp_path / "DOE_JANE")
    nameless = pydicom.dcmread(next(folder.iterdir()))
    nameless.PatientName = ""
    nameless.save_as(folder / "AAA_DICOMDIR")  # comes first, as a DICOMDIR does
    assert folder_name(folder).startswith("study-")


def test_the_patients_name_is_looked_for_behind_a_truncated_file(make, tmp_path):
    folder = make(pixels=np.zeros((4, 4, 4), np.uint16)).write(tmp_path / "JANE_DOE")
    path = min(folder.iterdir())
    whole = path.read_bytes()
    for size in range(128, len(whole)):
        path.write_bytes(whole[:size])
        found = folder_name(folder)
        assert found.startswith("study-") or size > whole.index(b"PN")  # in the midst of the name
