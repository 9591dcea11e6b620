"""The results that `detect` wrote for a scan, read back from their files."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import microbleeds
from microbleeds.errors import UserError
from microbleeds.prepare.traits import Traits
from microbleeds.report.bids import REPORT, OutputPaths, result_paths
from microbleeds.report.check import NEEDED, misfit
from microbleeds.report.files import MISSING, number, read_table
from microbleeds.report.results import scan_checksum
from microbleeds.report.table import read_candidates
from microbleeds.scan import Scan, read_mask, read_scan
from microbleeds.steps import Candidate


@dataclass(frozen=True)
class SavedResult:
    """What a report is made of.

    record: the JSON record. candidates: kept ones first. regions: by the number of a microbleed,
    side and region in words, for those whose table says so. traits: None where not measured.
    """

    paths: OutputPaths
    record: Mapping[str, Any]
    scan: Scan
    brain: NDArray[np.bool_]
    candidates: tuple[Candidate, ...]
    regions: Mapping[int, str]
    traits: Traits | None

    @property
    def microbleeds(self) -> tuple[Candidate, ...]:
        """The candidates that were kept."""
        return tuple(row for row in self.candidates if row.kept)


def find_records(where: Path) -> tuple[Path, ...]:
    """The JSON records in a results folder and those below, or the one that is named itself.

    Raises UserError when there is none.
    """
    if where.is_file():
        if not where.name.endswith(f"{REPORT}.json"):
            raise UserError(
                f"{where} is no record of results; give the folder that detect wrote, or a file "
                f"in it whose name ends in {REPORT}.json."
            )
        return (where,)
    if not where.is_dir():
        raise UserError(f"There is no folder {where}; give the folder that detect wrote.")
    records = records_below(where)
    if not records:
        raise UserError(
            f"{where} holds no results (no file *{REPORT}.json); give the folder that detect wrote."
        )
    return records


def records_below(folder: Path) -> tuple[Path, ...]:
    """The JSON records in a folder and those below, in order of their paths; perhaps none.

    Hidden files and folders are left out.
    """

    def hidden(path: Path) -> bool:  # such as what a cohort that was killed left behind
        return any(part.startswith(".") for part in path.relative_to(folder).parts)

    return tuple(sorted(path for path in folder.rglob(f"*{REPORT}.json") if not hidden(path)))


def read_result(record_path: Path, scan: Scan | Path | None = None) -> SavedResult:
    """The results that belong to a JSON record.

    scan: the scan they are of, or its file; None reads the file that the record names.
    Raises UserError when a file is missing, of another version or at odds with the others, and
    when the scan is gone or is another.
    """
    record = read_record(record_path)
    paths = result_paths(record_path.name.removesuffix(f"{REPORT}.json"), record_path.parent)
    for path in (paths.table, paths.candidates, paths.brain):
        if not path.is_file():
            raise UserError(f"{path} is missing, so the results are not whole; run detect again.")
    if not isinstance(scan, Scan):
        source = scan or source_of(record_path, record)
        scan = read_scan(source, record["contrast"], record["series"])
    if scan_checksum(scan) != record["scan_sha256"]:
        raise UserError(
            f"{scan.name} is not the scan that the results of {record_path.name} are of (its "
            "voxels or its place differ); name the right one with --scan, or run detect again."
        )
    candidates = read_candidates(paths.candidates)
    regions = _regions(paths.table)
    kept = {row.index for row in candidates if row.kept}
    if len(kept) != record["microbleeds"] or kept != set(regions):
        raise UserError(
            f"{paths.table}, {paths.candidates.name} and {record_path.name} do not name the same "
            "microbleeds, so one of them was changed; run detect again."
        )
    named = {index: words for index, words in regions.items() if words}
    brain, traits = read_mask(paths.brain, scan), _traits(record_path, record)
    return SavedResult(paths, record, scan, brain, candidates, named, traits)


def read_record(path: Path, needed: Sequence[str] | None = None) -> dict[str, Any]:
    """What detect wrote about a scan; needed: None for all that reading its results takes, checked.

    Raises UserError when it cannot be read, says nothing of what is needed, or says it in a form
    that detect does not write.
    """
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{path} cannot be read as JSON; run detect again.") from error
    if not isinstance(record, dict):
        raise UserError(f"{path} is no record of results; run detect again.")
    missing = [name for name in needed or NEEDED if name not in record]
    if missing:
        raise UserError(
            f"{path} was written by version {record.get('version', 'unknown')} and says nothing of "
            f"{missing[0]!r}, which version {microbleeds.__version__} reports; run detect again."
        )
    place = "" if needed else misfit(record)
    if place:
        raise UserError(f"{path} holds what detect does not write ({place}); run detect again.")
    return record


def source_of(record_path: Path, record: Mapping[str, Any]) -> Path:
    """The scan that a record is of. Raises UserError when it is gone."""
    source = Path(record["source"])
    if not source.exists():
        raise UserError(
            f"The scan {source}, which {record_path.name} is about, is not there any more; put it "
            "back (or, for `report`, say where it is with --scan)."
        )
    return source


def _traits(record_path: Path, record: Mapping[str, Any]) -> Traits | None:
    """What the scan is like, None where it was not measured."""
    try:
        return record["traits"] and Traits(**record["traits"])
    except TypeError as error:
        raise UserError(
            f"{record_path} describes the scan in other words than version "
            f"{microbleeds.__version__}; run detect again."
        ) from error


def _regions(table: Path) -> dict[int, str]:
    """Side and region of every microbleed of a table; empty where it does not say."""
    rows = read_table(table, ("index",))
    words = {}
    for row in rows:
        parts = [row.get(column, MISSING) for column in ("side", "region")]
        words[int(number(row, "index", table))] = " ".join(
            part for part in parts if part != MISSING
        )
    return words
