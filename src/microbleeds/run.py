"""From paths to written results: what `detect`, `demo` and `cohort` do."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryFile
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from microbleeds.console import extra
from microbleeds.errors import UserError
from microbleeds.mni.regions import HeadRegions
from microbleeds.models.engine import Engine, OnnxNetwork
from microbleeds.models.zoo import DEFAULT_MODEL, Models, load_brain, load_models, load_regions
from microbleeds.pipeline import Detections, StepHook, detect
from microbleeds.report.bids import OutputPaths, plan_outputs
from microbleeds.report.dataset import check_dataset, remove_results, write_dataset
from microbleeds.report.page import write_page
from microbleeds.report.regions import locate_regions, name_regions
from microbleeds.report.results import write_results
from microbleeds.scan import Scan, read_mask, read_scan
from microbleeds.settings import MEMORY_GB, OperatingPoint, Settings
from microbleeds.threads import beside

if TYPE_CHECKING:
    from microbleeds.dicom.read import DicomSource

ContrastChoice = Literal["auto", "t2star", "swi", "qsm"]


@dataclass(frozen=True)
class Tools:
    """What every scan of a run is detected with."""

    models: Models
    brain: Engine
    regions: OnnxNetwork
    settings: Settings


@dataclass(frozen=True)
class Wanted:
    """What is made of each scan besides masks, tables and the record."""

    picture: bool = True
    regions: bool = True
    report: bool = False  # the HTML page
    dicom: bool = False  # DICOM results, of scans from DICOM folders


@dataclass(frozen=True)
class Outcome:
    """What became of one scan: detections and files, or the reason why there are none."""

    source: Path
    scan: Scan | None
    found: Detections | None
    paths: OutputPaths
    error: str = ""


def detect_files(
    sources: Sequence[Path],
    out: Path,
    contrast: ContrastChoice = "auto",
    mask: Path | None = None,
    model: str = DEFAULT_MODEL,
    point: OperatingPoint = "balanced",
    threads: int = 0,
    memory_gb: float = MEMORY_GB,
    overwrite: bool = False,
    picture: bool = True,
    series: str | None = None,
    dicom: bool = False,
    bids: bool = False,
    regions: bool = True,
    report: bool = False,
    on_step: Callable[[Path, str], None] = lambda source, step: None,
    on_scan: Callable[[Outcome], None] = lambda outcome: None,
) -> list[Outcome]:
    """Detect in every scan and write the results; one bad scan does not stop the others.

    series, dicom: of DICOM folders, which one to take and whether to write DICOM results too.
    bids: whether `out` is to be a BIDS derivative dataset, with folders and sidecars.
    regions: whether to name the region of each candidate.
    report: whether to write the HTML page.
    Raises UserError for what concerns all scans: the model, the output folder, name clashes, a
    mask that would be written over.
    """
    check_sources(sources, mask, series, dicom)
    if bids:
        check_dataset(out)
    plans = plan_outputs(sources, out, overwrite, bids)
    check_mask(mask, [path for paths in plans for path in paths.all()])
    check_writable(out)
    tools = load_tools(model, point, threads, memory_gb)
    wanted = Wanted(picture, regions, report, dicom)
    outcomes = []
    for source, paths in zip(sources, plans, strict=True):
        try:
            scan, found = detect_file(
                source, paths, tools, wanted, contrast, mask, series, partial(on_step, source)
            )
            if bids:
                write_dataset(out, source, paths)
            outcome = Outcome(source, scan, found, paths)
        except UserError as error:
            outcome = Outcome(source, None, None, paths, str(error))
        except OSError as error:
            outcome = Outcome(source, None, None, paths, system_sentence(error))
        on_scan(outcome)
        outcomes.append(outcome)
    return outcomes


def system_sentence(error: OSError) -> str:
    """What the user is told of the system's errors, such as a folder that may not be entered."""
    return (
        f"{error.filename or 'A file'} cannot be used ({error.strerror or error}); see that you "
        "may read and write there, or give another place."
    )


def load_tools(model: str, point: OperatingPoint, threads: int, memory_gb: float) -> Tools:
    """Networks and settings. Raises UserError when the model or its operating point is missing."""
    models = load_models(model, threads, memory_gb)
    settings = models.card.settings(point, threads)
    return Tools(models, load_brain(threads, memory_gb), load_regions(threads), settings)


