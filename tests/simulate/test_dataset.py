import csv
import hashlib
import json
from dataclasses import replace

import nibabel as nib
import numpy as np
import pytest

from microbleeds.errors import UserError
from microbleeds.evaluate.read import read_centres
from microbleeds.simulate import HeadSettings, dataset
from microbleeds.simulate.dataset import (
    TABLE_COLUMNS,
    TRUTH_COLUMNS,
    simulate_dataset,
    write_tables,
)
from microbleeds.simulate.lesions import LesionRanges
from microbleeds.simulate.scanner import random_protocol

SETTINGS = HeadSettings(
    lesions=LesionRanges((2, 2), 0.7, 0.0, susceptibility_ppm=(2.0, 3.0)),
    whole_head=False,
    visible_drop=2.0,  # nothing loses twice its signal: no bleed is visible on T2*
)
CONTRASTS = ("t2star", "qsm")


@pytest.fixture(scope="module")
def anatomies(small_labels, tmp_path_factory):
    path = tmp_path_factory.mktemp("anatomy") / "ball.nii.gz"
    nib.save(nib.Nifti1Image(small_labels, np.eye(4)), path)
    return (path,)


@pytest.fixture(scope="module")
def coarse(small_field):
    """Drawn protocols, their voxels made large so that tests are fast."""

    def protocol(rng, volume):
        return replace(random_protocol(rng, volume), acquired_mm=1.0, pixel_mm=1.0, slice_mm=2.5)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(dataset, "random_protocol", protocol)
        yield


@pytest.fixture(scope="module")
def series(anatomies, coarse, tmp_path_factory):
    out = tmp_path_factory.mktemp("series") / "made" / "here"
    simulate_dataset(out, 2, CONTRASTS, 7, anatomies, SETTINGS)
    return out


def rows(path, mark):
    with path.open(newline="") as stream:
        return list(csv.DictReader(stream, delimiter=mark))


def voxels(path):
    return np.asarray(nib.load(path).dataobj)


def digests(folder):
    return {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in folder.iterdir()}


def test_the_table_names_files_that_are_there(series):
    table = rows(series / "table.csv", ",")
    columns = ("image", "label", "contrast", "mask", "subject", "unrated")
    assert tuple(table[0]) == TABLE_COLUMNS == columns
    assert [(r["subject"], r["contrast"]) for r in table] == [
        (f"sub-sim7x000{i}", contrast) for i in (0, 1) for contrast in CONTRASTS
    ]
    for row in table:
        image, label, mask = (nib.load(series / row[c]) for c in ("image", "label", "mask"))
        assert image.shape == label.shape == mask.shape
        assert np.allclose(image.affine, label.affine) and np.allclose(image.affine, mask.affine)
        assert set(np.unique(np.asarray(mask.dataobj))) == {0, 1}
        kind = np.float32 if row["contrast"] == "qsm" else np.int16
        assert image.get_data_dtype() == kind
    named = {row[c] for row in table for c in ("image", "label", "mask", "unrated")}
    others = {p.name for p in series.iterdir()} - named
    assert others == {"table.csv", "truth.tsv", "sub-sim7x0000.json", "sub-sim7x0001.json"}


def test_the_truth_agrees_with_the_labels(series):
    truth = rows(series / "truth.tsv", "\t")
    assert tuple(truth[0]) == TRUTH_COLUMNS
    assert len(truth) == 2 * len(CONTRASTS) * 2
    suffix = {"t2star": "T2starw", "qsm": "Chimap"}
    for row in truth:
        label = nib.load(series / f"{row['subject']}_{suffix[row['contrast']]}_label.nii.gz")
        mine = np.asarray(label.dataobj) == int(row["index"])
        volume = mine.sum() * abs(np.linalg.det(label.affine[:3, :3]))
        assert float(row["volume_mm3"]) == pytest.approx(volume, abs=0.01)
        if row["contrast"] == "t2star":  # invisible, listed nevertheless
            assert float(row["volume_mm3"]) == 0
        else:
            assert mine.any()
            centroid = nib.affines.apply_affine(label.affine, np.argwhere(mine).mean(0))
            xyz = [float(row[c]) for c in "xyz"]
            assert np.linalg.norm(centroid - xyz) < 2.5  # a slice


