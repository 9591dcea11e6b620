"""The table of training images: a CSV of images and what is in them."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, cast, get_args

import numpy as np

from microbleeds.errors import UserError
from microbleeds.report.files import MISSING
from microbleeds.report.files import read_table as read_cells
from microbleeds.settings import Contrast

REQUIRED = ("image", "label")


@dataclass(frozen=True)
class Row:
    """One image. label: microbleeds, 1 or one number each. mask: brain, None to compute it.

    unrated: not 0 in what is neither taught as a microbleed nor as none, if there is such.
    """

    image: Path
    label: Path
    contrast: Contrast | Literal["auto"]
    mask: Path | None
    subject: str
    unrated: Path | None = None


def read_table(path: Path) -> tuple[Row, ...]:
    """Rows of a CSV with the columns image, label and, if need be, the others of `Row`.

    Relative paths start at the table. An empty contrast is found out from the image, an empty
    subject from its name. Raises UserError on a missing table, column or file.
    """
    lines = read_cells(path, REQUIRED)
    if not lines:
        raise UserError(f"The table {path} has no rows; add a line for every training image.")
    return tuple(_row(line, number, path) for number, line in enumerate(lines, start=2))


def subject_of(file: Path) -> str:
    """Whom a file is of when the table does not say: `sub-<label>` as BIDS has it, else its name.

    All contrasts and sessions of a person are one subject that way.
    """
    name = file.name.split(".")[0]
    found = re.match(r"(sub-[^_]+)_", name)
    return found[1] if found else name


def in_turn(rows: Sequence[Row]) -> tuple[Row, ...]:
    """The rows so ordered that each contrast comes up in turn, however the table is sorted."""
    seen: Counter[str] = Counter()
    turns = []
    for row in rows:
        turns.append(seen[row.contrast])
        seen[row.contrast] += 1
    return tuple(rows[number] for number in np.argsort(turns, kind="stable"))


def split_subjects(
    rows: Sequence[Row], fraction: float, seed: int
) -> tuple[tuple[Row, ...], tuple[Row, ...]]:
    """Rows to learn from and rows to validate on; no subject is in both.

    fraction: of the subjects, at least one, goes to validation.
    Raises UserError when there is only one subject.
    """
    train, held_out = folds(rows, max(2, round(1 / fraction)), seed)[0]
    return train, held_out


def folds(
    rows: Sequence[Row], count: int, seed: int
) -> tuple[tuple[tuple[Row, ...], tuple[Row, ...]], ...]:
    """Split by subject `count` times into (others, held out); every subject is held out once.

    Fewer subjects than folds give as many folds as subjects. Raises UserError on one subject.
    """
    subjects = np.array(sorted({row.subject for row in rows}))
    if len(subjects) < 2:
        raise UserError(
            f"The table has one subject only ({subjects[0]}); at least two are needed, one of "
            "them to validate on."
        )
    shuffled = np.random.default_rng(seed).permutation(subjects)
    return tuple(
        (
            tuple(row for row in rows if row.subject not in part),
            tuple(row for row in rows if row.subject in part),
        )
        for part in np.array_split(shuffled, min(count, len(subjects)))
    )


def _row(line: dict[str, str], number: int, table: Path) -> Row:
    where = f"Line {number} of {table}"
    cells = {column: text.strip() for column, text in line.items() if text.strip() != MISSING}
    for column in REQUIRED:
        if not cells.get(column):
            raise UserError(f"{where} has no {column}; every row needs an image and its label.")
    files: dict[str, Path] = {}
    for column in ("image", "label", "mask", "unrated"):
        if not cells.get(column):
            continue
        files[column] = table.parent / cells[column]
        if not files[column].is_file():
            raise UserError(f"{where} names the {column} {files[column]}, which does not exist.")
    contrast = cells.get("contrast") or "auto"
    if contrast not in (*get_args(Contrast), "auto"):
        raise UserError(
            f"{where} has the contrast {contrast!r}; it must be t2star, swi, qsm or empty."
        )
    return Row(
        image=files["image"],
        label=files["label"],
        contrast=cast(Contrast, contrast),
        mask=files.get("mask"),
        subject=cells.get("subject") or subject_of(files["image"]),
        unrated=files.get("unrated"),
    )
