"""Scratch folders: gone with their run, removed after a kill, left alone while a run goes on."""

from __future__ import annotations

import signal
import subprocess
import sys

from microbleeds.study.scratch import SCRATCH, run_scratch

HOLD = """
import sys, time
from pathlib import Path
from microbleeds.study.scratch import run_scratch
with run_scratch(Path(sys.argv[1])) as own:
    (own / "half.nii.gz").touch()
    print(own, flush=True)
    time.sleep(60)
"""


def test_nothing_stays(tmp_path):
    with run_scratch(tmp_path) as own:
        (own / "deep").mkdir()
        assert own.is_relative_to(tmp_path)
    assert not list(tmp_path.iterdir())


def test_only_what_a_killed_run_left_is_removed(tmp_path):
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, tmp_path], stdout=subprocess.PIPE, text=True
    ) as other:
        held = other.stdout.readline().strip()
        with run_scratch(tmp_path) as own:
            assert {str(path) for path in (tmp_path / SCRATCH).iterdir()} == {held, str(own)}
        other.send_signal(signal.SIGKILL)
    with run_scratch(tmp_path) as own:
        assert list((tmp_path / SCRATCH).iterdir()) == [own]
