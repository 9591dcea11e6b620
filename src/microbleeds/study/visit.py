"""One visit ready to be compared: its scan, its brain, and what detect found, or finds now."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from microbleeds.errors import UserError
from microbleeds.models.card import read_card
from microbleeds.models.zoo import BRAIN_MODEL, WEIGHTS, Models
from microbleeds.report.bids import output_paths, plan_outputs, source_name
from microbleeds.report.saved import read_record, read_result, records_below, source_of
from microbleeds.run import ContrastChoice, check_sources
from microbleeds.scan import Scan, read_scan
from microbleeds.settings import Settings
from microbleeds.steps import Candidate
from microbleeds.steps.cleanup import judge_again


@dataclass(frozen=True)
class Visit:
    """A scan with its results.

    brain: bool on the scan's grid. table: all candidates, kept or dropped as this comparison asks.
    record: the JSON that detect wrote, and its content.
    """

    scan: Scan
    brain: NDArray[np.bool_]
    table: tuple[Candidate, ...]
    record_path: Path
    record: Mapping[str, Any]


@dataclass(frozen=True)
class VisitPlan:
    """How a visit is come by: from results, or else by detect with these options.

    folder: for the results. mask: the user's own brain mask. notes: what the user should know.
    visit: None where detect has to run.
    """

    source: Path
    folder: Path
    contrast: ContrastChoice
    series: str | None = None
    mask: Path | None = None
    notes: tuple[str, ...] = ()
    visit: Visit | None = None


def plan_visit(
    source: Path,
    folder: Path,
    models: Models,
    settings: Settings,
    contrast: ContrastChoice = "auto",
    series: str | None = None,
    overwrite: bool = False,
) -> VisitPlan:
    """A visit from results where they can be used, else what to detect; no network runs.

    Used are those that `source` is or holds, or, unless `overwrite`, what an earlier run left of
    the same scan in `folder`. Raises UserError when the scan is not there, results cannot be read
    or others are in the way in `folder`.
    """
    asked = VisitPlan(source, folder, contrast, series)
    record = find_record(source)
    if record is not None:
        content = read_record(record)
        why = disagreement(content, models, settings, series, contrast)
        if not why:
            return replace(asked, visit=read_visit(record, settings))
        asked = _anew(asked, record, content, why)
    for needed in (asked.source, asked.mask):
        if needed is not None and not needed.exists():
            raise UserError(f"There is no file {needed}; say where it is, or put it back.")
    check_sources([asked.source], asked.mask, asked.series)
    left = None if overwrite else _left_before(asked, models, settings)
    if left is None:
        plan_outputs([asked.source], folder, overwrite)
    return replace(asked, visit=left)


def find_record(source: Path) -> Path | None:
    """The record that `source` is or holds; None when it is a scan or a DICOM folder.

    Raises UserError when a folder holds the results of several scans.
    """
    if source.is_file() and source.suffix == ".json":
        return source
    if not source.is_dir():
        return None
    records = records_below(source)
    if len(records) > 1:
        names = ", ".join(record.name for record in records[:3])
        raise UserError(
            f"{source} holds the results of {len(records)} scans ({names} ...); name the one that "
            "is meant by its JSON record."
        )
    return records[0] if records else None


def disagreement(
    record: Mapping[str, Any],
    models: Models,
    settings: Settings,
    series: str | None = None,
    contrast: ContrastChoice = "auto",
) -> str:
    """Why results cannot be used, in words; empty when they can.

    The threshold of step 2 and the rules of step 3 may differ: they are applied anew. series: of
    a DICOM folder, and contrast: where one is asked for.
    """
    brain = record["brain_mask"]
    own_mask = isinstance(brain, str)
    if record["model"].get("files") != models.card.files or not (
        own_mask or brain.get("files") == read_card(WEIGHTS / BRAIN_MODEL).files
    ):
        return "it was made with other networks"
    if series is not None and series != record["series"]:
        return f"it does not say that it is of series {series}"
    if contrast not in ("auto", record["contrast"]):
        return f"it is of contrast {record['contrast']}, not {contrast}"
    wanted, had = (_of_networks(made) for made in (asdict(settings), record["settings"]))
    return "" if wanted == had else "it was made with other settings"


def _of_networks(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings that decide which candidates there are and how probable, as JSON has them."""
    plain = json.loads(json.dumps(settings))
    rated = {k: v for k, v in plain["discriminate"].items() if k != "threshold"}
    return {"prepare": plain["prepare"], "candidates": plain["candidates"], "rated": rated}


def read_visit(path: Path, settings: Settings, scan: Scan | None = None) -> Visit:
    """The visit that a record is of, from the files beside it, judged by the settings.

    scan: None reads the file that the record names. Raises UserError when a file is missing or
    does not belong to the others.
    """
    saved = read_result(path, scan)
    judged = judge_again(saved.candidates, settings.discriminate.threshold, settings.clean_up)
    return Visit(saved.scan, saved.brain, judged, path, saved.record)


def _anew(asked: VisitPlan, record: Path, content: Mapping[str, Any], why: str) -> VisitPlan:
    """What to detect instead of using results: their scan, as before where nothing else is asked.

    Raises UserError when the scan is gone.
    """
    return VisitPlan(
        source_of(record, content),
        asked.folder,
        content["contrast"] if asked.contrast == "auto" else asked.contrast,
        asked.series or content["series"],
        _own_mask(content),
        (f"{record.name} was not used, since {why}; the scan was detected anew",),
    )


def _left_before(asked: VisitPlan, models: Models, settings: Settings) -> Visit | None:
    """The visit from what an earlier run left in the folder; None unless that is what is asked.

    Raises UserError when the scan cannot be read.
    """
    record = output_paths(source_name(asked.source), asked.folder).report
    if not record.is_file():
        return None
    scan = read_scan(asked.source, asked.contrast, asked.series)
    try:
        content = read_record(record)
        why = disagreement(content, models, settings, asked.series, scan.contrast)
        same = not why and _own_mask(content) == asked.mask
        return read_visit(record, settings, scan) if same else None
    except UserError:  # of another scan, or not whole: the user is told that it is in the way
        return None


def _own_mask(record: Mapping[str, Any]) -> Path | None:
    """The user's own brain mask, if there was one."""
    mask = record["brain_mask"]
    return Path(mask) if isinstance(mask, str) else None
