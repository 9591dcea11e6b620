"""Detections in files against the truth in files: the `evaluate` command."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from nibabel.affines import apply_affine

from microbleeds.errors import UserError
from microbleeds.evaluate.lesions import Lesions, from_centres
from microbleeds.evaluate.matching import Finding, Findings, Policy, match
from microbleeds.evaluate.metrics import Summary, summarise
from microbleeds.evaluate.read import (
    find_lesion_files,
    read_centres,
    read_detections,
    read_true_labels,
)
from microbleeds.report.bids import stem_with_space
from microbleeds.report.files import write_json, write_table

_TELLING = ("run", "acq", "echo")  # entities of BIDS that tell two images of a session apart


@dataclass(frozen=True)
class Evaluation:
    """What was compared and how, all findings, and their figures."""

    predictions: Path
    truth: Path
    policy: Policy
    distance_mm: float
    smallest_mm3: float
    findings: Findings
    summary: Summary


def evaluate_folders(
    predictions: Path,
    truth: Path,
    policy: Policy = "valdo",
    distance_mm: float = 5.0,
    smallest_mm3: float = 0.0,
) -> Evaluation:
    """Findings and figures of `predictions` against `truth`.

    predictions: a folder of outputs of `detect`, of masks, or one such file. truth: a folder of
    label images, one image, or a table (CSV, TSV) with the columns subject and x, y, z (scanner
    mm) or i, j, k (voxels of the scan, from 0), see `read_centres`. Files belong together by name,
    see `pair_names`. policy, distance_mm, smallest_mm3: see `match`.
    Raises UserError when a file is missing, cannot be read, or has no counterpart, and when
    `smallest_mm3` needs volumes that a table does not have.
    """
    for path in (predictions, truth):
        if not path.exists():
            raise UserError(f"{path} does not exist; give a folder or a file.")
    files = find_lesion_files(predictions)
    true_names, true_lesions = _truth_reader(truth, smallest_mm3)
    table: list[Finding] = []
    pairs = pair_names(files, true_names)
    for name, true_name in pairs.items():
        predicted = read_detections(files[name])
        lesions = true_lesions(true_name, predicted)
        table += match(name, predicted, lesions, policy, distance_mm, smallest_mm3)
    findings = Findings(tuple(table), tuple(pairs))
    return Evaluation(
        predictions, truth, policy, distance_mm, smallest_mm3, findings, summarise(findings)
    )


def pair_names(predicted: Iterable[str], true: Iterable[str]) -> dict[str, str]:
    """The true name for each predicted one.

    The same name, as `detect` or as `cohort` writes it (`stem_with_space`); else one that begins
    with the other and `_`; else the same BIDS subject and session, and no other run, acquisition
    or echo. Raises UserError when a name has no counterpart or more than one.
    """
    predicted, true = list(predicted), list(true)
    pairs = {}
    for name in predicted:
        for same in (_equal, _begins, _one_subject):
            if found := [other for other in true if same(name, other)]:
                break
        if len(found) != 1:
            raise UserError(
                f"The detections of {name!r} match {len(found)} names in the truth "
                f"({', '.join(found or true[:3])}); exactly one is needed."
            )
        pairs[name] = found[0]
    for other in true:
        users = [name for name, found in pairs.items() if found == other]
        if len(users) != 1:
            raise UserError(
                f"The truth of {other!r} matches {len(users)} sets of detections "
                f"({', '.join(users or predicted[:3])}); exactly one is needed."
            )
    return pairs


def write_evaluation(evaluation: Evaluation, folder: Path) -> None:
    """`findings.tsv`, one finding a row, and `summary.json`, in `folder`."""
    columns = (
        "subject",
        "is_lesion",
        "detected",
        "confidence",
        "x",
        "y",
        "z",
        "distance_mm",
        "dice",
    )
    rows = [
        vars(finding) | dict(zip("xyz", finding.xyz_mm, strict=True))
        for finding in evaluation.findings.table
    ]
    write_table(folder / "findings.tsv", rows, columns)
    settings = {
        name: getattr(evaluation, name)
        for name in ("predictions", "truth", "policy", "distance_mm", "smallest_mm3")
    }
    write_json(
        folder / "summary.json",
        settings | {"subjects": evaluation.findings.subjects} | vars(evaluation.summary),
    )


def _truth_reader(
    path: Path, smallest_mm3: float
) -> tuple[list[str], Callable[[str, Lesions], Lesions]]:
    """The names in the truth, and what reads the lesions of one of them."""
    if path.suffix.lower() not in (".csv", ".tsv"):
        files = find_lesion_files(path)
        return list(files), lambda name, _: read_true_labels(files[name])
    table = read_centres(path)
    if smallest_mm3 > 0 and any(np.isnan(true.volumes_mm3).any() for true in table.values()):
        raise UserError(
            f"{path} does not give the volume of every microbleed, which --smallest "
            f"{smallest_mm3:g} needs; fill in the column volume_mm3 or leave --smallest out."
        )

    def lesions(name: str, predicted: Lesions) -> Lesions:
        true, centres = table[name], table[name].centres
        if true.in_mm:
            return from_centres(centres, volumes_mm3=true.volumes_mm3)
        if predicted.affine is None:
            raise UserError(
                f"{path} gives voxels of {name!r}, but its detections have no image; "
                "give x, y, z in scanner mm or the label image beside the table."
            )
        in_mm = apply_affine(predicted.affine, centres)
        return from_centres(in_mm, volumes_mm3=true.volumes_mm3)

    return list(table), lesions


def _equal(one: str, other: str) -> bool:
    return one == other or one == stem_with_space(other) or stem_with_space(one) == other


def _begins(one: str, other: str) -> bool:
    return one.startswith(f"{other}_") or other.startswith(f"{one}_")


def _one_subject(one: str, other: str) -> bool:
    first, second = (
        dict(part.split("-", 1) for part in name.split("_") if "-" in part) for name in (one, other)
    )
    same_person = "sub" in first and all(first.get(k) == second.get(k) for k in ("sub", "ses"))
    return same_person and all(
        first[key] == second[key] for key in _TELLING if key in first and key in second
    )
