"""Where a cohort runs: on this machine, on a Dask cluster that is there, or on a batch system.

All of it is Dask.distributed and dask-jobqueue; every worker is one process with one thread.
"""

from __future__ import annotations

import logging
import tomllib
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from microbleeds.console import extra
from microbleeds.errors import UserError
from microbleeds.threads import allowed_threads

if TYPE_CHECKING:
    from dask_jobqueue import JobQueueCluster
    from distributed import Client

DEFAULT_RETRIES = 3
_SYSTEMS = ("SLURM", "PBS", "LSF", "SGE", "HTCondor")
_PATIENCE_S = 20  # for a scheduler that is said to be there
_NOISY = ("distributed", "distributed.client", "tornado", "tornado.application", "asyncio")
_THREADS = (
    "OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS",
    "ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS",
)  # fmt: skip
_ONE_THREAD = dict.fromkeys(_THREADS, "1")
_CONFIG: dict[str, Any] = {
    # what the scheduler remembers of tasks that are over: its memory must not grow with them
    "distributed.admin.log-length": 100,
    "distributed.admin.low-level-log-length": 100,
    "distributed.admin.system-monitor.log-length": 100,
    "distributed.diagnostics.computations.max-history": 1,
    "distributed.scheduler.dashboard.tasks.task-stream-length": 1000,
    # a scan takes most of a worker's memory: that is no reason to wait or to write to disk
    "distributed.worker.memory.target": False,
    "distributed.worker.memory.spill": False,
    "distributed.worker.memory.pause": False,
    "distributed.worker.memory.terminate": 0.98,
    "distributed.worker.profile.enabled": False,
    # one scan a worker, the rest waits at the scheduler, where losing a worker does not count
    "distributed.scheduler.worker-saturation": 1.0,
    "distributed.scheduler.work-stealing": False,
    "distributed.nanny.pre-spawn-environ": {"MALLOC_TRIM_THRESHOLD_": 65536, **_ONE_THREAD},
}


@dataclass(frozen=True)
class Resources:
    """Where to run.

    workers: on this machine; 0: one for each core that the process may use. memory_limit_gb: of
    each; 0: an equal share. retries: how often a scan may lose its worker. dashboard: whether to
    serve Dask's. scheduler: address of a cluster that is there. file: says what batch system.
    """

    workers: int = 0
    memory_limit_gb: float = 0.0
    retries: int = DEFAULT_RETRIES
    dashboard: bool = False
    scheduler: str | None = None
    file: Path | None = None


@dataclass(frozen=True)
class Connection:
    """A Dask client, and how many cores there are, or may come, to keep busy."""

    client: Client
    cores: Callable[[], int]


@dataclass(frozen=True)
class ClusterFile:
    """What a cluster file says. options: of the class in dask-jobqueue."""

    system: str
    maximum: int
    minimum: int = 0
    options: Mapping[str, Any] = field(default_factory=dict)


@contextmanager
def connect(resources: Resources) -> Iterator[Connection]:
    """A running engine, shut down afterwards (a cluster that was there stays).

    Raises UserError when Dask is not installed or the cluster cannot be had.
    """
    with extra("cohort"):
        import dask
        import distributed
    for name in _NOISY:
        logging.getLogger(name).setLevel(logging.CRITICAL)
    config = {**_CONFIG, "distributed.scheduler.allowed-failures": resources.retries}
    with ExitStack() as stack:
        stack.enter_context(dask.config.set(config))
        stack.enter_context(warnings.catch_warnings())
        warnings.filterwarnings("ignore", message="Port .* is already in use")
        if resources.scheduler is not None:
            client = stack.enter_context(_existing(resources.scheduler))
            yield Connection(client, lambda: client.scheduler_info(n_workers=0)["total_threads"])
            return
        if resources.file is not None:
            said = read_cluster_file(resources.file)
            cluster: Any = stack.enter_context(batch_cluster(said, resources.dashboard))
            cluster.adapt(minimum=said.minimum, maximum=said.maximum)
            cores = said.maximum
        else:
            cores = resources.workers or allowed_threads()
            cluster = stack.enter_context(_local(resources, cores))
        client = stack.enter_context(distributed.Client(cluster))
        yield Connection(client, lambda: cores)


def _local(resources: Resources, workers: int) -> Any:
    from distributed import LocalCluster

    limit = resources.memory_limit_gb
    return LocalCluster(
        n_workers=workers,
        threads_per_worker=1,
        memory_limit=f"{limit}GB" if limit else "auto",
        dashboard_address="127.0.0.1:8787" if resources.dashboard else None,
        silence_logs=logging.CRITICAL,
    )


def _existing(address: str) -> Client:
    from distributed import Client

    try:
        return Client(address, timeout=_PATIENCE_S)
    except (OSError, ValueError) as error:
        raise UserError(
            f"No Dask scheduler answers at {address}; start one with `dask scheduler`, or give "
            "the address that it prints, such as tcp://host:8786."
        ) from error


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
    exports = [f"export {name}={value}" for name, value in _ONE_THREAD.items()]
    exports += [
        f"export DASK_{key.upper().replace('.', '__')}={value}"
        for key, value in _CONFIG.items()
        if ".worker." in key
    ]
    options = dict(said.options)
    prologue = [*options.pop("job_script_prologue", ()), *exports]
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
    with batch_cluster(read_cluster_file(path)) as cluster:
        return str(cluster.job_script())
