"""The commands of cohorts, thin: words to settings, then the function that does it."""

from __future__ import annotations

import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_args

import typer
from typer.core import TyperCommand

from microbleeds.errors import UserError
from microbleeds.options import Memory, Model, PointOption
from microbleeds.settings import MEMORY_GB
from microbleeds.threads import allowed_threads

if TYPE_CHECKING:
    from microbleeds.study.cluster import Resources
    from microbleeds.study.scans import Selection


class LevelOption(StrEnum):
    """What a BIDS App does: scan by scan, or the whole group."""

    participant = "participant"
    group = "group"


_LABELS = ("--participant-label", "--participant_label", "--session-label", "--session_label")

Pattern = Annotated[
    list[str] | None,
    typer.Option(help="CONTRAST=GLOB for names that do not say, such as 'swi=*_combined.nii.gz'"),
]
Participants = Annotated[
    list[str] | None,
    typer.Option("--participant-label", "--participant_label", help="Only these; repeatable"),
]
Sessions = Annotated[
    list[str] | None,
    typer.Option("--session-label", "--session_label", help="Only these; repeatable"),
]
Point = Annotated[PointOption, typer.Option(help="Which thresholds")]
Picture = Annotated[bool, typer.Option(help="Draw the microbleeds of each scan, as PNG")]
Regions = Annotated[bool, typer.Option(help="Name the region of each microbleed")]
Report = Annotated[bool, typer.Option(help="Write an HTML page for each scan")]
Retry = Annotated[
    bool, typer.Option("--retry-failed", help="Try bad scans again, though they are as they were")
]
Json = Annotated[bool, typer.Option("--json", help="One line of JSON a scan, a summary at the end")]


class SpreadLabels(TyperCommand):
    """A command that takes several labels after one flag, as BIDS Apps do."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Give each label a flag of its own, then parse as ever."""
        return super().parse_args(ctx, spread_labels(args))


def spread_labels(words: list[str]) -> list[str]:
    """`--participant-label 01 02` as `--participant-label 01 --participant-label 02`."""
    spread: list[str] = []
    flag = ""
    for word in words:
        if word.startswith("-"):
            flag = word if word in _LABELS else ""
            spread += [] if flag else [word]
        else:
            spread += [flag, word] if flag else [word]
    return spread