def detect_file(
    source: Path,
    paths: OutputPaths,
    tools: Tools,
    wanted: Wanted,
    contrast: ContrastChoice = "auto",
    mask: Path | None = None,
    series: str | None = None,
    on_step: StepHook = lambda step: None,
) -> tuple[Scan, Detections]:
    """Detect in one scan and write its results to `paths`, from where earlier ones go first.

    mask: the user's own brain mask; series: of a DICOM folder, which one to take.
    Raises UserError when the scan or the mask cannot be used, or a file cannot be written.
    """
    on_step("reading")
    scan, origin = _read(source, contrast, series)
    if wanted.dicom and origin is not None:
        from microbleeds.dicom.write import source_headers

        source_headers(origin)  # what results cannot refer to is refused before the work
    brain = None if mask is None else read_mask(mask, scan)
    if wanted.regions:
        found = detect_in_regions(scan, brain, tools, on_step)
    else:
        found = detect(scan, tools.models, tools.brain, tools.settings, brain, on_step)
    on_step("writing")
    remove_results(paths)
    write_results(scan, source, found, tools.models, paths, mask, series, wanted.picture)
    if wanted.report:
        write_page(paths.report, scan)
    if wanted.dicom and origin is not None:
        from microbleeds.dicom.write import write_dicom

        write_dicom(scan, origin, found, tools.models, paths)
    return scan, found


def detect_in_regions(
    scan: Scan, brain: NDArray[np.bool_] | None, tools: Tools, on_step: StepHook
) -> Detections:
    """The detections of a scan with their regions; brain: the user's own mask, if any.

    Regions need no more than the brain mask, so they are worked out beside the steps of detection,
    half of whose time is on one thread; in turn where only one is allowed.
    """
    located: Callable[[], HeadRegions]
    threads = tools.settings.threads

    def begin(mask: NDArray[np.bool_]) -> None:
        nonlocal located
        located = start(partial(locate_regions, scan, mask, tools.regions, threads))

    with beside(threads) as start:
        found = detect(scan, tools.models, tools.brain, tools.settings, brain, on_step, begin)
        on_step("regions")
        return name_regions(found, located)


def check_mask(mask: Path | None, files: Sequence[Path]) -> None:
    """Raise UserError when the user's mask is one of the files that a run is to write."""
    if mask is None or not mask.exists():
        return
    if any(file.exists() and file.samefile(mask) for file in files):
        raise UserError(
            f"The mask {mask} is a file that this run writes anew; copy the mask elsewhere and "
            "give the copy."
        )


def check_writable(folder: Path) -> None:
    """Raise UserError when nothing can be written to a folder, which need not be there yet."""
    there = next(place for place in (folder, *folder.parents) if place.exists())
    try:
        with TemporaryFile(dir=there):  # permissions alone do not tell: disks can be read-only
            pass
    except OSError as error:
        raise UserError(
            f"Nothing can be written to {there} ({error.strerror}); choose a folder that you may "
            "write to."
        ) from error


def _read(
    source: Path, contrast: ContrastChoice, series: str | None
) -> tuple[Scan, DicomSource | None]:
    """A scan and, from a DICOM folder, where it came from."""
    if not source.is_dir():
        return read_scan(source, contrast), None
    from microbleeds.dicom.read import read_folder

    return read_folder(source, contrast, series)


def check_sources(
    sources: Sequence[Path], mask: Path | None, series: str | None, dicom: bool = False
) -> None:
    """Raise UserError when one mask meets several scans, options for DICOM folders meet a file, or
    highdicom is missing.
    """
    if mask is not None and len(sources) != 1:
        raise UserError(
            f"--mask was given with {len(sources)} scans but belongs to one; run them one by one."
        )
    option = "--series" if series is not None else "--dicom" if dicom else ""
    files = [source for source in sources if option and not source.is_dir()]
    if files:
        raise UserError(f"{option} is for DICOM folders, but {files[0]} is none; leave it out.")
    if dicom:
        with extra("dicom"):
            import highdicom  # noqa: F401
