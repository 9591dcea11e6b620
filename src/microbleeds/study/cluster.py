"""Where a cohort runs: on this machine, on a Dask cluster that is there, or on a batch system.

All of it is Dask.distributed and dask-jobqueue; every worker is one process with one thread.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from microbleeds.console import extra
from microbleeds.errors import UserError
from microbleeds.study.batch import batch_cluster, read_cluster_file
from microbleeds.study.engine import CONFIG, quiet
from microbleeds.threads import allowed_threads

if TYPE_CHECKING:
    from distributed import Client

DEFAULT_RETRIES = 3
_PATIENCE_S = 20  # for a scheduler that is said to be there


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


@contextmanager
def connect(resources: Resources) -> Iterator[Connection]:
    """A running engine, shut down afterwards (a cluster that was there stays).

    Raises UserError when Dask is not installed or the cluster cannot be had.
    """
    with extra("cohort"):
        import dask
        import distributed
    config = {**CONFIG, "distributed.scheduler.allowed-failures": resources.retries}
    with ExitStack() as stack:
        stack.enter_context(dask.config.set(config))
        stack.enter_context(quiet())
        if resources.scheduler is not None:
            client = stack.enter_context(_existing(resources.scheduler))
            yield Connection(client, lambda: client.scheduler_info(n_workers=0)["total_threads"])
            return
        if resources.file is not None:
            said = read_cluster_file(resources.file)
            cluster: Any = stack.enter_context(batch_cluster(said, resources.dashboard))
            _submit_first(cluster, said.system, resources.file)
            cluster.adapt(minimum=said.minimum, maximum=said.maximum)
            cores = said.maximum
        else:
            cores = resources.workers or allowed_threads()
            cluster = stack.enter_context(_local(resources, cores))
        client = stack.enter_context(distributed.Client(cluster))
        yield Connection(client, lambda: cores)


def _submit_first(cluster: Any, system: str, file: Path) -> None:
    """Submit one job at once: where the batch system refuses it, Dask alone would wait for ever.

    Raises UserError with the words of the batch system.
    """
    from distributed import Status

    async def submitted() -> None:
        await cluster

    cluster.worker_spec.update(cluster.new_worker_spec())
    try:
        cluster.sync(submitted)
    except (OSError, RuntimeError, ValueError) as error:
        for job in cluster.workers.values():
            job.status = Status.failed  # closing the cluster asserts that none is unfinished
        said = " ".join(str(error).rpartition("stderr:\n")[2].split() or str(error).split())
        raise UserError(
            f"{system} did not take the first job ({said}); correct {file}, of which --job-script "
            "shows the job, or run where jobs can be submitted."
        ) from error


def _local(resources: Resources, workers: int) -> Any:
    from distributed import LocalCluster

    limit = resources.memory_limit_gb
    try:
        return LocalCluster(
            n_workers=workers,
            threads_per_worker=1,
            memory_limit=f"{limit}GB" if limit else "auto",
            dashboard_address="127.0.0.1:8787" if resources.dashboard else None,
            silence_logs=logging.CRITICAL,
        )
    except RuntimeError as error:
        raise UserError(
            f"The workers could not be started ({error}); see whether this machine lets processes "
            "of yours start and talk to each other."
        ) from error


def _existing(address: str) -> Client:
    from distributed import Client

    try:
        return Client(address, timeout=_PATIENCE_S)
    except (OSError, ValueError) as error:
        raise UserError(
            f"No Dask scheduler answers at {address}; start one with `dask scheduler`, or give "
            "the address that it prints, such as tcp://host:8786."
        ) from error
