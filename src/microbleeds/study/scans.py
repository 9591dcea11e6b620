"""The scans of a cohort, found one after the other: in a BIDS dataset, a folder or a table."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath

from microbleeds.errors import UserError
from microbleeds.report.bids import (
    BRAIN,
    DSEG,
    FAILURES,
    MASK,
    is_bids_name,
    nifti_stem,
    stem_with_space,
)
from microbleeds.report.dataset import is_dataset
from microbleeds.run import ContrastChoice
from microbleeds.settings import Contrast
from microbleeds.study.job import ScanJob
from microbleeds.study.scan_table import table_scans

SUFFIXES: dict[str, Contrast] = {  # in lower case
    "t2starw": "t2star", "t2star": "t2star", "swi": "swi", "chimap": "qsm",
}  # fmt: skip
_NOT_SEARCHED = ("derivatives", "sourcedata", "code")  # of a BIDS dataset
_NO_MAGNITUDE = re.compile(r"_part-(?:phase|real|imag)_")


@dataclass(frozen=True)
class Selection:
    """Which scans of a dataset are meant.

    patterns: (contrast, glob of the path inside the dataset) for names that do not say.
    participants, sessions: BIDS labels, without `sub-` and `ses-`; empty: all.
    """

    patterns: tuple[tuple[Contrast, str], ...] = ()
    participants: tuple[str, ...] = ()
    sessions: tuple[str, ...] = ()


def find_scans(dataset: Path, selection: Selection, out: Path) -> Iterator[ScanJob]:
    """The scans of a BIDS dataset, a folder of NIfTI files or a table, in order of their names.

    Nothing but the folder at hand is kept in memory. `out` is not searched.
    Raises UserError at once when there is no such dataset or participant or the table is wrong.
    """
    if dataset.is_file():
        if selection != Selection():
            raise UserError(
                f"{dataset} is a table, which says itself which scans there are; leave out "
                "--pattern, --participant-label and --session-label."
            )
        return table_scans(dataset)
    if not dataset.is_dir():
        raise UserError(f"There is no dataset {dataset}; give a BIDS dataset, a folder or a table.")
    if is_dataset(dataset):
        _check_participants(dataset, selection.participants)
    elif selection.participants or selection.sessions:
        raise UserError(
            f"{dataset} has no dataset_description.json, so it is no BIDS dataset, and only those "
            "have participant and session labels; add the file, or use --pattern."
        )
    return _folder_jobs(dataset, selection, out.resolve())


def _check_participants(dataset: Path, labels: tuple[str, ...]) -> None:
    missing = [label for label in labels if not (dataset / f"sub-{label}").is_dir()]
    if missing:
        raise UserError(
            f"{dataset} has no participant {missing[0]!r} (no folder sub-{missing[0]}); give labels"
            " of participants that are there."
        )


def _folder_jobs(dataset: Path, selection: Selection, out: Path) -> Iterator[ScanJob]:
    bids = is_dataset(dataset)
    for folder, files in _walk(dataset, dataset, selection, bids, out, ()):
        if files and folder.relative_to(dataset).parts[:1] == (FAILURES,):
            raise UserError(
                f"{dataset} has scans in a folder {FAILURES!r}, which is what the results call the "
                "folder of scans that fail; rename it, or name the scans in a table."
            )
        taken: set[str] = set()
        for file in files:
            place = file.relative_to(dataset)
            contrast = _contrast(place, selection, bids)
            if contrast is None:
                continue
            stem = stem_with_space(nifti_stem(file))
            stem = file.name if stem in taken else stem  # scan.nii beside scan.nii.gz
            taken.add(stem)
            yield ScanJob(file, contrast, PurePosixPath(folder.relative_to(dataset)), stem)


def _walk(
    folder: Path, root: Path, selection: Selection, bids: bool, out: Path, above: tuple[str, ...]
) -> Iterator[tuple[Path, list[Path]]]:
    """Folders with their NIfTI files, all in order of their names; links to folders are followed.

    above: the real paths of the folders that hold this one, so that a link cannot lead in circles.
    """
    try:
        with os.scandir(folder) as found:
            entries = sorted(found, key=lambda entry: entry.name)
    except OSError as error:
        raise UserError(
            f"The folder {folder} cannot be read ({error.strerror}); allow it, or name the scans "
            "in a table."
        ) from error
    names = [e.name for e in entries if re.search(r"\.nii(\.gz)?$", e.name) and not e.is_dir()]
    yield folder, [folder / name for name in names if not name.startswith(".")]
    here = (*above, os.path.realpath(folder))
    for entry in entries:
        if not entry.is_dir() or entry.name.startswith("."):
            continue
        if bids and folder == root and not _meant(entry.name, selection):
            continue
        real = os.path.realpath(entry.path)
        if real not in here and real != str(out):
            yield from _walk(Path(entry.path), root, selection, bids, out, here)


def _meant(folder: str, selection: Selection) -> bool:
    """Whether a folder at the top of a BIDS dataset is searched."""
    kind, _, label = folder.partition("-")
    if selection.participants:
        return kind == "sub" and label in selection.participants
    return folder not in _NOT_SEARCHED


def _contrast(place: Path, selection: Selection, bids: bool) -> ContrastChoice | None:
    """What a file is taken for; None when it is none of the scans that are meant."""
    session = re.search(r"(?:/|_)ses-([A-Za-z0-9]+)", place.as_posix())
    if selection.sessions and (not session or session[1] not in selection.sessions):
        return None
    for contrast, pattern in selection.patterns:
        if fnmatchcase(place.as_posix(), pattern) or fnmatchcase(place.name, pattern):
            return contrast
    name = nifti_stem(place)
    if is_bids_name(name):
        known = SUFFIXES.get(name.split("_")[-1].lower())
        return None if _NO_MAGNITUDE.search(name) else known
    if bids or selection.patterns or name.endswith((MASK, DSEG, BRAIN)):
        return None
    return "auto"
