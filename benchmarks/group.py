"""The group level on a folder of made-up records: what it costs, and what its page looks like.

    python benchmarks/group.py OUT --scans 60          # then open OUT/group.html
    python benchmarks/group.py OUT --scans 50000 --no-pages

No scan and no network: every number in OUT is drawn at random, only the form is that of `detect`.
Prints the seconds and the highest memory of the process for the group level alone.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from microbleeds.mni.atlas import REGIONS
from microbleeds.mni.register import Registration
from microbleeds.models.card import read_card
from microbleeds.models.engine import Engine
from microbleeds.models.zoo import BRAIN_MODEL, DEFAULT_MODEL, WEIGHTS, Models
from microbleeds.pipeline import Detections
from microbleeds.prepare.traits import Traits
from microbleeds.report.bids import output_paths, tree_folder
from microbleeds.report.files import write_json
from microbleeds.report.results import record
from microbleeds.report.table import write_detections
from microbleeds.scan import Scan
from microbleeds.settings import Contrast
from microbleeds.steps import Candidate

CONTRASTS: tuple[Contrast, ...] = ("t2star", "swi", "qsm")
SUFFIXES = {"t2star": "T2starw", "swi": "swi", "qsm": "Chimap"}
_TYPICAL = {
    "t2star": Traits(0.8, 3.0, 1450, 0.0, 0.03, 0.035, 0.05, 0.0),
    "swi": Traits(0.6, 2.0, 1450, 0.0, 0.03, 0.035, 0.05, 0.0),
    "qsm": Traits(0.8, 2.0, 1400, 0.0, 0.4, 0.005, 0.01, 0.01),
}
_WHERE = np.array([1, 3, 3, 4, 1, 1, 1, 3, 9, 6, 6, 5, 1]) / 44  # as REGIONS


def fabricate(out: Path, scans: int, seed: int = 0, pages: bool = True, failed: int = 3) -> None:
    """Records of scans that never were, in a BIDS tree, and failures; pages: to link to."""
    weights = WEIGHTS / DEFAULT_MODEL
    card = read_card(weights)
    unused = Engine(weights, config=card.networks)  # reads nothing before it runs
    models = Models(card, unused, unused, weights)
    mask = read_card(WEIGHTS / BRAIN_MODEL)
    rng = np.random.default_rng(seed)
    for number in range(scans):
        contrast = CONTRASTS[int(rng.choice(3, p=(0.5, 0.3, 0.2)))]
        name = f"sub-{number:05d}_{SUFFIXES[contrast]}"
        paths = output_paths(name, tree_folder(name, out))
        paths.report.parent.mkdir(parents=True, exist_ok=True)
        scan, found = _scan_and_result(rng, contrast, models)
        said = record(scan, Path("raw") / f"{name}.nii.gz", found, models)
        said |= {
            "brain_cm3": round(found.traits.brain_cm3, 1) if found.traits else 0.0,
            "brain_mask": {"name": mask.name, "files": mask.files},
            "series": None,
        }
        write_json(paths.report, said)
        write_detections(paths.table, found.table, scan.affine)
        if pages:
            paths.page.write_text(f"<!DOCTYPE html><title>{name}</title><p>{name}, made up")
    _write_failures(out, failed)


def _scan_and_result(
    rng: np.random.Generator, contrast: Contrast, models: Models
) -> tuple[Scan, Detections]:
    count = int(min(rng.negative_binomial(0.45, 0.16), 60))
    rows = tuple(sorted(_candidates(rng, count), key=lambda row: not row.kept))
    typical = _TYPICAL[contrast]
    brain_cm3 = rng.normal(typical.brain_cm3, 110) * (0.35 if rng.random() < 0.03 else 1)
    noise = typical.noise * (8 if rng.random() < 0.04 else 1)
    slice_mm = 7.5 if rng.random() < 0.04 else typical.slice_mm
    traits = replace(typical, brain_cm3=float(brain_cm3), noise=noise, slice_mm=slice_mm)
    problem = "the brains overlap by 0.61" if rng.random() < 0.04 else ""
    if problem:
        rows = tuple(replace(row, region="", side="") for row in rows)
    spacing = np.array([typical.in_plane_mm, typical.in_plane_mm, slice_mm])
    scan = Scan(np.ones((2, 2, 2), np.float32), np.diag([*spacing, 1.0]), contrast, "made up")
    labels = np.zeros((2, 2, 2), np.int32)
    steps = {
        "brain mask": 2.0, "preparation": 3.0, "step 1: candidates": 6.0,
        "step 2: discrimination": 0.1 + 0.05 * count, "step 3: clean-up": 0.3, "regions": 4.0,
    }  # fmt: skip
    seconds = {name: round(float(s * rng.lognormal(0, 0.5)), 3) for name, s in steps.items()}
    found = Detections(
        labels, rows, labels == 0, 0.2, models.card.settings(), seconds,
        Registration(np.eye(4), np.eye(4), 0.9, problem), traits,
    )  # fmt: skip
    return scan, found


def _candidates(rng: np.random.Generator, count: int) -> Iterator[Candidate]:
    for number in range(count + int(rng.poisson(6))):
        volume = float(rng.lognormal(2.6, 0.7))
        kept = number < count
        probability = float(rng.uniform(0.12, 1) if kept else rng.uniform(0, 0.1))
        yield Candidate(
            number + 1, (0.0, 0.0, 0.0), volume, 2 * (volume * 3 / 4 / np.pi) ** (1 / 3), 0.2, 20.0,
            0.7, probability, probability, "" if kept else "step 2: improbable",
            REGIONS[int(rng.choice(len(REGIONS), p=_WHERE))], "left",
        )  # fmt: skip


def _write_failures(out: Path, count: int) -> None:
    folder = out / "failures"
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        name = f"sub-9{number:04d}_T2starw"
        said: dict[str, Any] = {
            "source": f"raw/{name}.nii.gz",
            "contrast": "t2star",
            "sentence": f"raw/{name}.nii.gz has no signal; give a scan that has.",
            "key": None,
        }
        (folder / f"{name}.json").write_text(json.dumps(said))


def main(
    out: Path,
    scans: Annotated[int, typer.Option(help="How many records")] = 60,
    seed: int = 0,
    pages: Annotated[bool, typer.Option(help="A page for each scan, to link to")] = True,
) -> None:
    """Make the records, then the group level in a process of its own, which is measured."""
    fabricate(out, scans, seed, pages)
    start = time.perf_counter()
    command = "from microbleeds.cli import main; main()"
    subprocess.run([sys.executable, "-c", command, "group", str(out)], check=True)
    seconds = time.perf_counter() - start
    memory_mb = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    print(f"{scans} scans: {seconds:.1f} s, at most {memory_mb:.0f} MB")


if __name__ == "__main__":
    typer.run(main)
