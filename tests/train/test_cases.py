import os
from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from microbleeds.errors import UserError
from microbleeds.prepare import Prepared
from microbleeds.prepare.grid import Grid
from microbleeds.scan import Scan
from microbleeds.train import cases
from microbleeds.train.cases import (
    UNRATED,
    CaseSettings,
    labels_on_grid,
    prepare_case,
    prepare_cases,
    read_labels,
    set_unrated_apart,
)


def scan_of(shape, spacing):
    return Scan(np.zeros(shape, np.float32), np.diag([*spacing, 1.0]), "t2star")


def test_case_shows_bright_balls_where_the_labels_are(rows, recipe, work):
    case = prepare_case(rows[0], recipe.cases, work.cache / "images")
    assert case.channels.dtype == np.float16 and case.channels.shape == (3, *case.grid.shape)
    assert isinstance(case.channels, np.memmap)
    image = np.asarray(case.channels[0], np.float32)
    assert image[case.labels > 0].mean() > 0.85
    assert image[case.brain & (case.labels == 0)].mean() == pytest.approx(0.5, abs=0.02)
    assert set(np.unique(case.labels)) == {0, 1, 2}
    # written at voxels (14, 20, 5) and (26, 18, 7) of 0.5 x 0.5 x 2 mm from (-10, -12, 30)
    np.testing.assert_allclose(case.centres_mm, [(-3, -2, 40), (3, -3, 44)], atol=0.01)
    np.testing.assert_array_equal(case.prepared.image, image)


def test_cache_is_used_until_a_file_or_the_settings_change(heads, rows, recipe, tmp_path):
    first = prepare_case(rows[1], recipe.cases, tmp_path)
    kept = list(tmp_path.iterdir())
    assert prepare_case(rows[1], recipe.cases, tmp_path).name == first.name
    assert list(tmp_path.iterdir()) == kept
    other = prepare_case(
        rows[1], replace(recipe.cases, prepare=replace(recipe.prepare, in_plane_mm=0.6)), tmp_path
    )
    assert other.name != first.name and other.grid.shape != first.grid.shape
    os.utime(rows[1].label, (1, 1))
    assert prepare_case(rows[1], recipe.cases, tmp_path).name != first.name
    assert len(list(tmp_path.iterdir())) == 3


def test_a_computed_mask_is_kept_until_the_network_that_makes_it_changes(
    rows, recipe, work, tmp_path, monkeypatch
):
    monkeypatch.setattr(cases, "_computed_mask", lambda scan: scan.voxels > 0)

    def names():
        masked, unmasked = rows[0], replace(rows[0], mask=None)
        return [prepare_case(row, recipe.cases, tmp_path).name for row in (masked, unmasked)]

    first = names()
    assert names() == first and first[0] != first[1]
    card = cases.read_card(cases.WEIGHTS / cases.BRAIN_MODEL)
    other = replace(card, files={"brain.onnx": "of another network"})
    monkeypatch.setattr(cases, "read_card", lambda folder: other)
    again = names()
    assert again[0] == first[0] and again[1] != first[1]


def test_cases_keep_no_file_open(rows, recipe, work):
    """A process may have some thousand, cases are not as few."""
    descriptors = Path("/proc/self/fd")
    if not descriptors.is_dir():
        pytest.skip("needs /proc to count them")
    before = len(list(descriptors.iterdir()))
    loaded = prepare_cases([rows[0]] * 20, recipe.cases, work.cache / "images")
    assert all(case.channels.any() and case.labels.any() and case.brain.any() for case in loaded)
    assert len(list(descriptors.iterdir())) <= before + 3


def test_processes_give_the_same(rows, recipe, work, tmp_path):
    many = prepare_cases(rows[2:4], recipe.cases, tmp_path, workers=2)
    for case, row in zip(many, rows[2:4], strict=True):
        one = prepare_case(row, recipe.cases, work.cache / "images")
        np.testing.assert_array_equal(case.channels, one.channels)


def test_one_value_means_connected_pieces_and_several_mean_numbers():
    scan = scan_of((8, 8, 6), (1, 1, 1))
    grid = Grid((8, 8, 6), scan.affine)
    labels = np.zeros((8, 8, 6), np.int64)
    labels[1, 1, 1] = labels[2, 2, 2] = labels[6, 6, 4] = 255
    pieces = labels_on_grid(labels, scan, grid)
    assert pieces.max() == 2 and pieces[1, 1, 1] == pieces[2, 2, 2] != pieces[6, 6, 4] != 0
    labels[2, 2, 2], labels[6, 6, 4] = 3, 9
    numbered = labels_on_grid(labels, scan, grid)
    assert sorted(numbered[labels > 0]) == [1, 2, 3]
    labels[1, 1, 1], labels[2, 2, 2], labels[6, 6, 4] = 1, 2, 1  # definite and possible ones
    assert sorted(labels_on_grid(labels, scan, grid)[labels > 0]) == [1, 2, 3]
    assert (numbered[labels == 0] == 0).all()


