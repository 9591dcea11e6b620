"""How good and how fast the shipped brain mask is: `python benchmarks/brain_mask.py`.

On held-out label maps (random contrast, crops, stripped: the draws of training) and on the real
scans of a folder with `*_brainmask.nii.gz` references, as far as the folders are there.
"""

from __future__ import annotations

import argparse
import csv
import time
from pathlib import Path

import numpy as np
from accuracy import SHARED, heads_folder

from microbleeds.models.card import read_card
from microbleeds.models.engine import Engine
from microbleeds.models.zoo import WEIGHTS
from microbleeds.prepare.brain import PROBABILITIES, brain_mask, brain_probability
from microbleeds.scan import read_mask, read_scan
from microbleeds.simulate.contrast import random_head
from microbleeds.simulate.heads import read_head
from microbleeds.train.brain import dice

HELD_OUT = (17, 18, 19, 20)
DRAWS = 10


def real_scans(folder: Path, engine: Engine) -> None:
    """Dice against the reference (for a stripped scan: its voxels above 0), and missed bleeds."""
    with (folder / "cmb_centres.csv").open() as file:
        bleeds = list(csv.DictReader(file))
    print("scan      Dice   volume cm3 (reference)  bleeds outside  seconds")
    for path in sorted(folder.glob("*T2S.nii.gz")):
        subject = path.name.split("_")[0]
        scan = read_scan(path, "t2star")
        reference = folder / f"{subject}_brainmask.nii.gz"
        truth = read_mask(reference, scan) if reference.exists() else scan.voxels > 0
        start = time.perf_counter()
        found = brain_mask(scan, engine)
        seconds = time.perf_counter() - start
        centres = [tuple(int(row[a]) for a in "ijk") for row in bleeds if row["subject"] == subject]
        outside = sum(not found[centre] for centre in centres)
        cm3 = float(np.prod(scan.spacing)) / 1000
        volumes = f"{found.sum() * cm3:5.0f} ({truth.sum() * cm3:5.0f})           "
        missed = f"{outside} of {len(centres)}"
        print(f"{subject}  {dice(found, truth):.3f}  {volumes}{missed:<14}  {seconds:.2f}")


def simulated_heads(folder: Path, engine: Engine) -> None:
    """Dice on the whole heads that `accuracy.py` made, and what is too much and too little."""
    rows = []
    for path in sorted(folder.glob("*_T2starw.nii.gz")):
        scan = read_scan(path, "t2star")
        truth = read_mask(path.with_name(f"{path.name.split('_')[0]}_desc-brain_mask.nii.gz"), scan)
        found = brain_mask(scan, engine)
        cm3 = float(np.prod(scan.spacing)) / 1000
        rows.append(
            (dice(found, truth), (found & ~truth).sum() * cm3, (truth & ~found).sum() * cm3)
        )
    scores, more, less = np.array(rows).T
    print(f"{len(rows)} simulated heads: Dice {scores.min():.3f}-{scores.max():.3f},", end=" ")
    print(f"mean {scores.mean():.3f}; {more.mean():.0f} cm3 too much, {less.mean():.0f} too little")


def held_out_maps(folder: Path, engine: Engine) -> None:
    """Dice on random heads from maps that training never saw."""
    print(f"map   Dice of {DRAWS} draws: median, lowest")
    for number in HELD_OUT:
        head = read_head(folder / f"training_seg_{number:02d}.nii.gz")
        scores = []
        for draw in range(DRAWS):
            rng = np.random.default_rng([number, draw])
            image, mask = random_head(head, (80, 96, 80), rng)
            scores.append(dice(brain_probability(image, engine) > PROBABILITIES[0], mask))
        print(f"{number:<4}  {np.median(scores):.3f} {min(scores):.3f}")


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, default=WEIGHTS / "brain")
    parser.add_argument("--real", type=Path, default=SHARED / "real_dev")
    parser.add_argument("--anatomy", type=Path, default=SHARED / "anatomy")
    parser.add_argument("--heads", type=Path, default=heads_folder())
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    card = read_card(options.model)
    engine = Engine(options.model / "brain.onnx", options.threads, config=card.networks)
    engine.run(np.zeros((1, 1, 64, 64, 64), np.float32))  # compile before the clock starts
    if options.real.is_dir():
        real_scans(options.real, engine)
    if options.heads.is_dir():
        simulated_heads(options.heads, engine)
    if options.anatomy.is_dir():
        held_out_maps(options.anatomy, engine)


if __name__ == "__main__":
    main()
