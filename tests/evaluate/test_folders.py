"""Files to figures: names, kinds of truth, and everything that can be wrong with them."""

import json

import nibabel as nib
import numpy as np
import pytest

from microbleeds.console import evaluate_and_show
from microbleeds.errors import UserError
from microbleeds.evaluate.folders import evaluate_folders, pair_names, write_evaluation
from microbleeds.report.bids import output_paths
from microbleeds.report.table import write_detections
from microbleeds.steps import Candidate

AFFINE = np.array([[-0.5, 0, 0, 10], [0, 0.5, 0, -5], [0, 0, 3, 2], [0, 0, 0, 1.0]])
VOXELS = {"one": [(5, 5, 2), (20, 20, 5)], "two": [(9, 9, 3)], "none": []}


def save(path, values) -> None:
    path.parent.mkdir(exist_ok=True)
    nib.save(nib.Nifti1Image(values, AFFINE), path)


def image(voxels, dtype=np.uint8) -> np.ndarray:
    values = np.zeros((30, 30, 8), dtype)
    for number, (i, j, k) in enumerate(voxels, start=1):
        values[i : i + 2, j : j + 2, k] = number
    return values


@pytest.fixture
def predictions(tmp_path):
    """Outputs of detect: all found, with one false detection in `two`."""
    folder = tmp_path / "out"
    for name, voxels in VOXELS.items():
        voxels = [*voxels, (25, 2, 1)] if name == "two" else voxels
        paths = output_paths(name, folder)
        save(paths.dseg, image(voxels))
        save(paths.mask, (image(voxels) > 0).astype(np.uint8))
        save(paths.brain, np.ones((30, 30, 8), np.uint8))
        rows = [
            Candidate(
                n,
                tuple((AFFINE @ (i + 0.5, j + 0.5, k, 1))[:3]),
                3,
                2,
                0,
                9,
                0.9,
                1 - n / 4,
                1 - n / 4,
            )
            for n, (i, j, k) in enumerate(voxels, start=1)
        ]
        write_detections(paths.table, rows, AFFINE)
    return folder


def figures(evaluation) -> tuple[int, int, int, int]:
    summary = evaluation.summary
    return summary.scans, summary.lesions, summary.hits, summary.false_positives


@pytest.mark.parametrize("policy", ["overlap", "valdo", "one-to-one"])
def test_label_images_as_truth(predictions, tmp_path, policy):
    for name, voxels in VOXELS.items():
        save(tmp_path / "truth" / f"{name}_label.nii.gz", (image(voxels) > 0).astype(np.float32))
    evaluation = evaluate_folders(predictions, tmp_path / "truth", policy)
    assert figures(evaluation) == (3, 3, 3, 1)
    found = {(f.subject, f.confidence): f for f in evaluation.findings.table}
    assert found["one", 0.75].dice == 1 and found["one", 0.75].distance_mm == pytest.approx(0)
    assert not found["two", 0.5].is_lesion


def test_voxels_and_mm_in_tables_as_truth(predictions, tmp_path):
    in_voxels, in_mm = ["subject,i,j,k,note"], ["subject\tx\ty\tz"]
    for name, voxels in VOXELS.items():
        for voxel in voxels:
            in_voxels.append(",".join(map(str, [name, *voxel, "seen"])))
            in_mm.append("\t".join(map(str, [name, *(AFFINE @ (*voxel, 1))[:3]])))
    in_voxels.append("none,,,,")
    in_mm.append("none\tn/a\tn/a\tn/a")
    for name, lines in (("truth.csv", in_voxels), ("truth.tsv", in_mm)):
        (tmp_path / name).write_text("\n".join(lines))
        evaluation = evaluate_folders(predictions, tmp_path / name)
        assert figures(evaluation) == (3, 3, 3, 1)
        assert evaluation.findings.table[0].distance_mm == pytest.approx(0.5**1.5)


