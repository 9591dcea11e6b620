"""What runs in a worker process: one scan, from its file to its results or its failure."""

from __future__ import annotations

import json
import os
import tempfile
import time
import traceback
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any, Literal

import microbleeds
from microbleeds.errors import UserError
from microbleeds.files import make_folder
from microbleeds.files import sha256 as file_sha256
from microbleeds.models.card import read_card
from microbleeds.models.zoo import BRAIN_MODEL, WEIGHTS
from microbleeds.prepare.contrast import sidecar_text
from microbleeds.report.bids import result_paths
from microbleeds.report.dataset import sidecars, write_sidecars
from microbleeds.report.files import write_json
from microbleeds.run import Tools, Wanted, detect_file, load_tools
from microbleeds.settings import OperatingPoint
from microbleeds.study.failures import (
    Failure,
    failure_path,
    is_disk_full,
    read_failure,
    system_error,
    write_failure,
)
from microbleeds.study.scans import ScanJob

Status = Literal["done", "unchanged", "failed"]


class RunStoppedError(UserError):
    """Nothing more can be done in this run, for any scan."""


@dataclass(frozen=True)
class Plan:
    """What is the same for every scan of a run.

    scratch: the run's own folder, inside `out`. raw, link: the BIDS dataset and the name that the
    results give it; None where they are no BIDS derivative dataset.
    """

    out: Path
    scratch: Path
    model: str
    point: OperatingPoint
    memory_gb: float
    wanted: Wanted
    raw: Path | None = None
    link: str = ""
    retry_failed: bool = False


@dataclass(frozen=True)
class JobOutcome:
    """What became of one scan. problem: why it failed; seconds: spent on it in this run."""

    source: Path
    status: Status
    microbleeds: int | None = None
    problem: str = ""
    seconds: float = 0.0


def run_job(job: ScanJob, plan: Plan) -> JobOutcome:
    """Detect in one scan, unless its result or its failure is there already and nothing changed.

    Raises RunStoppedError when the disk is full or the run is over, UserError for the model.
    """
    tools = _tools(plan.model, plan.point, plan.memory_gb)
    try:
        return _attempt(job, plan, tools)
    except Exception as error:
        if not is_disk_full(error):
            raise
        raise RunStoppedError(
            f"There is no space left for {plan.out}; make room and give the same command again: "
            "only what is unfinished will run."
        ) from error


def _attempt(job: ScanJob, plan: Plan, tools: Tools) -> JobOutcome:
    """The same, all errors of the scan itself turned into its failure."""
    begun = time.perf_counter()
    key: str | None = None
    try:
        key = job_key(job, plan, tools)
        known = _known(job, plan, key)
        if known is not None:
            return known
        count = _detect(job, plan, tools, key)
    except Exception as error:  # one scan, however bad, does not stop the rest
        if is_disk_full(error):
            raise
        if not plan.scratch.is_dir():
            raise RunStoppedError(f"The run that uses {plan.scratch} is over.") from error
        failure = _failure(job, error, key)
        withdraw(job, plan.out)
        write_failure(plan.out, job, failure)
        spent = time.perf_counter() - begun
        return JobOutcome(job.source, "failed", None, failure.sentence, spent)
    return JobOutcome(job.source, "done", count, seconds=time.perf_counter() - begun)


def job_key(job: ScanJob, plan: Plan, tools: Tools) -> str:
    """SHA-256 of all that a scan's results depend on, and of which files are written.

    Raises UserError when the scan or its mask cannot be read.
    """
    content = {
        "version": microbleeds.__version__,
        "image": _checksum(job.source),
        "mask": None if job.mask is None else _checksum(job.mask),
        "contrast": job.contrast,
        "sidecar": sidecar_text(job.source) if job.contrast == "auto" else "",
        "settings": asdict(tools.settings),
        "model": tools.models.card.files,
        "brain": read_card(WEIGHTS / BRAIN_MODEL).files,
        "wanted": asdict(plan.wanted),
        "bids": plan.raw is not None,
    }
    return sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


@cache
def _tools(model: str, point: OperatingPoint, memory_gb: float) -> Tools:
    """Networks and settings, loaded once a process."""
    return load_tools(model, point, 1, memory_gb)


def _checksum(path: Path) -> str:
    try:
        return file_sha256(path)
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror}); copy it again.") from error


def _known(job: ScanJob, plan: Plan, key: str) -> JobOutcome | None:
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


def _detect(job: ScanJob, plan: Plan, tools: Tools, key: str) -> int:
    """Detect, write aside, move into place; returns how many microbleeds there are."""
    with tempfile.TemporaryDirectory(dir=plan.scratch, ignore_cleanup_errors=True) as aside:
        made = Path(aside)
        paths = result_paths(job.stem, made / job.folder)
        _, found = detect_file(job.source, paths, tools, plan.wanted, job.contrast, job.mask)
        if plan.raw is not None:
            place = job.source.relative_to(plan.raw).as_posix()
            write_sidecars(made, paths, f"bids:{plan.link}:{place}")
        publish(made, job, plan.out, key)
    return len(found.microbleeds)


def publish(
    made: Path, job: ScanJob, out: Path, key: str, move: Callable[[Path, Path], Any] = os.replace
) -> None:
    """Move the results of a scan from `made` into place, the record last: where it is, all is.

    What was there of an earlier run goes first, its record before all, so that old and new files
    never stand together under a record. The record learns the key, and the names of the files.
    """
    record_path = result_paths(job.stem, made / job.folder).report
    files = sorted(path for path in made.rglob("*") if path.is_file() and path != record_path)
    record = json.loads(record_path.read_text(encoding="utf-8"))
    names = [path.relative_to(made).as_posix() for path in files]
    write_json(record_path, {**record, "key": key, "files": names})
    withdraw(job, out)
    failure_path(out, job).unlink(missing_ok=True)
    make_folder(out / job.folder)
    for path in (*files, record_path):
        _flush(path)
        move(path, out / path.relative_to(made))


def withdraw(job: ScanJob, out: Path) -> None:
    """Remove the results of an earlier run, the record first."""
    paths = result_paths(job.stem, out / job.folder)
    for path in (paths.report, *paths.all(), *sidecars(paths)):
        path.unlink(missing_ok=True)


def _flush(path: Path) -> None:
    """Have the system write a file to the disk: a power cut must not leave a name without it."""
    with path.open("rb") as file:
        os.fsync(file.fileno())


def _failure(job: ScanJob, error: Exception, key: str | None) -> Failure:
    """The sentence of an exception; without the key where the system was to blame, which passes."""
    lasting = None if system_error(error) is not None else key
    if isinstance(error, UserError):
        return Failure(job.source, job.contrast, str(error), lasting)
    if isinstance(error, MemoryError):
        sentence = (
            f"{job.source} needs more memory than a worker has; give it more, and --retry-failed."
        )
        return Failure(job.source, job.contrast, sentence, lasting)
    said = " ".join(str(error).split())
    sentence = (
        f"{job.source} met an error in the program ({type(error).__name__}: {said}); please report "
        "it with the traceback in the failure's JSON file."
    )
    trace = "".join(traceback.format_exception(error))
    return Failure(job.source, job.contrast, sentence, lasting, trace)
