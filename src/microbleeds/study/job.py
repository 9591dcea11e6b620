"""One scan of a cohort, as it goes to a worker, and what comes back."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Literal

from microbleeds.run import ContrastChoice, Wanted
from microbleeds.settings import OperatingPoint

Status = Literal["done", "unchanged", "failed"]


@dataclass(frozen=True)
class ScanJob:
    """One scan to detect in.

    folder: of its results, inside the output folder. stem: what they begin with. mask: the user's
    own brain mask.
    """

    source: Path
    contrast: ContrastChoice
    folder: PurePosixPath
    stem: str
    mask: Path | None = None


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
