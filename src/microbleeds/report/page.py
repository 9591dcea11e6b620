"""One self-contained HTML page for a scan's results, made from the files that `detect` wrote."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import microbleeds
from microbleeds.report.box import box_around
from microbleeds.report.burden import BURDEN_SOURCE, burden_class
from microbleeds.report.closeups import close_ups, slice_with_ring
from microbleeds.report.files import write_text
from microbleeds.report.html import CONTRASTS, fill_template, flat
from microbleeds.report.montage import mask_montage
from microbleeds.report.projection import projections
from microbleeds.report.results import RESEARCH_USE
from microbleeds.report.saved import SavedResult, read_result
from microbleeds.report.table import voxel_at
from microbleeds.report.unusual import compare
from microbleeds.report.view import PLANES, SIDE_MM, turned_to_ras
from microbleeds.scan import Scan
from microbleeds.steps import Candidate

_NEARLY = 6  # dropped candidates that are shown


def write_page(record_path: Path, scan: Scan | Path | None = None) -> Path:
    """Write the page of one result beside its JSON record; returns where.

    scan: the scan the results are of, or its file; None reads the one that the record names.
    Raises UserError when a file or the scan is missing or does not belong to the others.
    """
    result = read_result(record_path, scan)
    write_text(result.paths.page, page_html(result))
    return result.paths.page


def page_html(result: SavedResult) -> str:
    """The page: no script, nothing loaded from elsewhere, pictures inside."""
    content = {**_answer(result), **_pictures(result), **_making(result)}
    return fill_template("page.html", content)


def _answer(result: SavedResult) -> dict[str, Any]:
    """The count, how sure it is, and what to know of it."""
    record, count = result.record, len(result.microbleeds)
    return {
        "name": result.scan.name,
        "record": record,
        "count": count,
        "burden": record.get("burden") or burden_class(count),
        "burden_source": BURDEN_SOURCE,
        "pattern": record.get("pattern"),
        "contrast": CONTRASTS[record["contrast"]],
        "voxel": " × ".join(f"{mm:.2f}" for mm in record["voxel_mm"]),
        "best": max((row.probability for row in result.candidates), default=None),
        "candidates": len(result.candidates),
        "threshold": record["settings"]["discriminate"]["threshold"],
    }


def _pictures(result: SavedResult) -> dict[str, Any]:
    """Everything drawn, and the numbers beside it."""
    view = turned_to_ras(result.scan, result.brain)
    plane = view.plane
    box = box_around(view.outline(plane), view.spacing[list(plane.across)])
    dropped = sorted(
        (row for row in result.candidates if not row.kept), key=lambda row: -row.probability
    )

    def shown(row: Candidate, kind: str) -> dict[str, Any]:
        name = f"{kind} {row.index}"
        return {
            "row": row,
            "place": ", ".join(f"{mm:.1f}".replace("-", "−") for mm in row.xyz_mm),
            "voxel": ", ".join(map(str, voxel_at(row.xyz_mm, result.scan.affine))),
            "region": result.regions.get(row.index, "") if row.kept else "",
            "slice": slice_with_ring(view, row, box, name),
            "close_ups": close_ups(view, row, name),
        }

    return {
        "planes": [plane.name for plane in PLANES],
        "own_plane": plane.name,
        "slice_aspect": box.width / box.height,
        "side_mm": SIDE_MM,
        "projections": projections(view, result.microbleeds, result.scan.contrast == "qsm"),
        "bleeds": [shown(row, "microbleed") for row in result.microbleeds],
        "has_regions": bool(result.regions),
        "nearly": [shown(row, "candidate") for row in dropped[:_NEARLY]],
        "montage": mask_montage(view, box),
    }


def _making(result: SavedResult) -> dict[str, Any]:
    """What the result depends on."""
    record = result.record
    own_mask = isinstance(record["brain_mask"], str)
    models = (record["model"], record["brain_mask"], record["region_model"])
    return {
        "comparison": compare(result.traits, record["contrast"]) if result.traits else (),
        "settings": list(flat(record["settings"])),
        "models": [model for model in models if isinstance(model, dict)],
        "own_mask": own_mask,
        "page_version": microbleeds.__version__,
        "research_use": RESEARCH_USE,
    }
