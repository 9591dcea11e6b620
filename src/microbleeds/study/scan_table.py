"""The scans of a cohort from a table, read row by row."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import get_args

from microbleeds.errors import UserError
from microbleeds.report.bids import FAILURES, nifti_stem, stem_with_space
from microbleeds.run import ContrastChoice
from microbleeds.study.job import ScanJob

_MARKS = {".csv": ",", ".tsv": "\t"}
_PLAIN = re.compile(r"[^/\\.][^/\\]*")  # a name that can be a file or a folder
_CHOICES: dict[str, ContrastChoice] = {name: name for name in get_args(ContrastChoice)}


def table_scans(table: Path) -> Iterator[ScanJob]:
    """The scans of a CSV or TSV file with the column `image`, its rows in order.

    `contrast`, `mask`, `subject` and `name` may be given too; paths start at the table's folder.
    Raises UserError at once for a table that cannot be used.
    """
    if table.suffix.lower() not in _MARKS:
        raise UserError(
            f"{table} is no dataset; give a BIDS dataset, a folder of NIfTI files, or a table "
            "(.csv or .tsv) with a column 'image'."
        )
    _check_names(table)
    return _rows(table)


def _check_names(table: Path) -> None:
    """Raise UserError for a row that cannot be used, or two that would write the same files."""
    taken: dict[str, Path] = {}
    for job in _rows(table):
        place = str(job.folder / job.stem)
        if place in taken:
            raise UserError(
                f"{table}: the results of {taken[place]} and {job.source} would both be called "
                f"{place}; tell them apart by a column 'name' or 'subject'."
            )
        taken[place] = job.source


def _rows(table: Path) -> Iterator[ScanJob]:
    try:
        with table.open(encoding="utf-8-sig", newline="") as file:
            rows = csv.DictReader(file, delimiter=_MARKS[table.suffix.lower()])
            if "image" not in (rows.fieldnames or ()):
                raise UserError(f"{table} has no column 'image'; it names the scans, one a row.")
            for row in rows:
                cells = {name: value or "" for name, value in row.items() if name}
                yield _job(table, rows.line_num, cells)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{table} cannot be read as a table; give a CSV or TSV file.") from error


def _job(table: Path, line: int, row: dict[str, str]) -> ScanJob:
    """One row; paths are taken from the table's folder."""

    def cell(column: str) -> str:
        value = row.get(column, "").strip()
        return "" if value == "n/a" else value

    contrast = _CHOICES.get(cell("contrast") or "auto")
    if contrast is None:
        raise UserError(
            f"{table}, line {line}: contrast is {cell('contrast')!r}; one of "
            f"{', '.join(_CHOICES)} is needed."
        )
    if not cell("image"):
        raise UserError(f"{table}, line {line}: the cell of column 'image' is empty.")
    source = table.parent / cell("image")
    for text in (cell("subject"), cell("name")):
        if text and not _PLAIN.fullmatch(text):
            raise UserError(
                f"{table}, line {line}: {text!r} cannot be the name of a file; take out what "
                "separates folders and a point at the beginning."
            )
    if cell("subject") == FAILURES:
        raise UserError(
            f"{table}, line {line}: {FAILURES!r} is the folder of scans that fail; give the "
            "subject another name."
        )
    stem = cell("name") or stem_with_space(nifti_stem(source))
    mask = table.parent / cell("mask") if cell("mask") else None
    return ScanJob(source, contrast, PurePosixPath(cell("subject")), stem, mask)