def test_small_and_invisible_microbleeds_of_a_table_do_not_count(predictions, tmp_path):
    """Each is detected, or would be missed if it counted."""
    truth = tmp_path / "truth.tsv"
    lines = ["subject\tcontrast\tx\ty\tz\tvolume_mm3"]
    for name, voxel, volume in (
        ("one", (5, 5, 2), 9),
        ("one", (20, 20, 5), 2),
        ("one", (2, 25, 7), 0),
        ("two", (9, 9, 3), 9),
        ("none", (9, 9, 3), 0),
    ):
        xyz = (AFFINE @ (*voxel, 1))[:3]
        lines.append("\t".join(map(str, [name, "swi", *xyz, volume])))
    truth.write_text("\n".join(lines))
    assert figures(evaluate_folders(predictions, truth)) == (3, 3, 3, 1)
    assert figures(evaluate_folders(predictions, truth, smallest_mm3=2.5)) == (3, 2, 2, 1)
    truth.write_text("\n".join(line.removesuffix("\t9") for line in lines))
    assert figures(evaluate_folders(predictions, truth)) == (3, 3, 3, 1)
    with pytest.raises(UserError, match=r"fill in the column volume_mm3"):
        evaluate_folders(predictions, truth, smallest_mm3=2.5)


def test_smallest_needs_volumes(predictions, tmp_path):
    truth = tmp_path / "truth.csv"
    truth.write_text("subject,i,j,k\ntwo,9,9,3\n")
    two = output_paths("two", predictions).dseg
    assert figures(evaluate_folders(two, truth)) == (1, 1, 1, 1)
    with pytest.raises(UserError, match=r"which --smallest 2\.5 needs"):
        evaluate_folders(two, truth, smallest_mm3=2.5)
    truth.write_text("subject,i,j,k,volume_mm3\ntwo,9,9,3,2\n")
    assert figures(evaluate_folders(two, truth, smallest_mm3=2.5)) == (1, 0, 0, 1)


def test_microbleeds_listed_once_a_contrast_are_refused(predictions, tmp_path):
    truth = tmp_path / "truth.csv"
    lines = "subject,contrast,i,j,k\none,swi,5,5,2\ntwo,t2star,9,9,3\nnone,qsm,,,\n"
    truth.write_text(lines)
    assert figures(evaluate_folders(predictions, truth)) == (3, 2, 2, 2)
    truth.write_text(lines + "two,swi,9,9,3\n")
    with pytest.raises(UserError, match="'two' in the contrasts t2star and swi; keep only"):
        evaluate_folders(predictions, truth)


def test_masks_without_tables_and_single_files(predictions, tmp_path):
    truth = tmp_path / "truth" / "two_CMB.nii.gz"
    save(truth, image(VOXELS["two"]))
    mask = output_paths("two", predictions).mask
    assert figures(evaluate_folders(mask, truth.parent, "overlap")) == (1, 1, 1, 1)
    table = output_paths("two", predictions).table
    output_paths("two", predictions).dseg.unlink()
    assert figures(evaluate_folders(table, truth)) == (1, 1, 1, 1)


def test_numbered_truth_tells_touching_lesions_apart(tmp_path):
    numbers = image([(5, 5, 2), (7, 5, 2)])
    save(tmp_path / "truth" / "a_label.nii", numbers)
    save(tmp_path / "pred" / "a.nii", (numbers > 0).astype(np.int16))
    evaluation = evaluate_folders(tmp_path / "pred", tmp_path / "truth", "overlap")
    assert figures(evaluation) == (1, 2, 2, 0)


def test_written_findings_and_summary(predictions, tmp_path):
    save(tmp_path / "truth" / "two_label.nii.gz", image(VOXELS["two"]))
    evaluation = evaluate_folders(output_paths("two", predictions).dseg, tmp_path / "truth")
    write_evaluation(evaluation, tmp_path / "result")
    lines = (tmp_path / "result" / "findings.tsv").read_text().splitlines()
    assert lines[0].startswith("subject\tis_lesion\tdetected\tconfidence\tx\ty\tz")
    assert len(lines) == 3
    summary = json.loads((tmp_path / "result" / "summary.json").read_text())
    assert summary["policy"] == "valdo" and summary["hits"] == 1
    assert summary["figures"]["precision"]["value"] == 0.5
    assert summary["figures"]["count_icc"]["value"] is None
    assert summary["figures"]["precision"]["low"] is None  # of a single scan


