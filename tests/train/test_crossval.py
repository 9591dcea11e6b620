import csv
from dataclasses import replace

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


def test_folds_of_another_split_are_refused(rows, recipe, work, tmp_path, monkeypatch):
    from microbleeds.train import crossval

    monkeypatch.setattr(crossval, "train_all", lambda *a: True)
    monkeypatch.setattr(crossval, "predict", lambda *a: None)
    assert cross_validate(rows, tmp_path, 2, recipe, work)
    before = (tmp_path / "folds.tsv").read_text()
    with pytest.raises(UserError, match="made for other subjects"):
        cross_validate(rows, tmp_path, 3, recipe, work)
    assert (tmp_path / "folds.tsv").read_text() == before
