"""One scan's row of the group table, from the JSON record that `detect` wrote."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

from microbleeds.errors import UserError
from microbleeds.mni.atlas import REGIONS
from microbleeds.report.bids import DSEG, REPORT
from microbleeds.report.burden import burden_class
from microbleeds.report.saved import read_record
from microbleeds.settings import Contrast

STEPS = {  # of `detect`, and what their columns are called
    "brain mask": "seconds_brain_mask",
    "preparation": "seconds_preparation",
    "step 1: candidates": "seconds_candidates",
    "step 2: discrimination": "seconds_discrimination",
    "step 3: clean-up": "seconds_clean_up",
    "regions": "seconds_regions",
}
_NEEDED = (
    "microbleeds", "definite", "burden", "pattern", "candidates", "confidence", "regions",
    "volume_mm3", "brain_cm3", "voxel_mm", "contrast", "flags", "seconds", "version", "model",
    "brain_mask", "settings", "software",
)  # fmt: skip

_MALFORMED = (AttributeError, KeyError, TypeError, ValueError, OverflowError, RecursionError)
_MOST = 10**9  # of anything that is counted in a scan


@dataclass(frozen=True, slots=True)
class ScanRow:
    """What the group level keeps of a scan; None and empty: not known.

    record: path of the JSON record from the results folder, as it is. scan: what the scan's files
    begin with, printable. low, high: ends of the interval of the count. regions: microbleeds in
    each region of MARS. seconds: by step. made: version, model, brain mask, settings and each
    software, as JSON.
    """

    record: str
    scan: str
    participant: str
    session: str
    contrast: Contrast
    microbleeds: int
    definite: int
    candidates: int
    expected: float
    low: int
    high: int
    regions: Mapping[str, int] | None
    pattern: str
    volume_mm3: float
    brain_cm3: float
    voxel_mm: tuple[float, ...]
    flags: tuple[str, ...]
    seconds: Mapping[str, float]
    model: str
    version: str
    made: Mapping[str, str]

    @property
    def burden(self) -> str:
        """The class of the count."""
        return burden_class(self.microbleeds)

    @property
    def unlike(self) -> tuple[str, ...]:
        """The traits in which the scan is unlike the training."""
        return tuple(flag.split(":")[1] for flag in self.flags if flag.startswith("unlike-"))


def read_row(out: Path, path: Path) -> ScanRow:
    """The row of the record at `path`, inside the results folder `out`.

    Raises UserError when the record cannot be read, lacks something, contradicts itself, or has
    no table of microbleeds beside it.
    """
    record = read_record(path, _NEEDED)
    stem = path.name.removesuffix(f"{REPORT}.json")
    table = path.with_name(f"{stem}{DSEG}.tsv")
    if not table.is_file():
        raise UserError(f"{table} is missing, so the results are not whole; run detect again.")
    try:
        row = _row(path.relative_to(out).as_posix(), stem, record)
        _check(row, record["burden"])
    except _MALFORMED as error:
        raise UserError(
            f"{path} holds what detect does not write ({_reason(error)}); run detect again."
        ) from error
    return row


def printable(text: str) -> str:
    """Text as it is, but for signs that a table or a page cannot hold."""
    return "".join(sign if sign.isprintable() else "�" for sign in text)


def one_line(text: str) -> str:
    """A sentence, whatever white space it came with, printable."""
    return printable(" ".join(text.split()))


def _row(place: str, stem: str, record: Mapping[str, Any]) -> ScanRow:
    confidence, regions = record["confidence"], record["regions"]
    if record["contrast"] not in get_args(Contrast):
        raise ValueError(f"the contrast {record['contrast']!r:.40}")
    participant, session = _participant(stem)
    return ScanRow(
        record=place,
        scan=printable(stem),
        participant=participant,
        session=session,
        contrast=record["contrast"],
        microbleeds=_count(record, "microbleeds"),
        definite=_count(record, "definite"),
        candidates=_count(record, "candidates"),
        expected=_number(confidence, "expected"),
        low=_count(confidence, "low"),
        high=_count(confidence, "high"),
        regions=regions and {region: _count(regions, region) for region in REGIONS},
        pattern="" if record["pattern"] is None else _words(record["pattern"]),
        volume_mm3=_number(record, "volume_mm3"),
        brain_cm3=_number(record, "brain_cm3"),
        voxel_mm=tuple(_number(dict(enumerate(record["voxel_mm"])), axis) for axis in range(3)),
        flags=tuple(_words(flag) for flag in record["flags"]),
        seconds={step: _number(record["seconds"], step) for step in record["seconds"]},
        model=_words(record["model"]["name"]),
        version=_words(record["version"]),
        made=_made(record),
    )


def _made(record: Mapping[str, Any]) -> dict[str, str]:
    """What made a result, each part as JSON, so that parts can be compared and counted."""
    mask = record["brain_mask"]
    parts: dict[str, Any] = {
        "version": record["version"],
        "model": {"name": record["model"]["name"], "files": record["model"]["files"]},
        "brain mask": "the user's own"
        if isinstance(mask, str)
        else {"name": mask["name"], "files": mask["files"]},
        "settings": {
            name: value
            for name, value in record["settings"].items()
            if name != "threads"  # changes no result
        },
        "software": record["software"],
    }
    return {name: json.dumps(part, sort_keys=True) for name, part in parts.items()}


def _check(row: ScanRow, burden: object) -> None:
    """Raise ValueError where a record contradicts itself."""
    if not row.definite <= row.microbleeds <= row.candidates:
        raise ValueError(
            f"{row.definite} definite microbleeds of {row.microbleeds}, {row.candidates} candidates"
        )
    if burden != row.burden:
        raise ValueError(f"burden class {burden!r:.40} for a count of {row.microbleeds}")
    if row.regions and sum(row.regions.values()) > row.microbleeds:
        raise ValueError("more microbleeds in regions than in all")
    if row.low > row.high:
        raise ValueError(f"an interval from {row.low} to {row.high}")


def _participant(stem: str) -> tuple[str, str]:
    """Participant and session of a BIDS name, both empty for other names."""
    found = re.match(r"(sub-[A-Za-z0-9]+)(?:_(ses-[A-Za-z0-9]+))?(?:_|$)", stem)
    return (found[1], found[2] or "") if found else ("", "")


def _count(where: Mapping[str, Any], name: str) -> int:
    value = where[name]
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= _MOST:
        raise ValueError(f"{name} is {value!r:.40}, no count")
    return value


def _number(where: Mapping[Any, Any], name: Any) -> float:
    value = where[name]
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError(f"{name} is {value!r:.40}, no number")
    return float(value)


def _words(value: object) -> str:
    if not isinstance(value, str) or not value.isprintable():
        raise ValueError(f"{value!r:.40}, no plain words")
    return value


def _reason(error: Exception) -> str:
    return f"it lacks {error}" if isinstance(error, KeyError) else one_line(str(error))
