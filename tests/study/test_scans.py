"""Scans found in BIDS datasets and folders."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import pytest

from microbleeds.errors import UserError
from microbleeds.study.scans import Selection, find_scans


def make(root: Path, *names: str) -> Path:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return root


@pytest.fixture
def bids(tmp_path):
    return make(
        tmp_path / "study", "dataset_description.json",
        "sub-02/anat/sub-02_T2starw.nii.gz", "sub-02/anat/sub-02_T1w.nii.gz",
        "sub-01/ses-b/anat/sub-01_ses-b_Chimap.nii", "sub-01/ses-b/anat/sub-01_ses-b_swi.nii.gz",
        "sub-01/ses-a/swi/sub-01_ses-a_run-1_SWI.nii.gz",
        "sub-01/ses-a/swi/sub-01_ses-a_run-1_minIP.nii.gz",
        "sub-01/ses-a/anat/sub-01_ses-a_part-phase_T2starw.nii.gz",
        "sub-01/ses-a/anat/sub-01_ses-a_T2starmap.nii.gz",
        "sub-01/ses-a/anat/.sub-01_ses-a_swi.nii.gz",
        "sub-03/anat/gre_combined.nii.gz",
        "derivatives/old/sub-01/anat/sub-01_T2starw.nii.gz",
        "sourcedata/sub-01/anat/sub-01_T2starw.nii.gz",
    )  # fmt: skip


def found(dataset: Path, selection: Selection | None = None, out: Path = Path("nowhere")):
    jobs = find_scans(dataset, selection or Selection(), out)
    return [(job.contrast, str(job.folder / job.stem)) for job in jobs]


def test_a_bids_dataset_says_which_scans_it_has_in_order(bids):
    assert found(bids) == [
        ("swi", "sub-01/ses-a/swi/sub-01_ses-a_run-1_space-SWI"),
        ("qsm", "sub-01/ses-b/anat/sub-01_ses-b_space-Chimap"),
        ("swi", "sub-01/ses-b/anat/sub-01_ses-b_space-swi"),
        ("t2star", "sub-02/anat/sub-02_space-T2starw"),
    ]


def test_labels_and_patterns_select(bids):
    assert found(bids, Selection(participants=("02",))) == [
        ("t2star", "sub-02/anat/sub-02_space-T2starw")
    ]
    assert [name for _, name in found(bids, Selection(sessions=("a",)))] == [
        "sub-01/ses-a/swi/sub-01_ses-a_run-1_space-SWI"
    ]
    patterns = (("swi", "*_combined.nii.gz"),)
    assert found(bids, Selection(patterns, participants=("03",))) == [
        ("swi", "sub-03/anat/gre_combined")
    ]
    assert found(bids, Selection(patterns, ("03",), ("a",))) == []


def test_an_unknown_participant_is_an_error_at_once(bids):
    with pytest.raises(UserError, match="no participant '77'"):
        find_scans(bids, Selection(participants=("01", "77")), Path("nowhere"))


def test_same_names_in_a_folder_do_not_meet(tmp_path):
    root = make(
        tmp_path / "plain", "a/scan.nii.gz", "b/scan.nii", "b/scan.nii.gz", "notes.txt",
        "sub-1_T1w.nii.gz", "sub-1_swi.nii.gz", "b/scan_label-CMB_mask.nii.gz",
    )  # fmt: skip
    names = found(root)
    assert names == [
        ("swi", "sub-1_space-swi"), ("auto", "a/scan"), ("auto", "b/scan"),
        ("auto", "b/scan.nii.gz"),
    ]  # fmt: skip
    assert found(root, Selection((("qsm", "b/*"),)))[1:] == [
        ("qsm", "b/scan"), ("qsm", "b/scan.nii.gz"), ("qsm", "b/scan_label-CMB_mask"),
    ]  # fmt: skip


def test_results_inside_the_folder_and_circles_of_links_are_not_searched(tmp_path):
    root = make(tmp_path / "plain", "a.nii.gz", "results/a.nii.gz", "x/b.nii.gz")
    (root / "x" / "again").symlink_to(root)
    (root / "other").symlink_to(make(tmp_path / "elsewhere", "c.nii.gz"))
    assert [name for _, name in found(root, out=root / "results")] == ["a", "other/c", "x/b"]


def test_the_folder_of_failures_is_not_for_scans(tmp_path):
    with pytest.raises(UserError, match="rename it"):
        found(make(tmp_path, "a.nii.gz", "failures/b.nii.gz"))


def test_labels_are_for_bids_datasets(tmp_path):
    with pytest.raises(UserError, match=r"no dataset_description\.json"):
        found(make(tmp_path, "a.nii.gz"), Selection(participants=("01",)))


def test_no_dataset_is_refused(tmp_path):
    for dataset in (tmp_path / "none", make(tmp_path, "scan.nii.gz") / "scan.nii.gz"):
        with pytest.raises(UserError, match="no dataset"):
            find_scans(dataset, Selection(), tmp_path)


def test_memory_does_not_grow_with_the_subjects(tmp_path):
    def peak(subjects: int) -> int:
        root = tmp_path / f"{subjects}"
        names = [f"sub-{n:04d}/anat/sub-{n:04d}_swi.nii.gz" for n in range(subjects)]
        make(root, "dataset_description.json", *names)
        tracemalloc.start()
        assert sum(1 for _ in find_scans(root, Selection(), tmp_path)) == subjects
        top = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return top

    peak(1)  # what is imported and cached
    assert peak(400) - peak(40) < 360 * 700  # names of the folder at hand, no jobs