def cohort(
    dataset: Annotated[
        Path, typer.Argument(help="BIDS dataset, folder of NIfTI files, or table (CSV, TSV)")
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for the results")],
    pattern: Pattern = None,
    participant_label: Participants = None,
    session_label: Sessions = None,
    model: Model = "slim",
    operating_point: Point = PointOption.balanced,
    memory: Memory = MEMORY_GB,
    picture: Picture = True,
    regions: Regions = True,
    report: Report = True,
    retry_failed: Retry = False,
    workers: Annotated[
        int | None, typer.Option(min=1, help="On this machine; default: one for each allowed core")
    ] = None,
    memory_limit: Annotated[
        float | None, typer.Option(min=0.1, help="GB of a worker on this machine; beyond, it ends")
    ] = None,
    retries: Annotated[
        int | None, typer.Option(min=0, help="How often a scan may lose its worker; default 3")
    ] = None,
    scheduler: Annotated[
        str | None, typer.Option(help="Address of a Dask cluster that is there")
    ] = None,
    cluster: Annotated[
        Path | None, typer.Option(help="TOML file that names a batch system and its options")
    ] = None,
    job_script: Annotated[
        bool, typer.Option("--job-script", help="Show the job that --cluster submits, and stop")
    ] = False,
    json: Json = False,
) -> None:
    """Find the microbleeds of a whole cohort, on all cores, a cluster or a batch system.

    What is finished and unchanged is not done again, so that the same command goes on after a
    run was stopped or killed. Exit code 2 when a scan failed.

    Examples:

    `microbleeds cohort study -o study/derivatives/microbleeds`

    `microbleeds cohort table.csv -o results --cluster slurm.toml`
    """
    if job_script:
        from microbleeds.study.batch import job_script as script

        if cluster is None:
            raise UserError("--job-script shows the job of --cluster FILE; give that as well.")
        print(script(cluster))
        return
    from microbleeds.run import Wanted
    from microbleeds.study.cohort import CohortSettings
    from microbleeds.study.terminal import cohort_with_progress

    failed = cohort_with_progress(
        dataset, output,
        _selection(pattern, participant_label, session_label),
        CohortSettings(
            model, operating_point.value, memory, Wanted(picture, regions, report), retry_failed
        ),
        _resources(workers, memory_limit, retries, scheduler, cluster),
        json,
    )  # fmt: skip
    if failed:
        raise typer.Exit(2)


def bids_app(
    bids_dir: Annotated[Path, typer.Argument(help="BIDS dataset")],
    output_dir: Annotated[Path, typer.Argument(help="Folder for the results")],
    analysis_level: Annotated[LevelOption, typer.Argument(help="Scan by scan, or the tables")],
    participant_label: Participants = None,
    session_label: Sessions = None,
    pattern: Pattern = None,
    n_cpus: Annotated[
        int | None, typer.Option("--n-cpus", "--n_cpus", min=1, help="Cores; default: all allowed")
    ] = None,
    mem_mb: Annotated[
        int | None, typer.Option("--mem-mb", "--mem_mb", min=1, help="Memory of all, MB")
    ] = None,
    model: Model = "slim",
    operating_point: Point = PointOption.balanced,
    retry_failed: Retry = False,
) -> None:
    """The same as a BIDS App: first each participant, then the tables of the group.

    Participants may be spread over jobs that write to the same folder side by side.

    Examples:

    `microbleeds bids-app study out participant --participant-label 01 02`

    `microbleeds bids-app study out group`
    """
    from microbleeds.console import group_and_show
    from microbleeds.study.cohort import CohortSettings
    from microbleeds.study.terminal import cohort_with_progress

    if not (bids_dir / "dataset_description.json").is_file():
        raise UserError(f"{bids_dir} is no BIDS dataset: it has no dataset_description.json.")
    if analysis_level is LevelOption.group:
        group_and_show(output_dir)
        return
    cores = n_cpus or allowed_threads()
    share_gb = None if mem_mb is None else mem_mb / 1000 / cores
    failed = cohort_with_progress(
        bids_dir, output_dir,
        _selection(pattern, participant_label, session_label),
        CohortSettings(model, operating_point.value, retry_failed=retry_failed),
        _resources(cores, share_gb),
        group=False,
    )  # fmt: skip
    if failed:
        raise typer.Exit(2)


def main_bids_app() -> None:
    """Entry point `microbleeds-bids`: BIDS_DIR OUTPUT_DIR LEVEL, as BIDS Apps are called."""
    from microbleeds.cli import main

    sys.argv.insert(1, "bids-app")
    main()


def _selection(
    patterns: list[str] | None, participants: list[str] | None, sessions: list[str] | None
) -> Selection:
    """Which scans are meant. Raises UserError for a pattern that names no contrast."""
    from microbleeds.settings import Contrast
    from microbleeds.study.scans import Selection

    contrasts: dict[str, Contrast] = {name: name for name in get_args(Contrast)}
    pairs = []
    for text in patterns or ():
        name, _, pattern = text.partition("=")
        if name not in contrasts or not pattern:
            raise UserError(
                f"--pattern is {text!r}; give CONTRAST=GLOB with one of {', '.join(contrasts)}, "
                "such as 'swi=*_combined.nii.gz'."
            )
        pairs.append((contrasts[name], pattern))
    return Selection(
        tuple(pairs),
        tuple(label.removeprefix("sub-") for label in participants or ()),
        tuple(label.removeprefix("ses-") for label in sessions or ()),
    )


def _resources(
    workers: int | None,
    memory_limit: float | None,
    retries: int | None = None,
    scheduler: str | None = None,
    cluster: Path | None = None,
) -> Resources:
    """Where to run. Raises UserError for options that contradict each other."""
    from microbleeds.study.cluster import DEFAULT_RETRIES, Resources

    if scheduler is not None and cluster is not None:
        raise UserError("--scheduler and --cluster both say where to run; give one of them.")
    given = {"--workers": workers, "--memory-limit": memory_limit}
    if scheduler is not None:
        given["--retries"] = retries
    extra = [name for name, value in given.items() if value is not None]
    if extra and (scheduler or cluster):
        where = "the scheduler" if scheduler else "the cluster file"
        raise UserError(
            f"{extra[0]} is for this machine; {where} says that itself, so leave it out."
        )
    return Resources(
        workers or 0, memory_limit or 0.0, DEFAULT_RETRIES if retries is None else retries,
        scheduler=scheduler, file=cluster,
    )  # fmt: skip
