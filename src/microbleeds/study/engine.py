"""How Dask is set up for cohorts: one core a worker, few memories, no noise."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

_NOISY = ("distributed", "distributed.client", "tornado", "tornado.application", "asyncio")
_THREADS = (
    "OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS",
    "ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS",
)  # fmt: skip
ONE_THREAD = dict.fromkeys(_THREADS, "1")
CONFIG: dict[str, Any] = {
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
    "distributed.nanny.pre-spawn-environ": {"MALLOC_TRIM_THRESHOLD_": 65536, **ONE_THREAD},
}


@contextmanager
def quiet() -> Iterator[None]:
    """Without what Dask says of workers that come and go, and of ports that others use."""
    for name in _NOISY:
        logging.getLogger(name).setLevel(logging.CRITICAL)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Port .* is already in use")
        yield
