"""The tables of microbleeds and of candidates, and the way back from file to rows."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from microbleeds.report.files import MISSING, number, optional_number, read_table, write_table
from microbleeds.settings import CleanUpSettings
from microbleeds.steps import Candidate
from microbleeds.steps.cleanup import judge_again

_MEASURES = {
    "volume_mm3": "volume_mm3",
    "equivalent_diameter_mm": "diameter_mm",
    "elongation": "elongation",
    "edge_distance_mm": "edge_mm",
    "detector_probability": "detector_probability",
    "student_probability": "student_probability",
    "probability": "probability",
    "region": "region",
    "side": "side",
}
DETECTION_COLUMNS = ("index", "x", "y", "z", "i", "j", "k", *_MEASURES)
CANDIDATE_COLUMNS = (*DETECTION_COLUMNS, "reason")


def write_detections(path: Path, table: Sequence[Candidate], affine: NDArray[np.float64]) -> None:
    """The kept candidates, one a row.

    `x y z`: centre in scanner mm (RAS+). `i j k`: the scan's voxel there, from 0, by the scan's
    `affine`. `equivalent_diameter_mm`: of the sphere of equal volume. `edge_distance_mm`: from
    the centre to the brain's edge. `probability`: of steps 1 and 2 together. `region`, `side`: of
    the Microbleed Anatomical Rating Scale. BIDS wants a `name` for every index.
    """
    rows = [
        _row(candidate, affine) | {"name": f"microbleed {candidate.index}"}
        for candidate in table
        if candidate.kept
    ]
    write_table(path, rows, ("index", "name", *DETECTION_COLUMNS[1:]))


def write_candidates(path: Path, table: Sequence[Candidate], affine: NDArray[np.float64]) -> None:
    """All candidates; `reason` says why one was dropped, `n/a` that it was kept."""
    write_table(path, [_row(candidate, affine) for candidate in table], CANDIDATE_COLUMNS)


def read_candidates(path: Path) -> tuple[Candidate, ...]:
    """The rows of either table. Raises UserError when a column or a number is missing."""
    return tuple(_candidate(row, path) for row in read_table(path, DETECTION_COLUMNS))


def voxel_at(
    xyz_mm: tuple[float, float, float], affine: NDArray[np.float64]
) -> tuple[int, int, int]:
    """The voxel, from 0, at a point in the scanner."""
    i, j, k = np.rint(np.linalg.solve(affine, [*xyz_mm, 1.0])[:3]).astype(int).tolist()
    return i, j, k


def clean_up_table(
    source: Path, target: Path, student_threshold: float | None, settings: CleanUpSettings
) -> tuple[Candidate, ...]:
    """`judge_again` on the candidates written in `source`; the result goes to `target`.

    Raises UserError when `source` is no table of candidates or `target` cannot be written.
    """
    rows = read_table(source, CANDIDATE_COLUMNS)
    table = judge_again([_candidate(row, source) for row in rows], student_threshold, settings)
    judged = [
        row | {"reason": candidate.reason} for row, candidate in zip(rows, table, strict=True)
    ]
    write_table(target, judged, CANDIDATE_COLUMNS)
    return table


def _row(candidate: Candidate, affine: NDArray[np.float64]) -> dict[str, object]:
    return {
        "index": candidate.index,
        **dict(zip("xyz", candidate.xyz_mm, strict=True)),
        **dict(zip("ijk", voxel_at(candidate.xyz_mm, affine), strict=True)),
        **{column: getattr(candidate, name) for column, name in _MEASURES.items()},
        "reason": candidate.reason,
    }


def _candidate(row: dict[str, str], path: Path) -> Candidate:
    def value(column: str) -> float:
        return number(row, column, path)

    edge_mm = optional_number(row, "edge_distance_mm", path)
    student = optional_number(row, "student_probability", path)
    return Candidate(
        index=int(value("index")),
        xyz_mm=(value("x"), value("y"), value("z")),
        volume_mm3=value("volume_mm3"),
        diameter_mm=value("equivalent_diameter_mm"),
        elongation=value("elongation"),
        edge_mm=math.inf if edge_mm is None else edge_mm,
        detector_probability=value("detector_probability"),
        student_probability=student,
        joint_probability=None if student is None else value("probability"),
        reason=_text(row, "reason"),
        region=_text(row, "region"),
        side=_text(row, "side"),
    )


def _text(row: dict[str, str], column: str) -> str:
    """A cell, empty when it is missing."""
    cell = row.get(column, MISSING)
    return "" if cell == MISSING else cell
