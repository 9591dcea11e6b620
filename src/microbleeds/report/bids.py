"""Names of the files that `detect` writes: BIDS names in, BIDS-derivative names out."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from microbleeds.errors import UserError

_BIDS = re.compile(r"sub-[A-Za-z0-9]+(?:_[a-z]+-[A-Za-z0-9+]+)*_[A-Za-z0-9]+")
_REPLACED = ("desc", "label", "seg")  # entities that the outputs set themselves

MASK = "_label-CMB_mask"
DSEG = "_seg-CMB_dseg"
CANDIDATES = "_label-CMB_candidates"
BRAIN = "_desc-brain_mask"
REPORT = "_cmb"
FAILURES = "failures"  # folder of what a cohort could not be detected in, one JSON file a scan


@dataclass(frozen=True)
class OutputPaths:
    """The files written for one scan."""

    mask: Path  # uint8, 1 in microbleeds
    dseg: Path  # one number a microbleed
    table: Path  # the microbleeds of `dseg`
    candidates: Path  # all candidates, kept or dropped
    brain: Path
    picture: Path  # PNG of the microbleeds
    report: Path  # settings, versions, timings, warnings
    seg: Path  # DICOM segmentation, on request
    sr: Path  # DICOM structured report, on request
    mars: Path  # counts by region and side
    page: Path  # HTML to look at, on request

    def all(self) -> tuple[Path, ...]:
        """Every path."""
        return (
            self.mask, self.dseg, self.table, self.candidates, self.brain, self.picture,
            self.report, self.seg, self.sr, self.mars, self.page,
        )  # fmt: skip


def nifti_stem(path: Path) -> str:
    """The file name without `.nii` or `.nii.gz`."""
    return re.sub(r"\.nii(\.gz)?$", "", path.name)


def source_name(source: Path) -> str:
    """What the outputs of a scan are called after: its file, or its DICOM folder."""
    if source.is_dir():
        from microbleeds.dicom.name import folder_name

        return folder_name(source)
    return nifti_stem(source)


def is_bids_name(name: str) -> bool:
    """Whether a name (no `.nii`) is one that BIDS gives to an image."""
    return _BIDS.fullmatch(name) is not None


def output_stem(name: str) -> str:
    """What every output of a scan begins with.

    A BIDS name loses its suffix and the entities that the outputs set themselves.
    """
    if not is_bids_name(name):
        return name
    entities = name.split("_")[:-1]
    return "_".join(entity for entity in entities if entity.split("-")[0] not in _REPLACED)


def stem_with_space(name: str) -> str:
    """A stem that tells the images of a session apart: `sub-01_space-swi` for `sub-01_swi`.

    BIDS has `space` for the image that a derivative lies on. Other names stay as they are.
    """
    stem = output_stem(name)
    return stem if stem == name else f"{stem}_space-{name.split('_')[-1]}"


def output_paths(name: str, folder: Path) -> OutputPaths:
    """Where the outputs of the scan called `name` (no `.nii`) go in `folder`."""
    return result_paths(output_stem(name), folder)


def result_paths(stem: str, folder: Path) -> OutputPaths:
    """The outputs in `folder` that begin with `stem`."""
    return OutputPaths(
        mask=folder / f"{stem}{MASK}.nii.gz",
        dseg=folder / f"{stem}{DSEG}.nii.gz",
        table=folder / f"{stem}{DSEG}.tsv",
        candidates=folder / f"{stem}{CANDIDATES}.tsv",
        brain=folder / f"{stem}{BRAIN}.nii.gz",
        picture=folder / f"{stem}{REPORT}.png",
        report=folder / f"{stem}{REPORT}.json",
        seg=folder / f"{stem}{REPORT}_seg.dcm",
        sr=folder / f"{stem}{REPORT}_sr.dcm",
        mars=folder / f"{stem}{REPORT}_mars.tsv",
        page=folder / f"{stem}{REPORT}.html",
    )


def tree_folder(name: str, folder: Path) -> Path:
    """Where a BIDS derivative dataset in `folder` keeps what belongs to the scan called `name`.

    Raises UserError when the name is none of BIDS.
    """
    found = re.match(r"(sub-[A-Za-z0-9]+)(?:_(ses-[A-Za-z0-9]+))?_", name)
    if not is_bids_name(name) or not found:
        raise UserError(
            f"{name!r} is no BIDS name, which --bids needs; call the scan something like "
            "sub-01_T2starw.nii.gz, or leave --bids out."
        )
    return folder.joinpath(*(part for part in found.groups() if part), "anat")


def plan_outputs(
    scans: Sequence[Path], folder: Path, overwrite: bool = False, tree: bool = False
) -> tuple[OutputPaths, ...]:
    """The outputs of every scan, in order; `tree`: in folders as a BIDS dataset has them.

    Raises UserError when two scans would write the same files, or when a file exists and
    `overwrite` is off: before anything is computed.
    """
    names = [source_name(scan) for scan in scans]
    plans = tuple(
        output_paths(name, tree_folder(name, folder) if tree else folder) for name in names
    )
    check_free(scans, [plan.all() for plan in plans], overwrite)
    return plans


def check_free(
    scans: Sequence[Path], plans: Sequence[Sequence[Path]], overwrite: bool = False
) -> None:
    """Raise UserError when two scans would write the same files, or, unless `overwrite`, one is
    there already. plans: the files of each scan, the one to name first.
    """
    taken: dict[Path, Path] = {}
    for scan, files in zip(scans, plans, strict=True):
        if files[0] in taken:
            raise UserError(
                f"{taken[files[0]]} and {scan} would both write {files[0]}; "
                "give them different names or write them to different folders."
            )
        taken[files[0]] = scan
        existing = [path for path in files if path.exists()]
        if existing and not overwrite:
            raise UserError(
                f"{existing[0]} exists already; choose another output folder or allow overwriting."
            )
