"""Results of a cohort in their folder: put there whole or not at all, and known again by a key."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from microbleeds.files import make_folder
from microbleeds.report.bids import result_paths
from microbleeds.report.dataset import remove_results
from microbleeds.report.files import write_json
from microbleeds.study.failures import Failure, failure_path, read_failure
from microbleeds.study.job import JobOutcome, Plan, ScanJob


def known_outcome(job: ScanJob, plan: Plan, key: str) -> JobOutcome | None:
    """The outcome of an earlier run with the same key; None when there is none."""
    record_path = result_paths(job.stem, plan.out / job.folder).report
    try:
        record = json.loads(record_path.read_text(encoding="utf-8"))
        if record["key"] == key and all((plan.out / name).is_file() for name in record["files"]):
            return JobOutcome(job.source, "unchanged", record["microbleeds"])
    except (OSError, ValueError, TypeError, KeyError):
        pass  # no record, or none of a cohort
    failure = None if plan.retry_failed else read_failure(plan.out, job)
    if failure is None or failure.key != key:
        return None
    return JobOutcome(job.source, "failed", None, failure.sentence)


def publish(
    made: Path, job: ScanJob, out: Path, key: str, move: Callable[[Path, Path], Any] = os.replace
) -> None:
    """Move the results of a scan from `made` into place, the record last: where it is, all is.

    The record learns the key, and the names of the files. An earlier failure goes.
    """
    record_path = result_paths(job.stem, made / job.folder).report
    files = sorted(path for path in made.rglob("*") if path.is_file() and path != record_path)
    record = json.loads(record_path.read_text(encoding="utf-8"))
    names = [path.relative_to(made).as_posix() for path in files]
    write_json(record_path, {**record, "key": key, "files": names})
    failure_path(out, job).unlink(missing_ok=True)
    make_folder(out / job.folder)
    for path in (*files, record_path):
        _flush(path)
        move(path, out / path.relative_to(made))


def withdraw(job: ScanJob, out: Path) -> None:
    """Remove the results of an earlier run."""
    remove_results(result_paths(job.stem, out / job.folder))


def keep_failure(job: ScanJob, out: Path, failure: Failure) -> None:
    """Write it, unless there is a result: of a scan that cannot be looked at now, that still holds.

    Raises UserError when the file cannot be written.
    """
    if not result_paths(job.stem, out / job.folder).report.exists():
        write_json(failure_path(out, job), failure)


def _flush(path: Path) -> None:
    """Have the system write a file to the disk: a power cut must not leave a name without it."""
    with path.open("rb") as file:
        os.fsync(file.fileno())
