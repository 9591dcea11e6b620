"""What `cohort` and `bids-app` show: failures, a bar on a terminal, JSON lines when asked."""

from __future__ import annotations

import json
import time
from dataclasses import asdict, replace
from pathlib import Path

from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeRemainingColumn,
)

from microbleeds.console import errors, group_and_show, show, show_error
from microbleeds.report.bids import FAILURES
from microbleeds.study.cluster import Connection, Resources
from microbleeds.study.cohort import CohortSettings, detect_cohort
from microbleeds.study.job import JobOutcome, Status
from microbleeds.study.scans import Selection, find_scans


def cohort_with_progress(
    dataset: Path,
    out: Path,
    selection: Selection,
    settings: CohortSettings,
    resources: Resources,
    as_json: bool = False,
    group: bool = True,
) -> int:
    """Detect in a cohort, showing how far it is, then make its group tables if `group`.

    Returns how many scans failed.
    """
    begun, shown = time.perf_counter(), errors.is_terminal and not as_json
    with _bar(shown) as bar:
        total = sum(1 for _ in find_scans(dataset, selection, out)) if shown else None
        task = bar.add_task("starting workers", total=total, failed=0, rate="0")
        counts: dict[Status, int] = {"done": 0, "unchanged": 0, "failed": 0}

        def on_start(connection: Connection) -> None:
            if shown:
                bar.console.print(f"Dashboard: {connection.client.dashboard_link}")
            if not connection.cores():
                show_error("No worker has joined the scheduler yet; the scans wait for one.")
            bar.update(task, description="detecting")

        def on_scan(outcome: JobOutcome) -> None:
            counts[outcome.status] += 1
            rate = 60 * counts["done"] / (time.perf_counter() - begun)
            bar.update(task, advance=1, failed=counts["failed"], rate=f"{rate:.1f}")
            if as_json:
                print(json.dumps({**asdict(outcome), "source": str(outcome.source)}), flush=True)
            elif outcome.status == "failed":  # of a scan with an older result no file says why
                bar.console.print(outcome.problem, highlight=False, markup=False, style="red")

        resources = replace(resources, dashboard=shown)
        detect_cohort(dataset, out, selection, settings, resources, on_start, on_scan)
    _show_counts(counts, out, time.perf_counter() - begun, as_json)
    if group:
        group_and_show(out, quiet=as_json)
    return counts["failed"]


def _bar(shown: bool) -> Progress:
    return Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[failed]} failed, {task.fields[rate]} a minute, left"),
        TimeRemainingColumn(),
        console=errors,
        transient=True,
        disable=not shown,
    )


def _show_counts(counts: dict[Status, int], out: Path, seconds: float, as_json: bool) -> None:
    if as_json:
        print(json.dumps({"summary": counts, "seconds": round(seconds, 1), "output": str(out)}))
        return
    show(
        f"{counts['done']} done, {counts['unchanged']} unchanged, {counts['failed']} failed; "
        f"results in {out}."
    )
    if counts["failed"]:
        show_error(f"Why scans failed: {out / FAILURES}")