def test_no_microbleed_is_lost_on_a_coarser_grid():
    scan = scan_of((20, 20, 20), (0.5, 0.5, 0.5))
    labels = np.zeros((20, 20, 20), np.int64)
    for number, corner in enumerate([(3, 3, 3), (3, 5, 3), (10, 11, 13), (18, 1, 6)], 1):
        labels[corner] = number
    grid = Grid((7, 7, 7), np.diag([1.5, 1.5, 1.5, 1.0]))
    assert set(np.unique(labels_on_grid(labels, scan, grid))) == {0, 1, 2, 3, 4}


def test_what_is_too_small_or_too_faint_is_set_apart_and_the_rest_numbered_without_gaps():
    labels = np.zeros((20, 20, 6), np.uint16)
    labels[2, 2, :3], labels[10, 10, 2], labels[16, 2:6, 4], labels[3, 12:16, 4] = 1, 2, 4, 5
    grid = Grid((20, 20, 6), np.diag([1, 1, 2, 1.0]))
    image = np.where(labels == 5, 0.52, np.where(labels > 0, 0.9, 0.5)).astype(np.float32)
    prepared = Prepared(image, np.ones(labels.shape, bool), image, image, grid)
    # one voxel is 2 mm3; the last stands out by 0.02
    apart = set_unrated_apart(labels, prepared, CaseSettings(smallest_mm3=2.5, faintest=0.05))
    assert (apart[labels == 1] == 1).all() and (apart[labels == 4] == 2).all()
    assert (apart[(labels == 2) | (labels == 5)] == UNRATED).all()
    assert (apart[labels == 0] == 0).all()
    assert set(np.unique(set_unrated_apart(labels, prepared, CaseSettings()))) == {0, 1, 2, 3, 4}


def test_a_case_counts_no_microbleed_that_is_too_small_or_outside_the_mask(rows, recipe, tmp_path):
    large = prepare_case(rows[0], replace(recipe.cases, smallest_mm3=100.0), tmp_path)
    assert set(np.unique(large.labels)) == {0, UNRATED} and large.centres.shape == (0, 3)
    narrow = prepare_case(rows[0], replace(recipe.cases, mask_error_mm=(-4.0, -4.0)), tmp_path)
    whole = prepare_case(rows[0], recipe.cases, tmp_path)
    assert 0 < narrow.brain.sum() < 0.5 * whole.brain.sum()
    assert not (narrow.labels[~narrow.brain]).any()


def test_what_is_unrated_is_neither_unless_it_is_a_microbleed(rows, recipe, tmp_path):
    image = nib.load(rows[0].label)
    doubtful = np.asarray(image.dataobj) == 1
    doubtful[20:23, 12:14, 6] = True
    path = tmp_path / "unrated.nii.gz"
    nib.save(nib.Nifti1Image(doubtful.astype(np.uint8), image.affine), path)
    plain = prepare_case(rows[0], recipe.cases, tmp_path / "cache")
    case = prepare_case(replace(rows[0], unrated=path), recipe.cases, tmp_path / "cache")
    voxels = np.argwhere(case.labels == UNRATED)
    places = voxels @ case.grid.affine[:3, :3].T + case.grid.affine[:3, 3]
    # voxels (20-22, 12-13, 6) of 0.5 x 0.5 x 2 mm from (-10, -12, 30)
    np.testing.assert_allclose(places.mean(axis=0), (0.5, -5.75, 42), atol=0.01)
    rated = case.labels != UNRATED
    np.testing.assert_array_equal(case.labels[rated], plain.labels[rated])


def test_empty_label():
    scan = scan_of((5, 5, 5), (1, 1, 1))
    empty = labels_on_grid(np.zeros((5, 5, 5), np.int64), scan, Grid((5, 5, 5), scan.affine))
    assert empty.shape == (5, 5, 5) and not empty.any()


@pytest.mark.parametrize(
    ("array", "shift", "sentence"),
    [
        (np.zeros((4, 4, 5)), 0, "same grid"),
        (np.zeros((4, 4, 4)), 3, "elsewhere in the scanner"),
        (np.full((4, 4, 4), 0.5), 0, "whole numbers"),
        (np.full((4, 4, 4), -1.0), 0, "whole numbers"),
        (np.full((4, 4, 4), np.nan), 0, "whole numbers"),
    ],
)
def test_labels_that_do_not_match(tmp_path, array, shift, sentence):
    affine = np.eye(4)
    affine[0, 3] = shift
    nib.save(nib.Nifti1Image(array.astype(np.float32), affine), tmp_path / "l.nii.gz")
    with pytest.raises(UserError, match=sentence):
        read_labels(tmp_path / "l.nii.gz", scan_of((4, 4, 4), (1, 1, 1)))


def test_a_fourth_axis_of_one_is_dropped_as_that_of_the_scan_is(tmp_path):
    array = np.arange(64).reshape(4, 4, 4, 1)
    nib.save(nib.Nifti1Image(array.astype(np.int16), np.eye(4)), tmp_path / "l.nii.gz")
    labels = read_labels(tmp_path / "l.nii.gz", scan_of((4, 4, 4), (1, 1, 1)))
    np.testing.assert_array_equal(labels, array[..., 0])


def test_label_that_is_no_nifti(tmp_path):
    (tmp_path / "l.nii.gz").write_bytes(b"no")
    with pytest.raises(UserError, match="cannot be read as NIfTI"):
        read_labels(tmp_path / "l.nii.gz", scan_of((4, 4, 4), (1, 1, 1)))
