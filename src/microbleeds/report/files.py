"""Tables (TSV, BIDS style: `n/a` for a missing value) and JSON, written all or not at all."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, is_dataclass
from pathlib import Path
from typing import Any

import numpy as np

from microbleeds.errors import UserError
from microbleeds.files import whole_file

MISSING = "n/a"


def write_text(path: Path, text: str) -> None:
    """Write text all or not at all. Raises UserError if it cannot be written.

    What is not UTF-8 in a file's name becomes an escape such as \\udcfc, which JSON reads back.
    """
    with whole_file(path) as temporary:
        temporary.write_text(text, encoding="utf-8", errors="backslashreplace")


def write_json(path: Path, content: Any) -> None:
    """Dataclasses, NumPy values and paths as JSON; values that are not finite become null."""
    write_text(path, json.dumps(_plain(content), indent=2, ensure_ascii=False) + "\n")


def write_table(path: Path, rows: Iterable[Mapping[str, Any]], columns: Sequence[str]) -> None:
    """Rows as tab-separated values under `columns`, each written as it comes."""
    with (
        whole_file(path) as temporary,
        temporary.open("w", encoding="utf-8", errors="backslashreplace", newline="") as file,
    ):
        writer = csv.writer(file, delimiter="\t", lineterminator="\n")
        writer.writerow(columns)
        writer.writerows([_cell(row[column]) for column in columns] for row in rows)


def read_table(path: Path, columns: Sequence[str]) -> list[dict[str, str]]:
    """Rows of a CSV (`.csv`) or TSV file as text, empty cells as `n/a`.

    Raises UserError when the file cannot be read or lacks one of `columns`.
    """
    try:
        reader = csv.DictReader(
            io.StringIO(path.read_text(encoding="utf-8-sig")),
            delimiter="," if path.suffix.lower() == ".csv" else "\t",
        )
        names, rows = reader.fieldnames or (), list(reader)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{path} cannot be read as a table; give a CSV or TSV file.") from error
    missing = [column for column in columns if column not in names]
    if missing:
        raise UserError(
            f"{path} has no column {missing[0]!r}; it needs the columns {', '.join(columns)}."
        )
    return [{name: value or MISSING for name, value in row.items() if name} for row in rows]


def number(row: Mapping[str, str], column: str, path: Path) -> float:
    """A cell of `path` as a finite number. Raises UserError when it is none."""
    try:
        value = float(row[column])
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise UserError(f"{path} has {row[column]!r} in column {column!r}; a number is needed.")
    return value


def optional_number(row: Mapping[str, str], column: str, path: Path) -> float | None:
    """The same, None for `n/a`."""
    return None if row[column] == MISSING else number(row, column, path)


def _cell(value: Any) -> str:
    if value is None or value == "" or (isinstance(value, float) and not math.isfinite(value)):
        return MISSING
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _plain(value: Any) -> Any:
    if is_dataclass(value) and not isinstance(value, type):
        return _plain(asdict(value))
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, np.ndarray | np.generic):
        return _plain(value.tolist())
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
