"""Scans that a table names."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

import pytest

from microbleeds.errors import UserError
from microbleeds.study.scan_table import table_scans


def test_a_table_says_contrast_mask_and_subject(tmp_path):
    table = tmp_path / "table.csv"
    table.write_text(
        "image,contrast,mask,subject\nsub-1_swi.nii.gz,swi,m.nii.gz,one\n/far/b.nii,,n/a,\n"
    )
    one, two = table_scans(table)
    assert (one.source, one.contrast) == (tmp_path / "sub-1_swi.nii.gz", "swi")
    assert (one.mask, one.folder) == (tmp_path / "m.nii.gz", PurePosixPath("one"))
    assert (one.stem, two.stem) == ("sub-1_space-swi", "b")
    assert (two.source, two.contrast, two.mask) == (Path("/far/b.nii"), "auto", None)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("scan\na.nii\n", "no column 'image'"),
        ("image\tcontrast\na.nii\tt1\n", "line 2: contrast is 't1'"),
        ("image\tname\na.nii\t../a\n", "cannot be the name of a file"),
        ("image\tcontrast\n\tswi\n", "is empty"),
        ("image\tsubject\na.nii\tfailures\n", "another name"),
        ("image\nx/a.nii\ny/a.nii.gz\n", "would both be called a"),
    ],
)
def test_a_wrong_table_is_refused_at_once(text, said, tmp_path):
    table = tmp_path / "table.tsv"
    table.write_text(text)
    with pytest.raises(UserError, match=said):
        table_scans(table)
