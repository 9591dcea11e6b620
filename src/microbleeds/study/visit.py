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
from microbleeds.models.card import read_card
from microbleeds.models.zoo import BRAIN_MODEL, WEIGHTS, Models
from microbleeds.report.saved import read_result, records_below
from microbleeds.scan import Scan
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
    records = records_below(source)
    if len(records) > 1:
        names = ", ".join(record.name for record in records[:3])
        raise UserError(
            f"{source} holds the results of {len(records)} scans ({names} ...); name the one that "
            "is meant by its JSON record."
        )
    return records[0] if records else None


def disagreement(
    record: Mapping[str, Any], models: Models, settings: Settings, series: str | None = None
) -> str:
    """Why results cannot be used, in words; empty when they can.

    The threshold of step 2 and the rules of step 3 may differ: they are applied anew. series: of
    a DICOM folder, where one is asked for.
    """
    brain = record["brain_mask"]
    own_mask = isinstance(brain, str)
    if record["model"].get("files") != models.card.files or not (
        own_mask or brain.get("files") == read_card(WEIGHTS / BRAIN_MODEL).files
    ):
        return "it was made with other networks"
    if series is not None and series != record["series"]:
        return f"it does not say that it is of series {series}"
    wanted, had = (_of_networks(made) for made in (asdict(settings), record["settings"]))
    return "" if wanted == had else "it was made with other settings"


def _of_networks(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings that decide which candidates there are and how probable, as JSON has them."""
    plain = json.loads(json.dumps(settings))
    rated = {k: v for k, v in plain["discriminate"].items() if k != "threshold"}
    return {"prepare": plain["prepare"], "candidates": plain["candidates"], "rated": rated}


def read_visit(path: Path, settings: Settings) -> Visit:
    """The visit that a record is of, from the files beside it, judged by the settings.

    Raises UserError when one is missing or does not belong to the others.
    """
    saved = read_result(path)
    judged = judge_again(saved.candidates, settings.discriminate.threshold, settings.clean_up)
    return Visit(saved.scan, saved.brain, judged, path, saved.record)
