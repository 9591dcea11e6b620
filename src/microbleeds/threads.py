"""How many threads a process may use."""

from __future__ import annotations

import os

# What schedulers and Dask's workers tell a process.
VARIABLES = ("SLURM_CPUS_PER_TASK", "OMP_NUM_THREADS")


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
