"""From a folder of results to tables, a page and a record: one pass, in the order of the paths."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import microbleeds
from microbleeds.errors import UserError
from microbleeds.report.bids import REPORT
from microbleeds.report.dataset import described
from microbleeds.report.files import write_json, write_table, write_text
from microbleeds.report.results import RESEARCH_USE
from microbleeds.study.group_files import FailedScan, FolderContent, folder_content
from microbleeds.study.group_page import render
from microbleeds.study.group_row import read_row
from microbleeds.study.group_table import COLUMNS, FAILURE_COLUMNS, cells
from microbleeds.study.group_tally import Names, Tally

# no result of a scan can have these names, all of which end otherwise
TABLE, FAILED, PAGE, PROVENANCE = "group.tsv", "failures.tsv", "group.html", "group_provenance.json"
_COMPARABLE = {  # what must be the same for counts to be comparable, and its plural
    "version": "versions of microbleeds",
    "model": "models",
    "brain mask": "kinds of brain mask",
    "settings": "sets of settings",
}


@dataclass(frozen=True)
class GroupSummary:
    """How many scans have results, how many failed, and the files that say more."""

    scans: int
    failed: int
    table: Path
    page: Path
    provenance: Path


def write_group(out: Path) -> GroupSummary:
    """Tables of all results and failures in a folder and those below, a page, and a record.

    A result that cannot be used becomes a failure. Memory does not grow with the scans.
    Raises UserError when the folder holds neither results nor failures, or cannot be written to.
    """
    table, page, provenance = (out / name for name in (TABLE, PAGE, PROVENANCE))
    tally = Tally()
    with folder_content(out) as content:
        if content.is_empty():
            raise UserError(
                f"{out} holds no results of detect (no file *_cmb.json) and no failures; give the "
                "folder that detect or cohort wrote."
            )
        write_table(table, _rows(content, tally), tuple(COLUMNS))
        write_table(out / FAILED, _failed(content, tally), FAILURE_COLUMNS)
        write_json(table.with_suffix(".json"), described(COLUMNS))
        warnings = mixed(tally.made)
        write_text(page, render(out, tally, content.failures(), warnings))
    write_json(provenance, record(tally, warnings))
    return GroupSummary(tally.every.scans, tally.failed.total, table, page, provenance)


def mixed(made: Mapping[str, Names]) -> list[str]:
    """A warning for each thing that differs between results and makes counts differ."""
    return [
        f"{made[part].different} different {plural} are mixed in this folder, so counts may not be "
        "comparable"
        for part, plural in _COMPARABLE.items()
        if part in made and made[part].different != "1"
    ]


def record(tally: Tally, warnings: list[str]) -> dict[str, Any]:
    """What the group level says of itself: numbers, what made the results, version, notice."""
    return {
        "scans": tally.every.scans,
        "failed": tally.failed.total,
        "contrasts": {name: counts.scans for name, counts in sorted(tally.contrasts.items())},
        "warnings": warnings,
        "results_made_with": {part: _seen(part, names) for part, names in tally.made.items()},
        "version": microbleeds.__version__,
        "notice": RESEARCH_USE,
    }


def _seen(part: str, names: Names) -> dict[str, Any]:
    scans = [{"scans": number, part: json.loads(name)} for name, number in names.counts.items()]
    return {"different": names.different, "seen": scans}


def _rows(content: FolderContent, tally: Tally) -> Iterator[dict[str, Any]]:
    """The rows of the table, counted as they pass; what cannot be used goes to the failures."""
    for path in content.records():
        try:
            row = read_row(content.out, path)
        except UserError as error:
            sentence = str(error).replace(f"{content.out}{os.sep}", "")  # wherever the folder lies
            content.add_failure(FailedScan(path.stem.removesuffix(REPORT), "", "", sentence))
            continue
        tally.add(row)
        yield cells(row)


def _failed(content: FolderContent, tally: Tally) -> Iterator[dict[str, str]]:
    for failure in content.failures():
        tally.failed.add(failure.contrast)
        yield asdict(failure)
