"""A cohort from its dataset to its results: what the command `cohort` does."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError
from dataclasses import dataclass, field
from itertools import chain, count, islice
from pathlib import Path
from typing import Any
from uuid import uuid4

from microbleeds.console import extra
from microbleeds.errors import UserError
from microbleeds.models.zoo import DEFAULT_MODEL, list_models
from microbleeds.report.dataset import check_dataset, describe_dataset, is_dataset
from microbleeds.run import Wanted, load_tools
from microbleeds.settings import MEMORY_GB, OperatingPoint
from microbleeds.study.cluster import Connection, Resources, connect
from microbleeds.study.failures import Failure
from microbleeds.study.job import JobOutcome, Plan, ScanJob
from microbleeds.study.scans import Selection, find_scans
from microbleeds.study.scratch import run_scratch
from microbleeds.study.store import keep_failure
from microbleeds.study.worker import RunStoppedError, run_job

_AHEAD = 4  # scans a core that Dask holds at once

Work = Callable[[ScanJob, Plan], JobOutcome]


@dataclass(frozen=True)
class CohortSettings:
    """What is done with each scan of a cohort, beside which scans there are and where it runs."""

    model: str = DEFAULT_MODEL
    point: OperatingPoint = "balanced"
    memory_gb: float = MEMORY_GB
    wanted: Wanted = field(default_factory=lambda: Wanted(report=True))
    retry_failed: bool = False


def detect_cohort(
    dataset: Path,
    out: Path,
    selection: Selection,
    settings: CohortSettings,
    resources: Resources,
    on_start: Callable[[Connection], None] = lambda connection: None,
    on_scan: Callable[[JobOutcome], None] = lambda outcome: None,
) -> None:
    """Detect in every scan that has no result yet; `on_scan` learns what became of each.

    Raises UserError when there is no scan, the model or the cluster cannot be had, `out` is raw
    data or the disk is full. A bad scan is a failure, kept in `out`, and stops nothing.
    """
    dataset, out = dataset.absolute(), out.absolute()
    jobs = find_scans(dataset, selection, out)
    first = next(jobs, None)
    if first is None:
        raise UserError(
            f"{dataset} holds no scan that is meant: file names ending in _T2starw, _swi or "
            "_Chimap are; name others by --pattern, such as --pattern 'swi=*_SWI_combined.nii.gz'."
        )
    load_tools(settings.model, settings.point, 1, settings.memory_gb)  # tells what is wrong at once
    shipped = settings.model in list_models()
    model = settings.model if shipped else str(Path(settings.model).absolute())  # wherever they run
    raw = dataset if is_dataset(dataset) else None
    if raw:
        check_dataset(out)
    with run_scratch(out) as scratch, connect(resources) as connection:
        plan = Plan(
            out, scratch, model, settings.point, settings.memory_gb, settings.wanted,
            raw, describe_dataset(out, raw.resolve()) if raw else "", settings.retry_failed,
        )  # fmt: skip
        on_start(connection)
        run_jobs(connection, chain((first,), jobs), plan, on_scan)


def run_jobs(
    connection: Connection,
    jobs: Iterator[ScanJob],
    plan: Plan,
    on_scan: Callable[[JobOutcome], None],
    work: Work = run_job,
) -> None:
    """Give the scans to the workers, a few a core at a time.

    A scan that lost its worker too often is a failure that the next run tries again.
    Raises what `work` raises, and RunStoppedError when the scheduler is lost or workers are others.
    """
    with extra("cohort"):
        from distributed import as_completed
        from distributed.comm import CommClosedError

    name, numbers = f"scan-{uuid4().hex[:8]}", count()
    waiting: dict[Any, ScanJob] = {}
    finished = as_completed()

    def top_up() -> None:
        ahead = _AHEAD * max(1, connection.cores())  # one at least waits for the first worker
        for job in islice(jobs, max(0, ahead - len(waiting))):
            future = connection.client.submit(work, job, plan, key=(name, next(numbers)))
            waiting[future.key] = job
            finished.add(future)

    try:
        top_up()
        for future in finished:
            outcome = _outcome(future, waiting.pop(future.key), plan)
            future.release()
            on_scan(outcome)
            top_up()
    except (CancelledError, CommClosedError) as error:
        raise RunStoppedError(
            "The Dask scheduler was lost; start it and give the same command again: only what is "
            "unfinished will run."
        ) from error
    except ImportError as error:
        raise RunStoppedError(
            f"The workers cannot load this program ({error}); install the same version of it "
            "where they run."
        ) from error


def _outcome(future: Any, job: ScanJob, plan: Plan) -> JobOutcome:
    """What became of a scan. Raises what stops the run."""
    from distributed import KilledWorker

    try:
        outcome: JobOutcome = future.result()
    except KilledWorker as error:
        sentence = (
            f"{job.source} lost its worker {error.allowed_failures + 1} times (killed, or out of "
            "memory); the next run tries again: give it more memory by --memory-limit, or fewer "
            "--workers."
        )
        keep_failure(job, plan.out, Failure(job.source, job.contrast, sentence))
        return JobOutcome(job.source, "failed", None, sentence)
    return outcome
