"""What is kept of a scan that could not be detected in: one small JSON file a scan."""

from __future__ import annotations

import errno
import json
from dataclasses import dataclass
from pathlib import Path

from microbleeds.report.bids import FAILURES
from microbleeds.study.job import ScanJob

_FULL = (errno.ENOSPC, errno.EDQUOT)


@dataclass(frozen=True)
class Failure:
    """Why a scan has no result.

    sentence: for the user. key: of scan, settings and networks; None where the reason may pass,
    so that the next run tries again. traceback: of what should not have happened.
    """

    source: Path
    contrast: str
    sentence: str
    key: str | None = None
    traceback: str = ""


def failure_path(out: Path, job: ScanJob) -> Path:
    """Where the failure of a scan is kept."""
    return out / FAILURES / job.folder / f"{job.stem}.json"


def read_failure(out: Path, job: ScanJob) -> Failure | None:
    """The failure of an earlier run; None when there is none, or none that can be read."""
    try:
        content = json.loads(failure_path(out, job).read_text(encoding="utf-8"))
        return Failure(**{**content, "source": Path(content["source"])})
    except (OSError, ValueError, TypeError, KeyError):
        return None


def system_error(error: BaseException) -> int | None:
    """The number of the operating system's error behind an exception, if one is behind it."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OSError) and cause.errno is not None:
            return cause.errno
        cause = cause.__cause__ or cause.__context__
    return None


def is_disk_full(error: BaseException) -> bool:
    """Whether an exception comes of a full disk or a quota."""
    return system_error(error) in _FULL
