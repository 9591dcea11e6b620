"""The files of a results folder of any size, sorted with the same memory however many they are."""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from microbleeds.errors import UserError
from microbleeds.report.bids import FAILURES, REPORT
from microbleeds.study.group_row import one_line, printable


@dataclass(frozen=True)
class FailedScan:
    """A scan without results, and why. source: where it is; empty, as contrast, when not known."""

    name: str
    contrast: str
    source: str
    sentence: str


@dataclass(frozen=True)
class FolderContent:
    """What lies in a results folder, kept in a temporary database on disk."""

    out: Path
    database: sqlite3.Connection

    def records(self) -> Iterator[Path]:
        """The JSON records of `detect`, by path."""
        for (path,) in self.database.execute("SELECT path FROM record ORDER BY path"):
            yield self.out / os.fsdecode(path)

    def failures(self) -> Iterator[FailedScan]:
        """What failed, by name."""
        for cells in self.database.execute("SELECT * FROM failure ORDER BY 1, 2, 3, 4"):
            yield FailedScan(*cells)

    def is_empty(self) -> bool:
        """Whether there is neither a record nor a failure."""
        found = "SELECT EXISTS (SELECT 1 FROM record) OR EXISTS (SELECT 1 FROM failure)"
        return not self.database.execute(found).fetchone()[0]

    def add_record(self, path: Path) -> None:
        """Keep the path of a record."""
        self.database.execute(
            "INSERT INTO record VALUES (?)", (os.fsencode(path.relative_to(self.out)),)
        )

    def add_failure(self, failure: FailedScan) -> None:
        """Keep a failure."""
        place = printable(failure.name), one_line(failure.contrast), printable(failure.source)
        self.database.execute(
            "INSERT INTO failure VALUES (?, ?, ?, ?)", (*place, one_line(failure.sentence))
        )


@contextmanager
def folder_content(out: Path) -> Iterator[FolderContent]:
    """Everything in the folder and those below, but what is hidden and symbolic links.

    A folder that cannot be read becomes a failure. Raises UserError when there is no folder, or
    no room for the list of its files.
    """
    if not out.is_dir():
        raise UserError(f"There is no folder {out}; give the folder that detect or cohort wrote.")
    try:
        with closing(sqlite3.connect("")) as database:  # a file that goes with the connection
            database.execute("PRAGMA journal_mode = OFF")
            database.execute("CREATE TABLE record (path BLOB)")
            database.execute("CREATE TABLE failure (name, contrast, source, sentence)")
            content = FolderContent(out, database)
            for path in _files(content, out):
                if FAILURES in path.relative_to(out).parts[:-1]:  # of each cohort in here
                    content.add_failure(_read_failure(path))
                elif path.name.endswith(f"{REPORT}.json"):
                    content.add_record(path)
            yield content
    except sqlite3.Error as error:
        raise UserError(
            f"The list of the files in {out} cannot be kept ({error}); make room in the folder for "
            "temporary files, or name another with TMPDIR."
        ) from error


def _files(content: FolderContent, folder: Path) -> Iterator[Path]:
    """JSON files in any order: the folders themselves are too many to be sorted in memory."""
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.name.startswith(".") or entry.is_symlink():
                    continue
                if entry.is_dir(follow_symlinks=False):
                    yield from _files(content, Path(entry.path))
                elif entry.name.endswith(".json"):
                    yield Path(entry.path)
    except OSError as error:
        place = str(folder.relative_to(content.out))
        sentence = f"The folder cannot be read ({error.strerror}); what is in it was left out."
        content.add_failure(FailedScan(place, "", "", sentence))


def _read_failure(path: Path) -> FailedScan:
    """What a file says of a failed scan; a file that says nothing is a failure of its own."""
    try:
        said = json.loads(path.read_text(encoding="utf-8"))
        return FailedScan(
            path.stem, str(said["contrast"]), str(said["source"]), str(said["sentence"])
        )
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        sentence = f"{path} should say why the scan failed but cannot be read; run the scan again."
        return FailedScan(path.stem, "", "", sentence)
