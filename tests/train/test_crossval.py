import csv
import json
from dataclasses import replace
from pathlib import Path

import nibabel as nib
import pytest

from microbleeds.errors import UserError
from microbleeds.train.crossval import cross_validate


def test_every_subject_is_predicted_by_networks_that_never_saw_it(rows, crossed):
    out, trained = crossed
    assert len(trained) == 3 and trained[1] == trained[2]  # the first fold was not repeated
    with (out / "folds.tsv").open() as file:
        table = list(csv.DictReader(file, delimiter="\t"))
    assert sorted(line["subject"] for line in table) == sorted(row.subject for row in rows)
    for line in table:
        assert line["subject"] not in trained[int(line["fold"]) - 1]


def test_predictions_lie_on_the_scans_own_grid(rows, crossed):
    for row in rows:
        stem = crossed[0] / "predictions" / row.image.name.removesuffix("_T2starw.nii.gz")
        found, scan = nib.load(f"{stem}_seg-CMB_dseg.nii.gz"), nib.load(row.image)
        assert found.shape == scan.shape
        assert (found.affine == scan.affine).all()


def test_time_limit_leaves_folds_for_the_next_call(rows, recipe, work, tmp_path):
    assert not cross_validate(rows, tmp_path, 2, recipe, replace(work, time_limit_s=0.0))
    assert not list(tmp_path.glob("fold-*/done.json"))


def test_a_folder_for_each_of_several_contrasts(rows, recipe, work, tmp_path, monkeypatch):
    from microbleeds.train import crossval

    places = set()
    monkeypatch.setattr(crossval, "train_all", lambda *a: True)
    monkeypatch.setattr(
        crossval, "predict", lambda some, model, paths, point: places.update(paths.values())
    )
    both = [replace(row, contrast=c) for c in ("swi", "t2star") for row in rows]
    both = [replace(r, image=r.image.with_name(f"{r.contrast}-{r.image.name}")) for r in both]
    assert cross_validate(both, tmp_path, 2, recipe, work)
    assert {path.mask.parent.name for path in places} == {"swi", "t2star"} and len(places) == 10


def test_records_name_the_mask_of_the_row(rows, crossed):
    for row in rows:
        stem = crossed[0] / "predictions" / row.image.name.removesuffix("_T2starw.nii.gz")
        record = json.loads(Path(f"{stem}_cmb.json").read_text())
        assert record["brain_mask"] == str(row.mask)


def test_finished_folds_of_another_cross_validation_are_refused(
    rows, recipe, work, tmp_path, monkeypatch
):
    from microbleeds.train import crossval

    calls = []
    monkeypatch.setattr(crossval, "train_all", lambda *a: True)
    monkeypatch.setattr(crossval, "predict", lambda *a: calls.append(a))
    assert cross_validate(rows, tmp_path, 2, recipe, work)
    before = (tmp_path / "folds.tsv").read_text()
    longer = replace(recipe, student=replace(recipe.student, steps=5))
    renamed = [replace(row, image=row.image.with_name(f"other-{row.image.name}")) for row in rows]
    labelled = [replace(rows[0], label=rows[1].label), *rows[1:]]
    for changed in (
        (rows, tmp_path, 3, recipe, work),
        (rows, tmp_path, 2, longer, work),
        (rows, tmp_path, 2, recipe, work, "precise"),
        (renamed, tmp_path, 2, recipe, work),
        (labelled, tmp_path, 2, recipe, work),
    ):
        with pytest.raises(UserError, match="made from another table"):
            cross_validate(*changed)
    assert (tmp_path / "folds.tsv").read_text() == before
    assert cross_validate(rows, tmp_path, 2, recipe, work) and len(calls) == 2
