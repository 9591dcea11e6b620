"""Text, tables and JSON, whole or not at all."""

import json
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from microbleeds.errors import UserError
from microbleeds.report.files import (
    number,
    optional_number,
    read_table,
    write_json,
    write_table,
    write_text,
)


@dataclass(frozen=True)
class Inner:
    radii: tuple[float, ...]
    path: Path


def test_json_of_dataclasses_and_numpy(tmp_path):
    content = {
        "inner": Inner((1.0, 2.5), Path("a/b")),
        "array": np.arange(3, dtype=np.int16),
        "value": np.float32(0.5),
        "missing": [float("nan"), np.inf],
    }
    write_json(tmp_path / "new" / "x.json", content)
    assert json.loads((tmp_path / "new" / "x.json").read_text()) == {
        "inner": {"radii": [1.0, 2.5], "path": str(Path("a/b"))},
        "array": [0, 1, 2],
        "value": 0.5,
        "missing": [None, None],
    }


def test_a_failed_write_leaves_the_old_file(tmp_path):
    path = tmp_path / "x.json"
    write_text(path, "old")
    with pytest.raises(TypeError):
        write_json(path, {"x": object()})
    assert path.read_text() == "old" and list(tmp_path.iterdir()) == [path]


def test_a_folder_that_cannot_be_written(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="cannot be written"):
        write_text(tmp_path / "file" / "x.tsv", "text")


def test_a_table_there_and_back(tmp_path):
    path = tmp_path / "x.tsv"
    write_table(path, [{"a": None, "b": 1 / 3}, {"a": "two words", "b": np.inf}], ["a", "b"])
    assert path.read_text() == "a\tb\nn/a\t0.333333\ntwo words\tn/a\n"
    rows = read_table(path, ["b"])
    assert number(rows[0], "b", path) == pytest.approx(1 / 3, abs=1e-6)
    assert optional_number(rows[1], "b", path) is None
    with pytest.raises(UserError, match=r"'two words' in column 'a'; a number is needed"):
        number(rows[1], "a", path)


def test_spreadsheet_csv_with_byte_order_mark_and_empty_cells(tmp_path):
    path = tmp_path / "x.csv"
    path.write_bytes("﻿subject,i\r\none,\r\n".encode())
    assert read_table(path, ["subject"]) == [{"subject": "one", "i": "n/a"}]


def test_a_missing_column_is_named(tmp_path):
    path = tmp_path / "x.csv"
    path.write_text("subject;i\none;3\n")
    with pytest.raises(UserError, match="no column 'subject'; it needs the columns subject, i"):
        read_table(path, ["subject", "i"])


def test_a_name_that_is_not_utf8_is_escaped_and_read_back(tmp_path):
    name = os.fsdecode(b"M\xfcller.nii.gz")
    write_json(tmp_path / "x.json", {"source": Path(name)})
    assert json.loads((tmp_path / "x.json").read_text("utf-8")) == {"source": name}
    write_table(tmp_path / "x.tsv", [{"scan": name}], ["scan"])
    assert read_table(tmp_path / "x.tsv", ["scan"]) == [{"scan": "M\\udcfcller.nii.gz"}]


def test_a_cell_too_long_for_a_table(tmp_path):
    path = tmp_path / "x.tsv"
    for text in ("a" * 200_000, f"a\n{'b' * 200_000}\n"):
        path.write_text(text)
        with pytest.raises(UserError, match="cannot be read as a table"):
            read_table(path, ["a"])


@pytest.mark.parametrize("content", [None, b"\xff\xfe\x00\x01"])
def test_no_table_at_all(tmp_path, content):
    path = tmp_path / "x.tsv"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UserError, match="cannot be read as a table"):
        read_table(path, ["a"])
