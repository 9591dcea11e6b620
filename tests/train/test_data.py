from pathlib import Path

import pytest

from microbleeds.errors import UserError
from microbleeds.train.data import Row, folds, in_turn, read_table, split_subjects


def touch(folder, *names):
    for name in names:
        (folder / name).touch()


def write(folder, text):
    path = folder / "table.csv"
    path.write_text(text)
    return path


def test_rows(tmp_path):
    touch(tmp_path, "a.nii.gz", "b.nii", "a_label.nii.gz", "mask.nii.gz", "doubt.nii")
    absolute = tmp_path / "a_label.nii.gz"
    text = (
        "\ufeffimage,label,contrast,mask,subject,unrated\n"
        f"a.nii.gz,{absolute},qsm,mask.nii.gz,one,doubt.nii\n"
    )
    first, second = read_table(write(tmp_path, text + "b.nii,a_label.nii.gz,,,,\n"))
    assert (first.unrated, second.unrated) == (tmp_path / "doubt.nii", None)
    assert (first.image, first.label) == (tmp_path / "a.nii.gz", absolute)
    assert (first.contrast, first.mask, first.subject) == ("qsm", tmp_path / "mask.nii.gz", "one")
    assert (second.contrast, second.mask, second.subject) == ("auto", None, "b")


def test_optional_columns_may_be_missing(tmp_path):
    touch(tmp_path, "a.nii.gz", "l.nii.gz")
    (row,) = read_table(write(tmp_path, "label,image\nl.nii.gz,a.nii.gz\n"))
    assert (row.contrast, row.mask, row.subject) == ("auto", None, "a")


def test_all_images_of_a_person_are_one_subject(tmp_path):
    names = ("sub-01_T2starw", "sub-01_swi", "sub-01_ses-2_T2starw", "sub-02", "scan_3", "sub-")
    touch(tmp_path, *(f"{name}.nii.gz" for name in names))
    lines = "".join(f"{name}.nii.gz,{name}.nii.gz\n" for name in names)
    rows = read_table(write(tmp_path, "image,label\n" + lines))
    assert [row.subject for row in rows] == ["sub-01"] * 3 + ["sub-02", "scan_3", "sub-"]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("image,mask\na.nii.gz,\n", "no column 'label'"),
        ("image,label\n", "no rows"),
        ("image,label\na.nii.gz,\n", "Line 2 .* has no label"),
        ("image,label\na.nii.gz,a.nii.gz\na.nii.gz,gone.nii\n", "Line 3 .*gone.nii.*not exist"),
        ("image,label,mask\na.nii.gz,a.nii.gz,gone.nii\n", "mask .*gone.nii.*not exist"),
        ("image,label,contrast\na.nii.gz,a.nii.gz,T1\n", "contrast 'T1'"),
    ],
)
def test_broken_tables(tmp_path, text, sentence):
    touch(tmp_path, "a.nii.gz")
    with pytest.raises(UserError, match=sentence):
        read_table(write(tmp_path, text))


def test_missing_table(tmp_path):
    with pytest.raises(UserError, match=r"table\.csv cannot be read"):
        read_table(tmp_path / "table.csv")


def rows_of(tmp_path, subjects):
    touch(tmp_path, "a.nii.gz")
    lines = "".join(f"a.nii.gz,a.nii.gz,{subject}\n" for subject in subjects)
    return read_table(write(tmp_path, "image,label,subject\n" + lines))


def test_folds_hold_out_every_subject_once_with_all_its_images(tmp_path):
    rows = rows_of(tmp_path, [f"s{n % 7}" for n in range(20)])
    parts = folds(rows, 3, seed=1)
    held = [{row.subject for row in held_out} for _, held_out in parts]
    assert sorted(len(part) for part in held) == [2, 2, 3]
    assert set.union(*held) == {f"s{n}" for n in range(7)}
    for others, held_out in parts:
        assert not {row.subject for row in others} & {row.subject for row in held_out}
        assert len(others) + len(held_out) == 20
    assert parts == folds(rows, 3, seed=1) != folds(rows, 3, seed=2)


def test_split_sizes(tmp_path):
    rows = rows_of(tmp_path, [f"s{n}" for n in range(20)])
    assert [len(part) for part in split_subjects(rows, 0.1, 0)] == [18, 2]
    assert [len(part) for part in split_subjects(rows[:3], 0.1, 0)] == [2, 1]
    with pytest.raises(UserError, match="one subject only"):
        split_subjects(rows[:1], 0.1, 0)


def test_contrasts_come_up_in_turn():
    kinds = ("t2star", "t2star", "t2star", "swi", "qsm", "swi")
    rows = [
        Row(Path(f"{n}.nii"), Path(f"{n}_label.nii"), kind, None, str(n))
        for n, kind in enumerate(kinds)
    ]
    assert [row.subject for row in in_turn(rows)] == ["0", "3", "4", "1", "5", "2"]
