"""Where results lie until they are whole: a folder a run, in the output folder's file system."""

from __future__ import annotations

import fcntl
import os
import shutil
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from uuid import uuid4

from microbleeds.files import make_folder

SCRATCH = ".scratch"
_LOCK = "run.lock"


@contextmanager
def run_scratch(out: Path) -> Iterator[Path]:
    """A scratch folder for one run, gone afterwards; those of runs that were killed go first.

    A run holds a lock in its folder, which the system takes back however the run ends, so that
    runs side by side leave each other's folders alone.
    Raises UserError where no folder can be made.
    """
    root = make_folder(out / SCRATCH)
    for folder in root.glob("[!.]*"):
        if _abandoned(folder):
            shutil.rmtree(folder, ignore_errors=True)
    name = f"{socket.gethostname()}-{os.getpid()}-{uuid4().hex[:8]}"
    unlocked = make_folder(root / f".{name}")
    with (unlocked / _LOCK).open("w") as lock:
        with suppress(OSError):  # a file system without locks: nobody will take it for abandoned
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        own = unlocked.rename(root / name)
        try:
            yield own
        finally:
            shutil.rmtree(own, ignore_errors=True)
            with suppress(OSError):  # another run has its folder there
                root.rmdir()


def _abandoned(folder: Path) -> bool:
    """Whether no run holds the lock any more."""
    try:
        with (folder / _LOCK).open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True
