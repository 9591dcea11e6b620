"""Everything that `compare` writes: table, page and record."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import microbleeds
from microbleeds.models.zoo import Models
from microbleeds.report.files import write_json, write_table, write_text
from microbleeds.report.results import RESEARCH_USE
from microbleeds.settings import Settings
from microbleeds.steps import Candidate
from microbleeds.study.compare import Comparison, ComparisonPaths
from microbleeds.study.longitudinal import Change, aria_h, counts
from microbleeds.study.page import render
from microbleeds.study.visit import Visit

_MEASURES: dict[str, Callable[[Candidate], float]] = {
    "x": lambda row: row.xyz_mm[0],
    "y": lambda row: row.xyz_mm[1],
    "z": lambda row: row.xyz_mm[2],
    "diameter_mm": lambda row: row.diameter_mm,
    "probability": lambda row: row.probability,
}
_VISITS = ("baseline", "follow_up")
COLUMNS = (
    "index", "status", "distance_mm",
    *(f"{visit}_{name}" for visit in _VISITS for name in ("index", *_MEASURES)), "note",
)  # fmt: skip


def write_comparison(
    found: Comparison, models: Models, settings: Settings, paths: ComparisonPaths
) -> None:
    """Table, page and record; the record comes last, so where it is, all is.

    Raises UserError when a file cannot be written.
    """
    content = record(found, models, settings)
    paths.record.unlink(missing_ok=True)  # of an earlier run: it must not stand for half of this
    write_changes(paths.table, found.changes)
    write_text(paths.page, render(found, content))
    write_json(paths.record, content)


def write_changes(path: Path, changes: Sequence[Change]) -> None:
    """One microbleed a row.

    `baseline_index`, `follow_up_index`: its number in that visit's table of candidates; `x y z`:
    centre in that scan's own mm (RAS+). `distance_mm`: between the two after registration.
    """
    write_table(path, [_row(change) for change in changes], COLUMNS)


def record(found: Comparison, models: Models, settings: Settings) -> dict[str, Any]:
    """What the comparison says of itself: counts, quality, settings, versions, timings."""
    number, registered = counts(found.changes), found.registration
    return {
        **{name.replace(" ", "_"): count for name, count in number.items()},
        "aria_h_class_of_new": aria_h(number["new"]),
        "warnings": list(found.warnings),
        "registration": {
            "brain_overlap_dice": round(registered.overlap, 4),
            "detail_correlation": round(registered.similarity, 4),
            "common_share_of_smaller_brain": round(registered.common, 4),
            "turn_deg": round(registered.turn_deg, 2),
            "baseline_mm_to_follow_up_mm": registered.matrix,
        },
        "rules": asdict(found.rules),
        "baseline": _said(found.baseline),
        "follow_up": _said(found.follow_up),
        "model": {"name": models.card.name, "files": models.card.files},
        "settings": asdict(settings),
        "seconds": found.seconds,
        "version": microbleeds.__version__,
        "notice": RESEARCH_USE,
    }


def _said(visit: Visit) -> dict[str, Any]:
    names = ("source", "contrast", "voxel_mm", "warnings", "notes", "version")
    said = {name: visit.record.get(name) for name in names}
    kept = sum(row.kept for row in visit.table)
    return {
        "scan": visit.scan.name, "record": str(visit.record_path), "microbleeds": kept, **said,
    }  # fmt: skip


def _row(change: Change) -> Mapping[str, Any]:
    row: dict[str, Any] = {
        "index": change.number,
        "status": change.status,
        "distance_mm": change.distance_mm,
        "note": change.note,
    }
    for visit in _VISITS:
        candidate: Candidate | None = getattr(change, visit)
        row[f"{visit}_index"] = candidate and candidate.index
        for name, value in _MEASURES.items():
            row[f"{visit}_{name}"] = candidate and value(candidate)
    return row