def test_what_is_not_defined_is_shown_as_such(predictions, tmp_path, capsys):
    save(tmp_path / "truth" / "two_label.nii.gz", image(VOXELS["two"]))
    dseg = output_paths("two", predictions).dseg
    evaluate_and_show(dseg, tmp_path / "truth", "valdo", 0.0, None)
    shown = capsys.readouterr().out
    assert "0.500  (95 % n/a to n/a)" in shown and "nan" not in shown


def test_pairs_of_names():
    true = ["sub-1_ses-2", "sub-10_space-T2S", "scan1", "scan10"]
    predicted = ["sub-1_ses-2_run-1", "sub-10_acq-high", "scan1_T2", "scan10"]
    assert pair_names(predicted, true) == dict(zip(predicted, true, strict=True))


def test_names_as_cohort_writes_them():
    true = ["sub-01_swi", "sub-01_T2starw"]
    predicted = ["sub-01_space-swi", "sub-01_space-T2starw"]
    assert pair_names(predicted, true) == dict(zip(predicted, true, strict=True))
    assert pair_names(true, predicted) == dict(zip(true, predicted, strict=True))


@pytest.mark.parametrize("entity", ["ses", "run", "acq", "echo"])
def test_another_image_of_the_same_person_is_refused(entity):
    with pytest.raises(UserError, match="match 0 names in the truth"):
        pair_names([f"sub-01_{entity}-1_swi"], [f"sub-01_{entity}-2_T2starw"])


@pytest.mark.parametrize(
    ("predicted", "true", "sentence"),
    [
        (["a"], ["b"], "'a' match 0 names in the truth"),
        (["a"], ["a", "b"], "'b' matches 0 sets of detections"),
        (["a_1", "a_2"], ["a"], "'a' matches 2 sets of detections"),
        (["sub-1_run-1"], ["sub-1_a", "sub-1_b"], "'sub-1_run-1' match 2 names"),
    ],
)
def test_names_without_or_with_too_many_counterparts(predicted, true, sentence):
    with pytest.raises(UserError, match=sentence):
        pair_names(predicted, true)


def test_what_cannot_be_read(predictions, tmp_path):
    truth = tmp_path / "truth"
    with pytest.raises(UserError, match="does not exist"):
        evaluate_folders(predictions, truth)
    truth.mkdir()
    with pytest.raises(UserError, match="holds no label image"):
        evaluate_folders(predictions, truth)
    dseg = output_paths("two", predictions).dseg
    (truth / "two_label.nii.gz").write_bytes(b"nothing")
    with pytest.raises(UserError, match="cannot be read as a NIfTI label image"):
        evaluate_folders(dseg, truth)
    save(truth / "two_label.nii.gz", np.zeros((4, 4, 4, 2), np.uint8))
    with pytest.raises(UserError, match="4 dimensions"):
        evaluate_folders(dseg, truth)
    save(truth / "two_label.nii", np.zeros((4, 4, 4), np.uint8))
    with pytest.raises(UserError, match="have one name"):
        evaluate_folders(dseg, truth)
    table = tmp_path / "t.csv"
    table.write_text("subject,i,j\ntwo,1,2\n")
    with pytest.raises(UserError, match="no column 'k'"):
        evaluate_folders(dseg, table)
    dseg.unlink()
    table.write_text("subject,i,j,k\ntwo,1,2,3\n")
    with pytest.raises(UserError, match="have no image"):
        evaluate_folders(output_paths("two", predictions).table, table)


def test_image_and_table_of_different_runs(predictions, tmp_path):
    paths = output_paths("two", predictions)
    save(paths.dseg, image([(2, 2, 2)] * 4))
    save(tmp_path / "truth" / "two_label.nii.gz", image([]))
    with pytest.raises(UserError, match="files of one run"):
        evaluate_folders(paths.dseg, tmp_path / "truth")
