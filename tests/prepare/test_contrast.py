from __future__ import annotations

import json

import numpy as np
import pytest

from microbleeds.errors import UserError
from microbleeds.prepare.contrast import guess_contrast, negative_share, sidecar_text

RNG = np.random.default_rng(0)
MAGNITUDE = np.abs(RNG.normal(200, 60, (20, 20, 10))).astype(np.float32)
SUSCEPTIBILITY = RNG.normal(0.005, 0.03, (20, 20, 10)).astype(np.float32)
STRIPPED = SUSCEPTIBILITY * (np.indices(SUSCEPTIBILITY.shape)[0] > 9)


@pytest.mark.parametrize("voxels", [SUSCEPTIBILITY, SUSCEPTIBILITY * 1000, STRIPPED])
@pytest.mark.parametrize("name", ["", "sub-01_T2starw", "sub-01_swi"])
def test_values_on_both_sides_of_zero_are_qsm_whatever_the_name(voxels, name):
    assert guess_contrast(voxels, name)[0] == "qsm"


@pytest.mark.parametrize(
    ("name", "sidecar", "expected"),
    [
        ("", "", "t2star"),
        ("sub-01_T2starw", "", "t2star"),
        ("sub-01_space-T2S_desc-masked_T2S", "", "t2star"),
        ("sub-01_part-mag_MEGRE", "", "t2star"),
        ("sub-01_swi", "", "swi"),
        ("sub-01_acq-SWI_GRE", "", "swi"),
        ("scan", "Ax SWAN 3D ORIGINAL PRIMARY", "swi"),
        ("swimmer", "", "t2star"),
        ("sub-01_mag", "QSM_3D_MEGRE", "t2star"),  # the protocol's name, not the image's
        ("sub-01_Chimap", "", "qsm"),  # shifted to be positive
        ("SUB01_QSM", "", "qsm"),
    ],
)
def test_positive_values_go_by_words(name, sidecar, expected):
    contrast, reason = guess_contrast(MAGNITUDE, name, sidecar)
    assert contrast == expected
    assert reason


def test_ringing_of_a_resampled_magnitude_is_not_qsm():
    ringing = np.concatenate([MAGNITUDE, RNG.normal(0, 1, MAGNITUDE.shape)]).astype(np.float32)
    assert (ringing < 0).mean() > 0.2
    assert guess_contrast(ringing)[0] == "t2star"


def test_phase_is_refused():
    phase = RNG.uniform(-np.pi, np.pi, (20, 20, 10)).astype(np.float32)
    with pytest.raises(UserError, match="phase"):
        guess_contrast(phase, "sub-01_part-phase_GRE")


@pytest.mark.parametrize("voxels", [MAGNITUDE, SUSCEPTIBILITY])
@pytest.mark.parametrize(
    "name",
    ["sub-01_part-phase_T2starw", "sub-01_part-real_T2starw", "sub-01_echo-2_part-imag_GRE",
     "gre_e2_ph", "gre_real", "GRE_Imaginary", "sub-01_phase2"],
)  # fmt: skip
def test_a_part_that_is_no_magnitude_is_refused_whatever_its_values(voxels, name):
    with pytest.raises(UserError, match=r"real or imaginary image.*--contrast"):
        guess_contrast(voxels, name)


@pytest.mark.parametrize("name", ["phase_2_swi", "sub-01_acq-real_T2starw", "graph", "realm"])
def test_other_names_with_such_words_are_no_parts(name):
    assert guess_contrast(MAGNITUDE, name)[1]


@pytest.mark.parametrize(
    ("values", "share"), [([0, 0], 0), ([1, 3], 0), ([-1, 3], 0.25), ([-2], 1)]
)
def test_negative_share(values, share):
    assert negative_share(np.array(values, np.float32)) == pytest.approx(share)


def test_sidecar(tmp_path):
    image = tmp_path / "a.b.nii.gz"
    assert sidecar_text(image) == ""
    fields = {"SeriesDescription": "Ax SWI", "ImageType": ["ORIGINAL", "M"], "EchoTime": 0.02}
    (tmp_path / "a.b.json").write_text(json.dumps(fields))
    assert {"Ax", "SWI"} <= set(sidecar_text(image).split())
    for broken in ("{", "[]", "\x00"):
        (tmp_path / "a.b.json").write_text(broken)
        assert sidecar_text(image) == ""
