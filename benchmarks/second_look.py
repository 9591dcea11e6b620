"""The second look of `compare` by itself, without networks: blocks of heads at two visits.

    python benchmarks/second_look.py              # blocks from label maps 17-20
    python benchmarks/second_look.py --tuning     # from maps 1-16, which the rule was chosen on

A block of 96 x 96 x 64 mm around the deep nuclei (T2*-GRE) has ten microbleeds, and twelve more
at follow-up, where pose, noise, motion, tilt and half the time the slices are others.
Every microbleed that looks 2 mm or larger, and every other dark spot, is taken as reported at one
visit only, as far off in place and size as detection and registration are, and looked up at the
other visit. Only a microbleed that came since must be called new or gone. A block costs a tenth of
a pair of heads (visits.py), and what is measured does not change with the networks.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from nibabel.affines import apply_affine
from numpy.typing import NDArray
from scipy import ndimage

from microbleeds.scan import Scan
from microbleeds.simulate import HeadSettings, SimulatedHead, lesions
from microbleeds.simulate import anatomy as an
from microbleeds.simulate.anatomy import load_anatomy
from microbleeds.simulate.deform import deform, rotation
from microbleeds.simulate.echoes import record_echoes
from microbleeds.simulate.head import BRAIN_MM
from microbleeds.simulate.images import scan_images
from microbleeds.simulate.scanner import random_protocol
from microbleeds.simulate.tissue import bleed_free_tissue, excited, fine_grid
from microbleeds.simulate.visits import Visit as Scanned
from microbleeds.simulate.visits import random_return
from microbleeds.steps import Candidate
from microbleeds.study.compare import findings
from microbleeds.study.longitudinal import Rules
from microbleeds.study.visit import Visit

ANATOMY = Path(__file__).parents[2] / "shared" / "anatomy"
MAPS = [ANATOMY / f"training_seg_{n:02d}.nii.gz" for n in range(1, 21)]
BLOCK_MM = np.array([96, 96, 64])
EDGE_MM = 10.0  # of the block: not looked at, since nothing is simulated beyond
OLD, NEW = 10, 12
PLACE_MM, SIZE, REGISTRATION_MM = 0.35, 0.15, 0.12  # errors: standard deviations, size as log
SPOT_MM, AROUND_MM, SPOTS = 0.9, 3.5, 40  # blurs whose ratio makes a spot; so many of a scan
SMALLEST_MM3 = np.pi / 6 * 2.0**3
APART_MM = 5.0  # from any microbleed, or a spot may be a part of it
STRIDE = 5  # through the label maps
LIMITS = (0.5, 0.55, 0.58, 0.6, 0.65, 0.7)


@dataclass(frozen=True)
class Block:
    """Both scans, and for each the rigid matrix (4, 4) from the block's mm, 0 in its middle."""

    heads: list[SimulatedHead]
    frames: list[NDArray[np.float64]]


def simulate(path: Path, seed: tuple[int, ...]) -> Block:
    """One block of a label map at two visits; see `simulate_visits` for what stays the same."""
    rng = np.random.default_rng(seed)
    settings, protocol = HeadSettings(whole_head=False), random_protocol(rng)
    whole = deform(load_anatomy(path), BRAIN_MM, settings.anatomy, rng)
    middle = np.argwhere(an.select(whole, an.THALAMUS)).mean(0) + rng.uniform(-1, 1, 3) * 30
    low = np.clip(middle - BLOCK_MM / 2, 0, np.array(whole.shape) - BLOCK_MM).astype(int)
    labels = whole[tuple(slice(a, a + n) for a, n in zip(low, BLOCK_MM, strict=True))].copy()
    bleeds: tuple[lesions.Bleed, ...] = ()
    heads, frames = [], []
    for visit in (Scanned(protocol, new=OLD), random_return(protocol, NEW, rng)):
        bleeds = lesions.place_bleeds(
            labels, replace(settings.lesions, count=(visit.new, visit.new)), rng, bleeds
        )
        same, made, pose = np.random.default_rng([*seed, 1]), visit.protocol, visit.pose
        maps = excited(labels, made, same)
        lying = pose.image(labels, order=0)
        grid = fine_grid(lying, made, True, pose)
        tissue = bleed_free_tissue(labels, maps, grid, made, same)
        there = tuple(pose.bleed(bleed, labels.shape) for bleed in bleeds)
        echoes = record_echoes(tissue, there, grid, made, False)
        heads.append(scan_images(echoes, lying, there, grid, made, ("t2star",), settings, rng))
        frame = np.eye(4)
        tilt = rotation(np.deg2rad([*made.tilt_deg, 0.0]))
        frame[:3, :3], frame[:3, 3] = tilt @ pose.rotation, tilt @ pose.shift_mm
        frames.append(frame)
    return Block(heads, frames)


