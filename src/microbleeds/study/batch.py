"""Batch systems through dask-jobqueue: what a cluster file says, and the job it leads to."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from microbleeds.console import extra
from microbleeds.errors import UserError
from microbleeds.study.engine import CONFIG, ONE_THREAD, quiet

if TYPE_CHECKING:
    from dask_jobqueue import JobQueueCluster

_SYSTEMS = ("SLURM", "PBS", "LSF", "SGE", "HTCondor")


@dataclass(frozen=True)
class ClusterFile:
    """What a cluster file says. options: of the class in dask-jobqueue."""

    system: str
    maximum: int
    minimum: int = 0
    options: Mapping[str, Any] = field(default_factory=dict)


def read_cluster_file(path: Path) -> ClusterFile:
    """A TOML file with `system`, `maximum`, `minimum` and the table `options`.

    Raises UserError when it cannot be read or does not say what is needed.
    """
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"{path} cannot be read as TOML ({error}).") from error
    known = {"system", "maximum", "minimum", "options"}
    unknown = sorted(set(content) - known)
    if unknown:
        raise UserError(f"{path} says {unknown[0]!r}; known are {', '.join(sorted(known))}.")
    system = {name.lower(): name for name in _SYSTEMS}.get(str(content.get("system")).lower())
    if system is None:
        raise UserError(
            f"{path} names the system {content.get('system')!r}; one of {', '.join(_SYSTEMS)} is "
            "needed."
        )
    minimum, maximum = content.get("minimum", 0), content.get("maximum")
    if not (isinstance(maximum, int) and isinstance(minimum, int) and 0 <= minimum <= maximum > 0):
        raise UserError(
            f"{path} has minimum {minimum!r} and maximum {maximum!r}; numbers of workers are "
            "needed, the maximum at least 1 and no less than the minimum."
        )
    options = content.get("options", {})
    if not isinstance(options, dict) or not {"cores", "memory"} <= set(options):
        raise UserError(f"{path} needs 'cores' and 'memory' of one job under [options].")
    if not isinstance(options.setdefault("job_script_prologue", []), list):
        raise UserError(
            f"{path} has {options['job_script_prologue']!r} as job_script_prologue; a list of "
            'lines is needed, such as ["module load python"].'
        )
    if options.setdefault("processes", options["cores"]) != options["cores"]:
        raise UserError(
            f"{path} has {options['cores']} cores and {options['processes']} processes; a worker "
            "is one process on one core, so leave 'processes' out."
        )
    return ClusterFile(system, maximum, minimum, options)


def batch_cluster(said: ClusterFile, dashboard: bool = False) -> JobQueueCluster:
    """A dask-jobqueue cluster without jobs yet.

    Raises UserError when dask-jobqueue is not installed or refuses an option.
    """
    with extra("cohort"):
        import dask_jobqueue
    exports = [f"export {name}={value}" for name, value in ONE_THREAD.items()]
    exports += [
        f"export DASK_{key.upper().replace('.', '__')}={value}"
        for key, value in CONFIG.items()
        if ".worker." in key
    ]
    options = dict(said.options)
    prologue = [*options.pop("job_script_prologue"), *exports]
    try:
        return getattr(dask_jobqueue, f"{said.system}Cluster")(
            **options,
            job_script_prologue=prologue,
            scheduler_options={"dashboard_address": ":8787" if dashboard else None},
        )
    except (TypeError, ValueError) as error:
        raise UserError(f"dask-jobqueue refuses the options for {said.system}: {error}") from error


def job_script(path: Path) -> str:
    """The job that a cluster file leads to, as dask-jobqueue submits it.

    Raises UserError as `read_cluster_file` and `batch_cluster` do.
    """
    with quiet(), batch_cluster(read_cluster_file(path)) as cluster:
        return str(cluster.job_script())
