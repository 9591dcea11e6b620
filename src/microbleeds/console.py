"""What the commands show on a terminal: progress, one summary line a scan, tables."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn
from rich.table import Table

from microbleeds.errors import UserError

if TYPE_CHECKING:
    from microbleeds.evaluate.folders import Evaluation
    from microbleeds.run import Outcome
    from microbleeds.settings import CleanUpSettings

console = Console()
errors = Console(stderr=True)


def show(text: str) -> None:
    """A line as it is: names of files may hold brackets, which rich would take for its own."""
    console.print(text, highlight=False, markup=False, soft_wrap=True)


def show_warning(text: str) -> None:
    """A line below a result that asks for a second look."""
    console.print(
        f"  warning: {text}", highlight=False, markup=False, style="yellow", soft_wrap=True
    )


def show_error(text: str) -> None:
    """A line on standard error."""
    errors.print(text, highlight=False, markup=False, style="red", soft_wrap=True)


def progress_bar() -> Progress:
    """A bar that shows only on a terminal and leaves no trace."""
    return Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        console=errors,
        transient=True,
        disable=not errors.is_terminal,
    )


def detect_with_progress(sources: list[Path], out: Path, **options: Any) -> int:
    """Detect, with a line for each scan as it is done. Returns how many scans failed."""
    from microbleeds.report.results import RESEARCH_USE
    from microbleeds.run import detect_files

    with progress_bar() as bar:
        task = bar.add_task("loading networks", total=len(sources))

        def on_step(source: Path, step: str) -> None:
            bar.update(task, description=escape(f"{source.name}: {step}"))

        def on_scan(outcome: Outcome) -> None:
            bar.advance(task)
            _show_outcome(outcome)

        outcomes = detect_files(sources, out, **options, on_step=on_step, on_scan=on_scan)
    if any(not outcome.error for outcome in outcomes):
        show(f"Results in {out}. {RESEARCH_USE}")
    return sum(bool(outcome.error) for outcome in outcomes)


def _show_outcome(outcome: Outcome) -> None:
    if outcome.scan is None or outcome.found is None:
        show_error(f"{outcome.source.name}: {outcome.error}")
        return
    from microbleeds.report.results import warnings

    found = outcome.found
    count, seconds = len(found.microbleeds), sum(found.seconds.values())
    plural = "" if count == 1 else "s"
    console.print(
        f"{escape(outcome.source.name)}: [bold]{count} microbleed{plural}[/bold] of "
        f"{len(found.table)} candidates ({outcome.scan.contrast}, {seconds:.1f} s)",
        highlight=False,
        soft_wrap=True,
    )
    for note in warnings(outcome.scan, found):
        show_warning(note)


def report_with_progress(results: Path, scan: Path | None) -> int:
    """Write the page of each result in a folder and say where it is; returns how many failed."""
    from microbleeds.report.page import write_page
    from microbleeds.report.saved import find_records

    records = find_records(results)
    if scan is not None and len(records) > 1:
        raise UserError(
            f"--scan names one scan, but {results} holds the results of {len(records)}; name one "
            f"of them, such as {records[0]}."
        )
    failed = 0
    with progress_bar() as bar:
        for record in bar.track(records, description="drawing"):
            try:
                show(str(write_page(record, scan)))
            except UserError as error:
                failed += 1
                show_error(str(error))
            except OSError as error:
                from microbleeds.run import system_sentence

                failed += 1
                show_error(system_sentence(error))
    return failed


def preprocess_with_progress(sources: list[Path], out: Path, **options: Any) -> int:
    """Prepare each scan and say where the files are. Returns how many scans failed."""
    from microbleeds.preprocess import preprocess_files

    with progress_bar() as bar:
        task = bar.add_task("preparing", total=len(sources))

        def on_scan(source: Path, image: Path | None, error: str) -> None:
            bar.advance(task)
            if error:
                show_error(f"{source.name}: {error}")
            else:
                show(f"{source.name}: {image}")

        return preprocess_files(sources, out, **options, on_scan=on_scan)


def simulate_with_progress(
    out: Path,
    count: int,
    contrasts: list[Any],
    seed: int,
    anatomies: list[Path],
    bleeds: str,
    brain_only: bool,
    first: int,
) -> None:
    """Simulate a series of heads."""
    from microbleeds.simulate import HeadSettings
    from microbleeds.simulate.anatomy import SHIPPED_ANATOMY
    from microbleeds.simulate.dataset import simulate_dataset
    from microbleeds.simulate.lesions import LesionRanges

    limits = re.fullmatch(r"(\d+)-(\d+)", bleeds)
    if not limits or int(limits[1]) > int(limits[2]) or int(limits[2]) > 200:
        raise UserError(f"--bleeds is {bleeds!r}; give MIN-MAX, such as 0-12, up to 200.")
    settings = HeadSettings(
        lesions=LesionRanges(count=(int(limits[1]), int(limits[2]))), whole_head=not brain_only
    )
    with progress_bar() as bar:
        task = bar.add_task("simulating heads", total=count)
        simulate_dataset(
            out, count, tuple(contrasts), seed, tuple(anatomies) or (SHIPPED_ANATOMY,), settings,
            first, lambda index: bar.advance(task),
        )  # fmt: skip
    show(f"{count} heads in {out}: table.csv for training, truth.tsv.")


def clean_up_and_show(
    source: Path, target: Path, threshold: float | None, rules: CleanUpSettings, overwrite: bool
) -> None:
    """Decide anew and say how many candidates stay."""
    from microbleeds.report.table import clean_up_table

    if target.exists() and not overwrite:
        raise UserError(f"{target} exists already; choose another name or give --overwrite.")
    table = clean_up_table(source, target, threshold, rules)
    kept = sum(row.kept for row in table)
    show(f"{kept} of {len(table)} candidates kept: {target}")


def convert_and_show(files: list[Path], out: Path, convention: Any) -> None:
    """Convert and say how to use the folder."""
    with extra("train"):
        from microbleeds.models.published import convert_published
    card = convert_published(files, out, convention)
    show(f"{card.name} in {out}; use it with: microbleeds detect SCAN -o OUT --model {out}")


@contextmanager
def extra(name: str) -> Iterator[None]:
    """Imports of an optional part; where one is missing, the message says how to install it."""
    try:
        yield
    except ModuleNotFoundError as error:
        raise UserError(
            f"This command needs {error.name}, which is not installed; run: "
            f'pip install "microbleeds[{name}]"'
        ) from error


def show_info() -> None:
    """Version, engine, threads, and every shipped model with its card."""
    from importlib.metadata import version

    import microbleeds
    from microbleeds.models.card import ModelCard, read_card, read_network_card
    from microbleeds.models.zoo import (
        BRAIN_MODEL,
        DEFAULT_MODEL,
        REGION_MODEL,
        WEIGHTS,
        list_models,
    )
    from microbleeds.threads import allowed_threads

    console.print(f"microbleeds {microbleeds.__version__}, openvino {version('openvino')}")
    console.print(f"threads this process may use: {allowed_threads()}")
    for name in (*list_models(), BRAIN_MODEL, REGION_MODEL):
        folder = WEIGHTS / name
        card = read_network_card(folder) if name == REGION_MODEL else read_card(folder)
        default = " (default)" if name == DEFAULT_MODEL else ""
        console.print(f"\n[bold]{card.name}[/bold]{default}: {card.description}", highlight=False)
        show(f"  folder {folder}\n  licence {card.licence}")
        if isinstance(card, ModelCard):
            show(f"  contrasts {', '.join(card.contrasts)}")
            for point, limits in card.operating_points.items():
                show(f"  {point}: step 1 {limits.detector:g}, step 2 {limits.student:g}")
        for file, digest in card.files.items():
            show(f"  sha256 {digest}  {file}")


def show_table(title: str, rows: list[tuple[str, str]]) -> None:
    """Two columns, name and value."""
    table = Table(title=title, show_header=False, title_justify="left")
    for row in rows:
        table.add_row(*row)
    console.print(table)


def evaluate_and_show(
    predictions: Path, truth: Path, matching: Any, smallest_mm3: float, out: Path | None
) -> None:
    """Score, show the figures, and write the tables when a folder is given."""
    from microbleeds.evaluate.folders import evaluate_folders, write_evaluation
    from microbleeds.evaluate.froc import froc, tpr_at

    evaluation = evaluate_folders(predictions, truth, matching, smallest_mm3=smallest_mm3)
    summary = evaluation.summary
    rows = [
        ("scans", str(summary.scans)),
        ("true microbleeds", str(summary.lesions)),
        ("found", str(summary.hits)),
        ("false positives", str(summary.false_positives)),
    ]
    rows += [
        (name, f"{_defined(one.value)}  (95 % {_defined(one.low)} to {_defined(one.high)})")
        for name, one in summary.figures.items()
    ]
    curve = froc(evaluation.findings)
    most = float(curve.fp_per_scan[-1])  # beyond, the results do not say
    rows += [
        (f"tpr at {rate:g} false positives a scan", _defined(tpr_at(curve, rate)))
        for rate in (0.5, 1, 2, 4)
        if rate <= most
    ]
    show_table(escape(f"{predictions} against {truth} ({matching})"), rows)
    if out is not None:
        write_evaluation(evaluation, out)
        show(f"Tables in {out}.")


def _defined(value: float) -> str:
    return "n/a" if math.isnan(value) else f"{value:.3f}"


def compare_and_show(baseline: Path, follow_up: Path, out: Path, **options: Any) -> None:
    """Compare two visits and say what is new, gone and still there."""
    from microbleeds.report.results import RESEARCH_USE
    from microbleeds.study.compare import compare_files
    from microbleeds.study.longitudinal import aria_h, counts

    with progress_bar() as bar:
        task = bar.add_task("loading networks", total=None)
        found, paths = compare_files(
            baseline, follow_up, out, **options,
            on_step=lambda step: bar.update(task, description=escape(step)),
        )  # fmt: skip
    number, quality = counts(found.changes), found.registration
    console.print(
        f"[bold]{number['new']} new[/bold] ({aria_h(number['new'])}), {number['gone']} gone, "
        f"{number['persisting']} persisting, {number['not covered']} not covered; registered with "
        f"overlap {quality.overlap:.2f}, correlation of details {quality.similarity:.2f}",
        highlight=False,
    )
    for note in found.warnings:
        show_warning(note)
    show(f"Page: {paths.page}. {RESEARCH_USE}")


def group_and_show(out: Path, quiet: bool = False) -> None:
    """Put the results of a folder together and, unless `quiet`, say where."""
    from microbleeds.report.results import RESEARCH_USE
    from microbleeds.study.group import write_group

    with errors.status("reading results"):
        made = write_group(out)
    if quiet:
        return
    plural = "" if made.scans == 1 else "s"
    console.print(
        f"[bold]{made.scans} scan{plural}[/bold], {made.failed} failed: "
        + escape(f"{made.table}, {made.page}"),
        highlight=False,
        soft_wrap=True,
    )
    show(RESEARCH_USE)


def show_findings(evaluation: Evaluation) -> None:
    """Every true microbleed, found or missed, and every false positive, one a row."""
    table = Table(title="Truth and detections", title_justify="left")
    for column in ("x mm", "y mm", "z mm", "result", "probability"):
        table.add_column(column, justify="left" if column == "result" else "right")
    for finding in evaluation.findings.table:
        result = "found" if finding.is_lesion and finding.detected else (
            "missed" if finding.is_lesion else "false positive"
        )  # fmt: skip
        confidence = f"{finding.confidence:.2f}" if finding.detected else ""
        table.add_row(*(f"{v:.1f}" for v in finding.xyz_mm), result, confidence)
    console.print(table)
    summary = evaluation.summary
    console.print(
        f"{summary.hits} of {summary.lesions} microbleeds found, "
        f"{summary.false_positives} false positives.",
        highlight=False,
    )
