"""Which series of a folder is taken, and when the user has to say."""

from __future__ import annotations

from pathlib import Path

import pytest

from microbleeds.dicom.read import read_folder
from microbleeds.dicom.series import read_volumes
from microbleeds.errors import UserError

PHASE = ("ORIGINAL", "PRIMARY", "P", "NORM")


@pytest.fixture
def folder(make, tmp_path):
    """T1, phase, and one SWI, each in a folder of its own below."""
    plain = {"ScanningSequence": ["GR", "IR"]}
    make(number=2, description="t1_mprage", echo_ms=3, extra=plain).write(tmp_path / "a" / "t1")
    make(number=5, description="Pha_Images", image_type=PHASE).write(tmp_path / "a" / "pha")
    make(number=6, description="SWI_Images").write(tmp_path / "a" / "swi")
    make(number=7, description="mIP_Images(SW)").write(tmp_path / "a" / "mip")
    return tmp_path / "a"


def taken(folder, wanted=None):
    return read_folder(folder, series=wanted)[0].notes[0]


def refused(folder, wanted=None):
    with pytest.raises(UserError) as caught:
        read_folder(folder, series=wanted)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_the_only_susceptibility_weighted_magnitude_is_taken(folder):
    assert 'Series 6 "SWI_Images"' in taken(folder)


def test_two_that_could_be_meant_are_named(folder, make):
    make(number=4, description="Mag_Images").write(folder / "mag")
    said = refused(folder)
    assert '4 "Mag_Images"' in said and '6 "SWI_Images"' in said and "--series 4" in said
    assert "mprage" not in said and "Pha" not in said
    assert 'Series 4 "Mag_Images"' in taken(folder, "4")
    assert 'Series 6 "SWI_Images"' in taken(folder, "swi_images")


def test_none_that_could_be_meant(folder, make):
    for path in (folder / "swi").iterdir():
        path.unlink()
    assert "no series that says T2*, SWI or QSM" in refused(folder)
    assert 'Series 2 "t1_mprage"' in taken(folder, "2")


def test_a_scanners_own_scouts_are_no_scan():
    """Real headers of two patients that pydicom ships: scouts and projections, one slice each."""
    from pydicom.data import get_testdata_file

    root = Path(get_testdata_file("DICOMDIR")).parent
    volumes = read_volumes(root)
    assert len(volumes) == 17 and {volume.series_number for volume in volumes} == {1, 2, 700}
    assert {v.kind for v in volumes if v.series_number == 700} == {"projection"}
    said = refused(root)
    assert "no series that says" in said and "5 more" in said and len(said) < 1000


def test_a_lone_series_is_taken_with_a_word(make, tmp_path):
    plain = {"ScanningSequence": "SE"}
    folder = make(description="ax", extra=plain).write(tmp_path / "a")
    assert "nothing in it says" in taken(folder)


def test_wanted_but_unusable(folder):
    assert "has no series '99'" in refused(folder, "99")
    assert "phase" in refused(folder, "5")
    assert "projection" in refused(folder, "7")


def test_echoes_of_one_series_have_numbers_of_their_own(make, tmp_path):
    first = make(echo_ms=12.0)
    first.write(tmp_path / "a" / "1")
    make(echo_ms=24.0, uid=first.uid).write(tmp_path / "a" / "2")
    said = refused(tmp_path / "a")
    assert '7-1 "T2star" (9 images, TE 12 ms)' in said and "7-2" in said
    assert "7-1" in refused(tmp_path / "a", "7")
    assert "TE 24 ms" in taken(tmp_path / "a", "7-2")


def test_magnitude_and_phase_under_one_number(make, tmp_path):
    first = make()
    first.write(tmp_path / "a" / "1")
    make(uid=first.uid, image_type=PHASE).write(tmp_path / "a" / "2")
    assert "magnitude" not in taken(tmp_path / "a") and 'Series 7-1 "T2star"' in taken(
        tmp_path / "a", "7"
    )


def test_a_scout_in_three_planes_is_three_volumes(make, tmp_path, pixels):
    scout = make(pixels=pixels[:3], description="localizer", number=1)
    for plane in ("axial", "sagittal", "coronal"):
        make(
            pixels=pixels[:3], description="localizer", number=1, plane=plane, uid=scout.uid
        ).write(tmp_path / "a" / plane)
    make().write(tmp_path / "a" / "scan")
    assert sorted(volume.key for volume in read_volumes(tmp_path / "a")) == [
        "1-1", "1-2", "1-3", "7",
    ]  # fmt: skip
    assert "Series 7" in taken(tmp_path / "a")


@pytest.mark.parametrize(
    ("description", "echo_ms", "sequence", "weighted"),
    [
        ("Ax T2* GRE", 20, "GR", True),
        ("SWAN", 25, "GR", True),
        ("ax_unknown", 20, "GR", True),
        ("ax_unknown", 4, "GR", False),
        ("ep2d_bold", 30, ["EP", "GR"], False),
        ("gre_field_mapping", 12, "GR", False),
        ("t2_tse", 90, "SE", False),
    ],
)
def test_what_counts_as_susceptibility_weighted(
    make, tmp_path, description, echo_ms, sequence, weighted
):
    series = make(description=description, echo_ms=echo_ms, extra={"ScanningSequence": sequence})
    (volume,) = read_volumes(series.write(tmp_path / "a"))
    assert volume.weighted is weighted
