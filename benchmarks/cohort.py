"""Cohorts: what the engine costs, and whether anything is lost when it is killed.

    python benchmarks/cohort.py data                 # 40 simulated scans, four of them broken
    python benchmarks/cohort.py kill-workers         # a worker killed every few seconds
    python benchmarks/cohort.py kill-run             # the whole run killed ten times, and resumed
    python benchmarks/cohort.py full-disk            # the disk full in the middle, then not
    python benchmarks/cohort.py throughput           # one worker against two
    python benchmarks/cohort.py overhead             # 10,000 tasks that do nothing
    python benchmarks/cohort.py memory               # of the main process, 40 to 4,000 stub scans

Everything is kept in work/cohort. Those that kill compare with a run that nothing disturbed: every
table byte for byte, every image voxel for voxel, every record but for seconds and temporary facts.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Annotated, Any

import nibabel as nib
import numpy as np
import psutil
import typer

from microbleeds.run import Wanted
from microbleeds.scan import write_nifti
from microbleeds.settings import Contrast
from microbleeds.simulate import HeadSettings
from microbleeds.simulate.anatomy import SHIPPED_ANATOMY, load_anatomy
from microbleeds.simulate.dataset import SUFFIX
from microbleeds.simulate.head import simulate_head
from microbleeds.simulate.scanner import Protocol
from microbleeds.study.cluster import Resources, connect
from microbleeds.study.cohort import run_jobs
from microbleeds.study.scans import ScanJob
from microbleeds.study.worker import JobOutcome, Plan

WORK = Path(__file__).parents[1] / "work" / "cohort"
DATA = WORK / "data"
CONTRASTS: tuple[Contrast, ...] = ("t2star", "swi", "qsm")
BASES = 2  # heads that are simulated; the others are these, shifted, with noise of their own
BROKEN = {4: "truncated", 13: "constant", 22: "4D", 31: "no NIfTI"}  # by number of the scan
PASSING = {"seconds"}  # of a record: what two runs of the same scan do not share
app = typer.Typer(no_args_is_help=True, pretty_exceptions_enable=False)
Scans = Annotated[int, typer.Option(help="The first so many; a broken one is among ten")]


@app.command()
def data(scans: int = 40) -> None:
    """Simulate the scans: small grids, three contrasts in turn, one in ten broken."""
    begun = time.perf_counter()
    DATA.mkdir(parents=True, exist_ok=True)
    heads = []
    for number in range(BASES):
        protocol = Protocol(acquired_mm=1.2, pixel_mm=1.2, slice_mm=4.0, snr=40, te_ms=25)
        rng = np.random.default_rng([6, number])
        anatomy = load_anatomy(SHIPPED_ANATOMY)
        heads.append(simulate_head(anatomy, protocol, CONTRASTS, HeadSettings(), rng))
    for number in range(scans):
        contrast, head = CONTRASTS[number % 3], heads[number // 3 % BASES]
        path = scan_path(number)
        path.parent.mkdir(parents=True, exist_ok=True)
        rng = np.random.default_rng([7, number])
        image = head.images[contrast].astype(np.float32)
        image = image[int(rng.integers(4)) :, int(rng.integers(4)) :]
        image += 0.01 * image.std() * rng.standard_normal(image.shape).astype(np.float32)
        image = image if contrast == "qsm" else np.maximum(np.round(image), 0)
        write_broken(path, image, head.affine, BROKEN.get(number, ""))
    description = {"Name": "Simulated cohort", "BIDSVersion": "1.10.0"}
    (DATA / "dataset_description.json").write_text(json.dumps(description))
    size = sum(path.stat().st_size for path in DATA.rglob("*.nii.gz")) / scans / 1e6
    print(f"{scans} scans in {DATA}, {size:.1f} MB each, {time.perf_counter() - begun:.0f} s")


def scan_path(number: int) -> Path:
    """Where the scan of a number lies."""
    subject = f"sub-{number + 1:02d}"
    return DATA / subject / "anat" / f"{subject}_{SUFFIX[CONTRASTS[number % 3]]}.nii.gz"


def write_broken(path: Path, image: np.ndarray, affine: np.ndarray, how: str) -> None:
    """The scan, whole or broken in some way."""
    if how == "constant":
        image = np.full_like(image, 7)
    elif how == "4D":
        image = np.stack([image, image], axis=-1)
    write_nifti(path, image, affine)
    if how == "truncated":
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    elif how == "no NIfTI":
        path.write_bytes(b"no scan at all")


if __name__ == "__main__":
    app()
