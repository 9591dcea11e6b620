"""From two paths to a written comparison: what the command `compare` does."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from nibabel.affines import apply_affine
from numpy.typing import NDArray

from microbleeds.errors import UserError
from microbleeds.models.zoo import DEFAULT_MODEL, load_models
from microbleeds.pipeline import Stopwatch
from microbleeds.run import ContrastChoice, detect_files
from microbleeds.settings import MEMORY_GB, OperatingPoint, Settings
from microbleeds.study.check import check_registration, check_visits
from microbleeds.study.longitudinal import Change, Findings, Rules, compare_visits, nearly
from microbleeds.study.registration import Registration, register
from microbleeds.study.trace import covered, darkness, shares, shifts
from microbleeds.study.visit import Visit, VisitPlan, plan_visit, read_visit


@dataclass(frozen=True)
class Comparison:
    """Two visits, how they lie to each other, and what became of each microbleed."""

    baseline: Visit
    follow_up: Visit
    registration: Registration
    changes: tuple[Change, ...]
    rules: Rules
    warnings: tuple[str, ...]
    seconds: dict[str, float]


@dataclass(frozen=True)
class ComparisonPaths:
    """The files of one comparison."""

    table: Path
    page: Path
    record: Path


def compare_files(
    baseline: Path,
    follow_up: Path,
    out: Path,
    contrast: ContrastChoice = "auto",
    model: str = DEFAULT_MODEL,
    point: OperatingPoint = "balanced",
    threads: int = 0,
    memory_gb: float = MEMORY_GB,
    overwrite: bool = False,
    series: tuple[str | None, str | None] = (None, None),
    on_step: Callable[[str], None] = lambda step: None,
) -> tuple[Comparison, ComparisonPaths]:
    """Compare two scans, or results of detect, and write table, page and record to `out`.

    Results are used when networks and settings agree, at any operating point: thresholds are
    applied anew. Else their scan is detected anew, into `out/baseline` or `out/follow-up`, unless
    an earlier run did so. series: which one to take of baseline and follow-up, where that is a
    DICOM folder. Raises UserError when one visit cannot be used, both are the same image, they are
    not of one head, or `out` holds a comparison already.
    """
    paths = ComparisonPaths(out / "visits.tsv", out / "visits.html", out / "visits.json")
    existing = [p for p in (paths.table, paths.page, paths.record) if p.exists()]
    if existing and not overwrite:
        raise UserError(f"{existing[0]} exists already; choose another folder or give --overwrite.")
    from microbleeds.study.results import write_comparison

    models = load_models(model, threads, memory_gb)
    settings = models.card.settings(point, threads)
    clock = Stopwatch(on_step)
    asked = ((baseline, out / "baseline", series[0]), (follow_up, out / "follow-up", series[1]))
    with clock("reading"):  # of both, before either is detected, which takes minutes
        plans = [
            plan_visit(source, folder, models, settings, contrast, which, overwrite)
            for source, folder, which in asked
        ]
    ready = partial(
        _ready, settings=settings, model=models.folder, point=point, threads=threads,
        memory_gb=memory_gb, overwrite=overwrite, on_step=on_step,
    )  # fmt: skip
    with clock("baseline"):
        first = ready(plans[0])
    with clock("follow-up"):
        second = ready(plans[1])
    notes = [note for plan in plans for note in plan.notes]
    found = compare(first, second, clock, threads, notes=notes)
    on_step("writing")
    write_comparison(found, models, settings, paths)
    return found, paths


def compare(
    baseline: Visit,
    follow_up: Visit,
    clock: Stopwatch | None = None,
    threads: int = 0,
    rules: Rules | None = None,
    notes: list[str] | None = None,
) -> Comparison:
    """Register two visits and match their microbleeds. Raises UserError as `compare_files`."""
    rules, clock = rules or Rules(), clock or Stopwatch(lambda step: None)
    notes = [
        *(notes or []), *_warned("baseline", baseline), *_warned("follow-up", follow_up),
        *check_visits(baseline, follow_up),
    ]  # fmt: skip
    with clock("registration"):
        found = register(baseline.scan, baseline.brain, follow_up.scan, follow_up.brain, threads)
    notes += check_registration(found, baseline.scan.name, follow_up.scan.name)
    with clock("matching"):
        changes = follow(baseline, follow_up, found, rules)
    return Comparison(baseline, follow_up, found, changes, rules, tuple(notes), dict(clock.seconds))


def follow(
    baseline: Visit, follow_up: Visit, found: Registration, rules: Rules
) -> tuple[Change, ...]:
    """What became of each microbleed of two registered visits."""
    return compare_visits(
        findings(baseline, follow_up, found.matrix, rules),
        findings(follow_up, baseline, np.linalg.inv(found.matrix), rules),
        rules,
    )


def findings(visit: Visit, other: Visit, matrix: NDArray[Any], rules: Rules) -> Findings:
    """A visit's candidates as the other visit sees them; matrix: (4, 4) to the other's mm.

    Only those that rules ask about are looked up in the images.
    """
    places = np.array([row.xyz_mm for row in visit.table]).reshape(-1, 3)
    there, turn = apply_affine(matrix, places), matrix[:3, :3]
    asked = np.array([row.kept or nearly(row, rules) for row in visit.table], bool)
    sizes = np.array([row.diameter_mm for row in visit.table])[asked]
    ours, theirs = turn @ visit.scan.affine[:3, :3], other.scan.affine[:3, :3]
    here = darkness(visit.scan, visit.brain, places[asked], sizes, turn.T @ theirs)
    seen = darkness(other.scan, other.brain, there[asked], sizes, ours, shifts(theirs, ours))
    traces = np.zeros(len(places))
    traces[asked] = shares(seen, here)
    inside = covered(other.scan, other.brain, there, rules.outside_mm)
    # at the edge a place may be covered and yet not be in view itself, only what is beside it
    inside[asked] &= np.isfinite(darkness(other.scan, other.brain, there[asked], sizes, ours))
    edges = np.hstack([ours, theirs])
    slice_mm = edges[:, np.linalg.norm(edges, axis=0).argmax()]
    return Findings(visit.table, there, inside, traces, slice_mm)


def _warned(name: str, visit: Visit) -> list[str]:
    """What detect said of a visit, but for how many it dropped, which is decided anew here."""
    said = (str(words) for words in visit.record.get("warnings", ()))
    kept = (words for words in said if not words.startswith("no microbleed:"))
    return [f"{name} {visit.scan.name}: {words}" for words in kept]


def _ready(
    plan: VisitPlan,
    settings: Settings,
    model: Path,
    point: OperatingPoint,
    threads: int,
    memory_gb: float,
    overwrite: bool,
    on_step: Callable[[str], None],
) -> Visit:
    """The visit, detected now where it has to be. Raises UserError when that cannot be done."""
    if plan.visit is not None:
        return plan.visit
    (outcome,) = detect_files(
        [plan.source], plan.folder, plan.contrast, plan.mask, str(model), point, threads,
        memory_gb, overwrite, series=plan.series,
        on_step=lambda source, step: on_step(f"{source.name}: {step}"),
    )  # fmt: skip
    if outcome.error:
        raise UserError(outcome.error)
    return read_visit(outcome.paths.report, settings)
