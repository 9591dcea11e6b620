"""What runs in a worker process: one scan, from its file to its results or its failure."""

from __future__ import annotations

import json
import tempfile
import time
import traceback
from dataclasses import asdict
from functools import cache
from hashlib import sha256
from pathlib import Path

import microbleeds
from microbleeds.errors import UserError
from microbleeds.files import sha256 as file_sha256
from microbleeds.models.card import read_card, read_network_card
from microbleeds.models.zoo import BRAIN_MODEL, REGION_MODEL, WEIGHTS
from microbleeds.prepare.contrast import sidecar_text
from microbleeds.report.bids import result_paths
from microbleeds.report.dataset import write_sidecars
from microbleeds.run import Tools, check_mask, detect_file, load_tools
from microbleeds.settings import OperatingPoint
from microbleeds.study.failures import Failure, is_disk_full, system_error
from microbleeds.study.job import JobOutcome, Plan, ScanJob
from microbleeds.study.store import keep_failure, known_outcome, publish, withdraw


class RunStoppedError(UserError):
    """Nothing more can be done in this run, for any scan."""


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
        known = known_outcome(job, plan, key)
        if known is not None:
            return known
        check_mask(job.mask, result_paths(job.stem, plan.out / job.folder).all())
        withdraw(job, plan.out)
        count = _detect(job, plan, tools, key)
    except Exception as error:  # one scan, however bad, does not stop the rest
        if is_disk_full(error):
            raise
        if not plan.scratch.is_dir():
            raise RunStoppedError(f"The run that uses {plan.scratch} is over.") from error
        failure = _failure(job, error, key)
        keep_failure(job, plan.out, failure)
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
        "regions": read_network_card(WEIGHTS / REGION_MODEL).files,
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
