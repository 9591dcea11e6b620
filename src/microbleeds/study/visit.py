"""One visit ready to be compared: its scan, its brain, and what detect found, or finds now."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from microbleeds.errors import UserError
from microbleeds.models.zoo import Models
from microbleeds.report.bids import REPORT, result_paths
from microbleeds.report.table import read_candidates
from microbleeds.scan import Scan, read_mask, read_scan
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


def find_record(source: Path) -> Path | None:
    """The record that `source` is or holds; None when it is a scan or a DICOM folder.

    Raises UserError when a folder holds the results of several scans.
    """
    if source.is_file() and source.suffix == ".json":
        return source
    if not source.is_dir():
        return None
    records = sorted(source.rglob(f"*{REPORT}.json"))
    if len(records) > 1:
        names = ", ".join(record.name for record in records[:3])
        raise UserError(
            f"{source} holds the results of {len(records)} scans ({names} ...); name the one that "
            "is meant by its JSON record."
        )
    return records[0] if records else None


def read_record(path: Path) -> dict[str, Any]:
    """What detect wrote about a scan. Raises UserError when the file is no such record."""
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"{path} is no readable JSON; give a record that detect wrote.") from error
    needed = ("source", "contrast", "model", "settings", "microbleeds")
    parts = ("prepare", "candidates", "discriminate")
    if (
        not isinstance(record, dict)
        or any(name not in record for name in needed)
        or any(part not in record["settings"] for part in parts)
    ):
        raise UserError(
            f"{path} is no record of detect (it lacks one of {', '.join(needed)}); give the file "
            f"that ends in {REPORT}.json, its folder, or the scan itself."
        )
    return record


def disagreement(record: Mapping[str, Any], models: Models, settings: Settings) -> str:
    """Why results cannot be used, in words; empty when they can.

    The threshold of step 2 and the rules of step 3 may differ: they are applied anew.
    """
    if record["model"].get("files") != models.card.files:
        return "it was made with other networks"
    wanted, had = (_of_networks(made) for made in (asdict(settings), record["settings"]))
    return "" if wanted == had else "it was made with other settings"


def _of_networks(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings that decide which candidates there are and how probable, as JSON has them."""
    plain = json.loads(json.dumps(settings))
    rated = {k: v for k, v in plain["discriminate"].items() if k != "threshold"}
    return {"prepare": plain["prepare"], "candidates": plain["candidates"], "rated": rated}


def source_of(path: Path, record: Mapping[str, Any]) -> Path:
    """The scan that a record is of. Raises UserError when it is gone."""
    source = Path(record["source"])
    if not source.exists():
        raise UserError(
            f"The scan {source} of {path.name} is not there any more, and comparing needs its "
            "image; put it back, or give the scan instead of its results."
        )
    return source


def read_visit(path: Path, settings: Settings) -> Visit:
    """The visit that a record is of, from the files beside it, judged by the settings.

    Raises UserError when one is missing or does not belong to the others.
    """
    record = read_record(path)
    paths = result_paths(path.name.removesuffix(f"{REPORT}.json"), path.parent)
    scan = read_scan(source_of(path, record), record["contrast"])
    table = read_candidates(paths.candidates)
    if sum(row.kept for row in table) != record["microbleeds"]:
        raise UserError(
            f"{paths.candidates} and {path.name} do not hold the same microbleeds, so one of them "
            "was changed; run detect again."
        )
    judged = judge_again(table, settings.discriminate.threshold, settings.clean_up)
    return Visit(scan, read_mask(paths.brain, scan), judged, path, record)
