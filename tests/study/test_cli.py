"""The commands of cohorts: labels as BIDS Apps take them, and one sentence for what is wrong."""

from __future__ import annotations

import pytest

from microbleeds.study.cli import main_bids_app, spread_labels

from ..conftest import run


def test_a_flag_takes_several_labels():
    words = ["in", "out", "participant", "--participant-label", "01", "02", "--session_label", "a",
             "--n-cpus", "2"]  # fmt: skip
    assert spread_labels(words) == [
        "in", "out", "participant", "--participant-label", "01", "--participant-label", "02",
        "--session_label", "a", "--n-cpus", "2",
    ]  # fmt: skip


@pytest.fixture
def study(tmp_path):
    folder = tmp_path / "study" / "sub-01" / "anat"
    folder.mkdir(parents=True)
    (folder / "sub-01_T1w.nii.gz").touch()
    (tmp_path / "study" / "dataset_description.json").write_text("{}")
    return tmp_path / "study"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["cohort", "STUDY", "-o", "OUT"], "holds no scan that is meant"),
        (["cohort", "STUDY", "-o", "OUT", "--participant-label", "9"], "no participant '9'"),
        (["cohort", "STUDY", "-o", "OUT", "--pattern", "t1=*"], "give CONTRAST=GLOB"),
        (["cohort", "nowhere", "-o", "OUT"], "There is no dataset"),
        (["cohort", "STUDY", "-o", "STUDY", "--pattern", "swi=*"], "raw BIDS dataset"),
        (["cohort", "STUDY", "-o", "OUT", "--pattern", "swi=*", "--model", "x"], "no model 'x'"),
        (["cohort", "STUDY", "-o", "OUT", "--job-script"], "--cluster FILE"),
        (["cohort", "STUDY", "-o", "OUT", "--scheduler", "a", "--cluster", "b"], "one of them"),
        (["cohort", "STUDY", "-o", "OUT", "--scheduler", "a", "--workers", "2"], "leave it out"),
        (["bids-app", "OUT", "OUT", "participant"], "is no BIDS dataset"),
        (["bids-app", "STUDY", "OUT", "participant", "--participant-label", "01", "7"], "'7'"),
    ],
)
def test_what_is_wrong_gets_one_sentence(words, said, study, tmp_path, capsys):
    places = {"STUDY": study, "OUT": tmp_path / "out"}
    assert run(*(places.get(word, word) for word in words)) == 2
    error = capsys.readouterr().err
    assert said in error and "Traceback" not in error
    assert not (tmp_path / "out").exists()


def test_the_bids_app_has_an_entry_of_its_own(study, tmp_path, capsys):
    assert run(study, tmp_path / "out", "participant", entry=main_bids_app) == 2
    assert "holds no scan" in capsys.readouterr().err
