"""The command line: one thin function per command; a UserError becomes one line and exit code 2."""

from __future__ import annotations

import io
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from microbleeds.errors import UserError
from microbleeds.options import Memory, Model, Point, PointOption
from microbleeds.settings import MEMORY_GB, CleanUpSettings
from microbleeds.study.cli import SpreadLabels, bids_app, cohort
from microbleeds.train.cli import cross_validate, fine_tune, train_app

_INTERRUPTED = 130  # 128 + SIGINT, as shells have it

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    help="Finds cerebral microbleeds on T2*-GRE, SWI and QSM scans (NIfTI or DICOM). "
    "Research software, not a medical device.",
)
app.add_typer(train_app, name="train")
app.command("fine-tune")(fine_tune)
app.command("cross-validate")(cross_validate)
app.command("cohort")(cohort)
app.command("bids-app", cls=SpreadLabels)(bids_app)


CLEAN_UP = CleanUpSettings()


class ContrastOption(StrEnum):
    """What kind of image a scan is."""

    auto = "auto"
    t2star = "t2star"
    swi = "swi"
    qsm = "qsm"


class SimulatedOption(StrEnum):
    """What kind of image to simulate."""

    t2star = "t2star"
    swi = "swi"
    qsm = "qsm"


class ConventionOption(StrEnum):
    """Input convention of the authors' weights."""

    current = "2025"
    old = "2023"


class MatchingOption(StrEnum):
    """When a detection and a true microbleed are one."""

    overlap = "overlap"
    valdo = "valdo"
    one_to_one = "one-to-one"