def test_what_lies_at_unseen_bleeds_is_unrated(series):
    truth = rows(series / "truth.tsv", "\t")
    for row in rows(series / "table.csv", ","):
        image = nib.load(series / row["unrated"])
        unrated = np.argwhere(np.asarray(image.dataobj))
        if row["contrast"] == "qsm":  # which shows both
            assert not len(unrated)
            continue
        mine = [r for r in truth if (r["subject"], r["contrast"]) == (row["subject"], "t2star")]
        bleeds = np.array([[float(r[c]) for c in "xyz"] for r in mine])
        points = nib.affines.apply_affine(image.affine, unrated)
        distance = np.linalg.norm(points[:, None] - bleeds, axis=2)
        half_voxel = np.linalg.norm(image.header.get_zooms()) / 2
        assert (distance.min(axis=0) <= half_voxel).all()  # each has its middle in it
        assert (distance.min(axis=1) <= 2.0 + half_voxel).all()
        ball = 4 / 3 * np.pi * 2.0**3
        volume = len(unrated) * abs(np.linalg.det(image.affine[:3, :3]))
        assert volume == pytest.approx(2 * ball, rel=0.4)


def test_the_record_holds_the_protocol(series):
    record = json.loads((series / "sub-sim7x0001.json").read_text())
    assert record["anatomy"] == "ball" and record["contrasts"] == list(CONTRASTS)
    assert record["protocol"]["slice_mm"] == 2.5
    assert [b["index"] for b in record["microbleeds"]] == [1, 2]


def test_a_series_continues_where_it_was_left(series, anatomies):
    before = digests(series)
    written = (series / "sub-sim7x0000_T2starw.nii.gz").stat().st_mtime_ns
    image = voxels(series / "sub-sim7x0001_T2starw.nii.gz")
    (series / "sub-sim7x0001.json").unlink()  # killed while it wrote the second head
    (series / "sub-sim7x0001_Chimap.nii.gz").unlink()
    done = []
    simulate_dataset(series, 2, CONTRASTS, 7, anatomies, SETTINGS, on_head=done.append)
    assert done == [0, 1]
    assert (series / "sub-sim7x0000_T2starw.nii.gz").stat().st_mtime_ns == written
    assert np.array_equal(voxels(series / "sub-sim7x0001_T2starw.nii.gz"), image)
    assert set(digests(series)) == set(before)
    for table in ("table.csv", "truth.tsv"):
        assert digests(series)[table] == before[table]


def test_a_later_part_of_a_series_keeps_its_numbers(series, anatomies):
    done = []
    simulate_dataset(series, 1, CONTRASTS, 7, anatomies, SETTINGS, 1, done.append)
    assert done == [1]
    assert len(rows(series / "table.csv", ",")) == 2 * len(CONTRASTS)  # of all heads there


@pytest.mark.parametrize(
    ("contrasts", "settings"),
    [(("t2star",), SETTINGS), (CONTRASTS, replace(SETTINGS, visible_ppm=9))],
)
def test_a_series_is_not_continued_with_other_settings(series, anatomies, contrasts, settings):
    before = digests(series)
    with pytest.raises(UserError, match=r"sub-sim7x0000.json was simulated with other contrasts"):
        simulate_dataset(series, 2, contrasts, 7, anatomies, settings)
    assert digests(series) == before


def test_a_series_is_not_continued_by_another_version_or_with_other_maps(
    series, anatomies, monkeypatch
):
    more = (*anatomies, anatomies[0])
    with pytest.raises(UserError, match="label maps, or by another version"):
        simulate_dataset(series, 2, CONTRASTS, 7, more, SETTINGS)
    monkeypatch.setattr(dataset, "PHYSICS", dataset.PHYSICS + 1)
    with pytest.raises(UserError, match="label maps, or by another version"):
        simulate_dataset(series, 2, CONTRASTS, 7, anatomies, SETTINGS)


def test_unusable_places_and_anatomies_are_user_errors(anatomies, tmp_path):
    occupied = tmp_path / "file"
    occupied.write_text("")
    with pytest.raises(UserError, match="cannot be made"):
        simulate_dataset(occupied, 1, CONTRASTS, 0, anatomies, SETTINGS)
    with pytest.raises(UserError, match="no file"):
        simulate_dataset(tmp_path / "out", 1, CONTRASTS, 0, (tmp_path / "none.nii",), SETTINGS)
    assert not list((tmp_path / "out").glob("sub-*"))


def test_a_head_without_microbleeds_is_in_the_truth(tmp_path):
    record = {"contrasts": ["swi"], "microbleeds": []}
    (tmp_path / "sub-a.json").write_text(json.dumps(record))
    write_tables(tmp_path)
    assert [row["subject"] for row in rows(tmp_path / "truth.tsv", "\t")] == ["sub-a"]
    known = read_centres(tmp_path / "truth.tsv")
    assert list(known) == ["sub-a"] and not len(known["sub-a"].centres)
