"""How many threads a process may use."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol, TypeVar

Result = TypeVar("Result")

# What schedulers and Dask's workers tell a process.
VARIABLES = ("SLURM_CPUS_PER_TASK", "OMP_NUM_THREADS")


class Start(Protocol):
    """Begins a work; what it returns waits for the result."""

    def __call__(self, work: Callable[[], Result], /) -> Callable[[], Result]:
        """Where the work raises, so does what is returned."""


def limit_simpleitk(wanted: int = 0) -> None:
    """Let what this process computes with SimpleITK from now on take `allowed_threads` at most."""
    import SimpleITK as sitk  # noqa: N813

    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(allowed_threads(wanted))


def allowed_threads(wanted: int = 0) -> int:
    """`wanted`, or as many as the machine, the container (cgroup) and the scheduler allow."""
    if wanted > 0:
        return wanted
    from loky.backend.context import cpu_count

    told = (os.environ.get(name, "") for name in VARIABLES)
    limits: list[int] = [cpu_count()]
    limits += [int(text) for text in told if text.isdecimal() and int(text) > 0]
    return min(limits)


@contextmanager
def beside(threads: int = 0) -> Iterator[Start]:
    """Work on one thread beside this one, where `allowed_threads` are two or more.

    With one thread, a work is done when its result is asked for.
    """
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(1) as pool:

        def start(work: Callable[[], Result], /) -> Callable[[], Result]:
            return pool.submit(work).result if allowed_threads(threads) > 1 else work

        yield start