def spots(head: SimulatedHead) -> NDArray[np.float64]:
    """Places (N, 3) that are darkest against what is around them."""
    image, voxel = head.images["t2star"], np.linalg.norm(head.affine[:3, :3], axis=0)
    small, wide = (ndimage.gaussian_filter(image, mm / voxel) for mm in (SPOT_MM, AROUND_MM))
    dark = np.where(head.brain, 1 - small / np.maximum(wide, 1e-6), 0)
    size = 2 * np.rint(2.5 / voxel).astype(int) + 1
    peaks = np.argwhere((dark > 0) & (dark == ndimage.maximum_filter(dark, size=size)))
    darkest = np.argsort(-dark[tuple(peaks.T)])[:SPOTS]
    return np.asarray(apply_affine(head.affine, peaks[darkest]))


def things(block: Block, here: int, rng: np.random.Generator) -> tuple[list[str], list[Candidate]]:
    """What there is in one of the scans, "new", "old" or "spot", and as if it were reported."""
    head, kinds, table = block.heads[here], [], []
    back = np.linalg.inv(block.frames[here])
    bleeds = apply_affine(
        block.frames[here] @ np.linalg.inv(block.frames[1]),
        np.array([bleed.xyz_mm for bleed in block.heads[1].truth]),
    )
    there = [
        ("new" if bleed.index > OLD else "old", np.array(bleed.xyz_mm), bleed.volume_mm3["t2star"])
        for bleed in head.truth
    ]
    for place in spots(head):
        if np.linalg.norm(bleeds - place, axis=1).min() > APART_MM:
            there.append(("spot", place, float(rng.uniform(8, 30))))
    for kind, place, volume in there:
        within = np.abs(apply_affine(back, place)) < BLOCK_MM / 2 - EDGE_MM
        if volume < SMALLEST_MM3 or not within.all():
            continue
        x, y, z = place + rng.normal(0, PLACE_MM, 3)
        size = float(np.cbrt(6 * volume / np.pi) * rng.lognormal(0, SIZE))
        kinds.append(kind)
        table.append(Candidate(len(kinds), (x, y, z), volume, size, 0.0, 10.0, 0.9))
    return kinds, table


def looked_up(block: Block, rng: np.random.Generator) -> list[tuple[str, float]]:
    """Of everything in view at both visits: what it is, and how dark it is at the other visit."""
    seen = []
    scans = [
        Visit(Scan(head.images["t2star"], head.affine, "t2star"), head.brain, (), Path(), {})
        for head in block.heads
    ]
    for here, other in ((1, 0), (0, 1)):
        kinds, table = things(block, here, rng)
        matrix = block.frames[other] @ np.linalg.inv(block.frames[here])
        matrix[:3, 3] += rng.normal(0, REGISTRATION_MM, 3)
        one = replace(scans[here], table=tuple(table))
        found = findings(one, scans[other], matrix, Rules())
        seen += [
            (kind, float(trace))
            for kind, trace, covered in zip(kinds, found.traces, found.covered, strict=True)
            if covered
        ]
    return seen


def main(
    blocks: Annotated[int, typer.Option(help="How many")] = 8,
    seed: Annotated[int, typer.Option(help="Of the series")] = 82,
    tuning: Annotated[bool, typer.Option(help="Blocks from label maps 1-16")] = False,
) -> None:
    """Print the table."""
    maps = MAPS[:16] if tuning else MAPS[16:]
    seen: list[tuple[str, float]] = []
    for number in range(blocks):
        block = simulate(maps[number * STRIDE % len(maps)], (seed, number))
        seen += looked_up(block, np.random.default_rng([seed, number, 2]))
        print(f"  block {number}: {Counter(kind for kind, _ in seen)}", flush=True)
    print("| as dark from | new ones seen as new | old ones called a change | dark spots |")
    print("|---|---|---|---|")
    for limit in LIMITS:
        counts = []
        for kind in ("new", "old", "spot"):
            traces = np.array([trace for what, trace in seen if what == kind])
            counts.append(f"{(traces < limit).sum()} of {len(traces)}")
        print(f"| {limit:.0%} | " + " | ".join(counts) + " |")


if __name__ == "__main__":
    typer.run(main)