Scans = Annotated[list[Path], typer.Argument(help="NIfTI files, .nii or .nii.gz, or DICOM folders")]
Series = Annotated[
    str | None, typer.Option(help="Series of a DICOM folder: its number or its description")
]
Out = Annotated[Path, typer.Option("--output", "-o", help="Folder for the results")]
ContrastArg = Annotated[ContrastOption, typer.Option(help="Kind of image; auto looks at it")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace existing results")]
Threads = Annotated[int, typer.Option(min=0, help="Threads to use; 0: all that are allowed")]
Mask = Annotated[Path | None, typer.Option(help="Your own brain mask, on the scan's grid")]
Seed = Annotated[int, typer.Option(min=0, help="Seed of everything random")]


@app.command()
def detect(
    scans: Scans,
    output: Out,
    contrast: ContrastArg = ContrastOption.auto,
    mask: Mask = None,
    model: Model = "slim",
    operating_point: Point = PointOption.balanced,
    threads: Threads = 0,
    memory: Memory = MEMORY_GB,
    overwrite: Overwrite = False,
    picture: Annotated[bool, typer.Option(help="Draw the microbleeds too, as PNG")] = True,
    series: Series = None,
    dicom: Annotated[
        bool, typer.Option("--dicom", help="Write DICOM SEG and structured report too")
    ] = False,
    bids: Annotated[
        bool, typer.Option("--bids", help="Make the folder a BIDS derivative dataset")
    ] = False,
    regions: Annotated[bool, typer.Option(help="Name the region of each microbleed")] = True,
    report: Annotated[bool, typer.Option("--report", help="Write an HTML page to look at")] = False,
) -> None:
    """Find the microbleeds of one or more scans.

    Writes, for each scan, a mask, a numbered mask with a table, all candidates with the reason
    why each was kept or dropped, the brain mask and a JSON record, on the scan's own grid.

    Examples:

    `microbleeds detect sub-01_T2starw.nii.gz -o results`

    `microbleeds detect scans/*.nii.gz -o results --operating-point sensitive`

    `microbleeds detect dicom-folder -o results --series 7 --dicom`
    """
    from microbleeds.console import detect_with_progress

    failed = detect_with_progress(
        scans, output, contrast=contrast.value, mask=mask, model=model,
        point=operating_point.value, threads=threads, memory_gb=memory,
        overwrite=overwrite, picture=picture, series=series, dicom=dicom, bids=bids,
        regions=regions, report=report,
    )  # fmt: skip
    if failed:
        raise typer.Exit(2)


@app.command()
def report(
    results: Annotated[Path, typer.Argument(help="Folder of detect's results, or one *_cmb.json")],
    scan: Annotated[
        Path | None, typer.Option(help="The scan, where it is not where detect found it")
    ] = None,
) -> None:
    """Write the HTML page of results that are there already, without any network.

    Examples:

    `microbleeds report results`

    `microbleeds report results/sub-01_cmb.json --scan moved/sub-01_T2starw.nii.gz`
    """
    from microbleeds.console import report_with_progress

    if report_with_progress(results, scan):
        raise typer.Exit(2)


@app.command()
def preprocess(
    scans: Scans,
    output: Out,
    contrast: ContrastArg = ContrastOption.auto,
    mask: Mask = None,
    model: Model = "slim",
    overwrite: Overwrite = False,
    series: Series = None,
) -> None:
    """Write what the networks see: prepared image, brain mask, symmetry and vessel maps.

    Example: `microbleeds preprocess scan.nii.gz -o prepared`
    """
    from microbleeds.console import preprocess_with_progress

    failed = preprocess_with_progress(
        scans, output, contrast=contrast.value, mask=mask, model=model, overwrite=overwrite,
        series=series,
    )  # fmt: skip
    if failed:
        raise typer.Exit(2)


@app.command()
def simulate(
    output: Out,
    n: Annotated[int, typer.Option("--n", min=1, help="How many heads")] = 4,
    contrast: Annotated[
        list[SimulatedOption] | None, typer.Option(help="Repeat for several from the same head")
    ] = None,
    seed: Seed = 0,
    anatomy: Annotated[
        list[Path] | None,
        typer.Option(help="FreeSurfer-style label maps; else the shipped one"),
    ] = None,
    bleeds: Annotated[str, typer.Option(help="Microbleeds a head, MIN-MAX")] = "0-12",
    brain_only: Annotated[bool, typer.Option(help="Leave out the rest of the head")] = False,
    first: Annotated[int, typer.Option(min=0, help="Number of the first head in the series")] = 0,
) -> None:
    """Simulate heads with known microbleeds, as NIfTI with a table of the truth.

    Label map to susceptibility, field, complex signal and scanner; `table.csv` is what
    `train --data` takes. A series can be continued: heads already there are kept.

    Examples:

    `microbleeds simulate -o heads --n 20 --seed 7`

    `microbleeds simulate -o heads --n 8 --contrast swi --contrast qsm --anatomy aseg.nii.gz`
    """
    from microbleeds.console import simulate_with_progress

    kinds = [c.value for c in contrast or [SimulatedOption.t2star]]
    simulate_with_progress(output, n, kinds, seed, anatomy or [], bleeds, brain_only, first)


@app.command()
def demo(
    output: Out = Path("microbleeds-demo"),
    seed: Seed = 3,
) -> None:
    """Simulate a head with known microbleeds, detect them, score the result and show it."""
    from microbleeds.demo import run_demo

    run_demo(output, seed)


@app.command()
def evaluate(
    predictions: Annotated[Path, typer.Argument(help="Folder of detect's results, or one file")],
    truth: Annotated[Path, typer.Argument(help="Folder of labels, one label, or CSV of centres")],
    matching: Annotated[MatchingOption, typer.Option(help="What counts as found")] = (
        MatchingOption.valdo
    ),
    smallest: Annotated[
        float, typer.Option(min=0, help="mm3; true microbleeds below count neither way")
    ] = 0.0,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Folder for tables")] = None,
) -> None:
    """Score detections against the truth: sensitivity, false positives a scan, F1, counts, FROC.

    overlap: any common voxel (as published); valdo: nearest centres within 5 mm, as the VALDO
    challenge; one-to-one: best assignment within 5 mm.

    Example: `microbleeds evaluate results labels --matching overlap -o scores`
    """
    from microbleeds.console import evaluate_and_show

    evaluate_and_show(predictions, truth, matching.value, smallest, output)


@app.command()
def compare(
    baseline: Annotated[Path, typer.Argument(help="Scan, or results of detect (folder or JSON)")],
    follow_up: Annotated[Path, typer.Argument(help="The later visit, the same way")],
    output: Out,
    contrast: ContrastArg = ContrastOption.auto,
    model: Model = "slim",
    operating_point: Point = PointOption.balanced,
    threads: Threads = 0,
    memory: Memory = MEMORY_GB,
    overwrite: Overwrite = False,
    baseline_series: Series = None,
    follow_up_series: Series = None,
) -> None:
    """Compare two visits of one person: which microbleeds are new, gone or still there.

    Scans are detected first; results that detect wrote are used if their networks and settings
    agree, whatever their operating point. Writes a table, a page with the pair side by side for
    each microbleed, and a JSON record.

    Example: `microbleeds compare sub-01_ses-1_T2starw.nii.gz sub-01_ses-2_T2starw.nii.gz -o visits`
    """
    from microbleeds.console import compare_and_show

    compare_and_show(
        baseline, follow_up, output, contrast=contrast.value, model=model,
        point=operating_point.value, threads=threads, memory_gb=memory, overwrite=overwrite,
        series=(baseline_series, follow_up_series),
    )  # fmt: skip


@app.command()
def group(
    results: Annotated[Path, typer.Argument(help="Folder of detect's or cohort's results")],
) -> None:
    """Put all results of a folder together: tables, one page, what made them.

    Writes into the folder `group.tsv` (one row a scan), `failures.tsv`, `group.html` and
    `group_provenance.json`. Folders below are looked through; memory does not grow with the scans.

    Example: `microbleeds group results`
    """
    from microbleeds.console import group_and_show

    group_and_show(results)


@app.command("clean-up")
def clean_up(
    candidates: Annotated[Path, typer.Argument(help="A candidates.tsv that detect wrote")],
    output: Annotated[Path, typer.Option("--output", "-o", help="The new table")],
    probability: Annotated[
        float | None,
        typer.Option(min=0, max=1, help="Threshold of step 2; by default its decisions stay"),
    ] = None,
    min_volume: Annotated[float, typer.Option(min=0, help="mm3")] = CLEAN_UP.min_volume_mm3,
    max_diameter: Annotated[float, typer.Option(min=0, help="mm")] = CLEAN_UP.max_diameter_mm,
    max_elongation: Annotated[
        float, typer.Option(min=0, max=1, help="0: spheres only, 1: lines too")
    ] = CLEAN_UP.max_elongation,
    min_edge: Annotated[
        float, typer.Option(min=0, help="mm from the brain's edge")
    ] = CLEAN_UP.min_edge_mm,
    overwrite: Overwrite = False,
) -> None:
    """Decide anew about the candidates of an earlier run, with other rules and no network.

    The published rules: `--min-volume 2.5 --max-elongation 0.2 --min-edge 5`.

    Example: `microbleeds clean-up results/scan_label-CMB_candidates.tsv -o strict.tsv
    --probability 0.8`
    """
    from microbleeds.console import clean_up_and_show

    rules = CleanUpSettings(min_volume, max_diameter, max_elongation, min_edge)
    clean_up_and_show(candidates, output, probability, rules, overwrite)


@app.command("convert-weights")
def convert_weights(
    files: Annotated[list[Path], typer.Argument(help="The authors' .pth files")],
    output: Annotated[Path, typer.Option("--output", "-o", help="The model folder to write")],
    convention: Annotated[
        ConventionOption, typer.Option(help="Year of the code that made the weights")
    ] = ConventionOption.current,
) -> None:
    """Turn the authors' published weights into a model folder for `detect --model`.

    Needs the detector (`cdet`) and the student; a teacher is kept for fine-tuning. Which input
    convention a file needs is not written in it: try both on a scan you know.

    Example: `microbleeds convert-weights x_cdet_model.pth x_cdisc_student_model.pth -o authors`
    """
    from microbleeds.console import convert_and_show

    convert_and_show(files, output, convention.value)


@app.command()
def info() -> None:
    """Show version, models with their checksums and cards, engine and threads."""
    from microbleeds.console import show_info

    show_info()


def main() -> None:
    """Entry point: errors of the user or the system end with one sentence and exit code 2.

    Ctrl-C has one too; Typer makes exit code 130 of it, and says nothing.
    """
    if isinstance(sys.stdout, io.TextIOWrapper):  # names of files may hold what it cannot encode
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        app()
    except UserError as error:
        print(f"microbleeds: {error}", file=sys.stderr)
        sys.exit(2)
    except OSError as error:
        from microbleeds.run import system_sentence

        print(f"microbleeds: {system_sentence(error)}", file=sys.stderr)
        sys.exit(2)
    except SystemExit as end:
        if end.code == _INTERRUPTED:
            print("microbleeds: interrupted; files already written are whole.", file=sys.stderr)
        raise
