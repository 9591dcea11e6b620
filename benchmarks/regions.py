"""How often the region of a microbleed is right, on simulated heads whose labels are known.

    python benchmarks/regions.py --heads 6               # all contrasts, minutes
    python benchmarks/regions.py --part slab --part stripped --contrast t2star

The heads are those of accuracy.py, which has to run first, from label maps 17-20 of
../shared/anatomy, which the atlas was not built from. Each head's labels are made again from its
seed, and the rule the atlas was built by (`regions_of` of atlas_rules.py) gives the true region at
each place; lobes come with their map, onto which they were carried from MNI space by the build's
non-linear registration. Rated are the head's own microbleeds, and besides them `--places` more a
head, drawn where the simulation draws bleeds: whether a region is right does not depend on whether
the networks see a bleed.
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, get_args

import numpy as np
import typer
from accuracy import HELD_OUT, SEED, heads_folder, simulated
from numpy.typing import NDArray
from region_truth import region_truth

from microbleeds import Scan, load_brain, read_scan
from microbleeds.mni.atlas import REGIONS, group_of
from microbleeds.mni.regions import HeadRegions
from microbleeds.models.engine import Engine
from microbleeds.models.zoo import load_regions
from microbleeds.prepare.brain import brain_mask
from microbleeds.report.regions import locate_regions
from microbleeds.settings import Contrast
from microbleeds.simulate import anatomy as an
from microbleeds.simulate.lesions import LesionRanges, place_bleeds

SLAB_MM = 60.0
HEADER = (
    "| contrast | part | own microbleeds: region | places: region | group | side | refused "
    "| CPU-seconds: median, most |\n|---|---|---|---|---|---|---|---|"
)


@dataclass(frozen=True)
class Rated:
    """A place: its true region and the one given, whether the side was right, whether it is one of
    the head's own microbleeds.
    """

    truth: str
    given: str
    side: bool
    own: bool


@dataclass(frozen=True)
class TrueHead:
    """places: (N, 3) scanner mm, the head's own microbleeds first, `own` of them; region and side
    at each.
    """

    places: NDArray[np.float64]
    own: int
    region: NDArray[np.str_]
    side: NDArray[np.str_]


def true_head(
    index: int, own: NDArray[np.float64], count: int, anatomies: list[Path], volume: bool
) -> TrueHead:
    """The labels of a head of the series, made again, at its microbleeds and at `count` places."""
    made = region_truth(SEED, index, anatomies, volume)
    evenly = LesionRanges(count=(count, count), cluster_chance=0, predominance=0)
    bleeds = place_bleeds(made.labels, evenly, np.random.default_rng(index))
    drawn = np.array([bleed.centre for bleed in bleeds]).reshape(-1, 3)
    linear, origin = made.affine[:3, :3], made.affine[:3, 3]
    voxels = np.vstack([(own - origin) @ np.linalg.inv(linear).T, drawn])
    names = np.array(["", *REGIONS])[made.regions[tuple(np.rint(voxels).astype(int).T)]]
    places = voxels @ linear.T + origin
    return TrueHead(places, len(own), names, _sides(made.labels, voxels))


def _sides(labels: NDArray[np.int16], voxels: NDArray[np.float64]) -> NDArray[np.str_]:
    """Which side of the plane between the hemispheres each place lies on."""
    cerebrum = (an.LEFT_CEREBRUM, an.RIGHT_CEREBRUM)
    hemispheres = [np.argwhere(an.select(labels, side)) for side in cerebrum]
    a, b = (np.mean(points, axis=0) for points in hemispheres)
    across = (b - a) * np.sign(b[0] - a[0])
    return np.where((voxels - (a + b) / 2) @ across > 0, "right", "left")


def part_of(scan: Scan, part: str, engine: Engine) -> Scan:
    """The whole scan, the brain without the head around it, or a slab from the brain's middle."""
    if part == "whole":
        return scan
    brain = brain_mask(scan, engine)
    if part == "stripped":
        return replace(scan, voxels=np.where(brain, scan.voxels, 0).astype(np.float32))
    axis = int(np.argmax(scan.spacing))
    middle = np.flatnonzero(brain.any(axis=tuple({0, 1, 2} - {axis}))).mean()
    half = SLAB_MM / 2 / scan.spacing[axis]
    first, last = max(int(middle - half), 0), int(middle + half)
    affine = scan.affine.copy()
    affine[:3, 3] += affine[:3, axis] * first
    voxels = np.take(scan.voxels, range(first, last), axis=axis)
    return replace(scan, voxels=voxels, affine=affine)


def inside(scan: Scan, places: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Which places the scan covers."""
    voxels = (places - scan.affine[:3, 3]) @ np.linalg.inv(scan.affine[:3, :3]).T
    return np.asarray(((voxels > -0.5) & (voxels < np.array(scan.voxels.shape) - 0.5)).all(axis=1))


def rate(truth: TrueHead, covered: NDArray[np.bool_], regions: HeadRegions) -> list[Rated]:
    """Every place that the scan covers."""
    rated = []
    known = np.flatnonzero(covered & (truth.region != ""))
    for i, (region, side) in zip(known, regions.at(truth.places[known]), strict=True):
        rated.append(
            Rated(str(truth.region[i]), region, bool(side == truth.side[i]), bool(i < truth.own))
        )
    return rated


def share(right: list[bool]) -> str:
    """As per cent with the number of places."""
    return f"{100 * np.mean(right):.1f} % of {len(right)}" if right else "none"


def main(
    heads: Annotated[int, typer.Option(help="How many simulated heads")] = 30,
    contrast: Annotated[list[str] | None, typer.Option(help="t2star, swi, qsm")] = None,
    part: Annotated[list[str] | None, typer.Option(help="whole, stripped, slab")] = None,
    places: Annotated[int, typer.Option(help="Places a head besides its microbleeds")] = 200,
    anatomy: Annotated[Path, typer.Option(help="Folder of the label maps")] = HELD_OUT[0].parent,
) -> None:
    """Print the table, and which regions are taken for which."""
    anatomies = [anatomy / path.name for path in HELD_OUT]
    engine, network = load_brain(), load_regions()
    print(HEADER)
    for kind in contrast or get_args(Contrast):
        folder = heads_folder(kind)
        cases = list(simulated(folder, kind))[:heads]
        truths = [
            true_head(i, _microbleeds(folder, case.name), places, anatomies, kind != "t2star")
            for i, case in enumerate(cases)
        ]
        for which in part or ["whole"]:
            rows: list[Rated] = []
            seconds, refused = [], []
            for case, truth in zip(cases, truths, strict=True):
                scan = part_of(read_scan(case.image, kind), which, engine)  # type: ignore[arg-type]
                brain = brain_mask(scan, engine)
                start = time.process_time()
                regions = locate_regions(scan, brain, network)
                if problem := regions.registration.problem:
                    refused.append(f"{case.name}: {problem}")
                    continue
                seconds.append(time.process_time() - start)
                rows += rate(truth, inside(scan, truth.places), regions)
            _show(kind, which, rows, seconds, refused)


def _microbleeds(folder: Path, subject: str) -> NDArray[np.float64]:
    record = json.loads((folder / f"{subject}.json").read_text())
    return np.array([b["xyz_mm"] for b in record["microbleeds"]]).reshape(-1, 3)


def _show(
    kind: str, part: str, rows: list[Rated], seconds: list[float], refused: list[str]
) -> None:
    places = [row for row in rows if not row.own]
    groups = [group_of(row.truth) == group_of(row.given) for row in places]
    print(
        f"| {kind} | {part} | {share([r.truth == r.given for r in rows if r.own])} "
        f"| {share([r.truth == r.given for r in places])} | {share(groups)} "
        f"| {share([r.side for r in places])} "
        f"| {len(refused)} | {np.median(seconds):.1f}, {max(seconds):.1f} |",
        flush=True,
    )
    for region in REGIONS:
        given = [row.given for row in places if row.truth == region]
        wrong = sorted({g for g in given if g != region}, key=lambda g: -given.count(g))
        taken = ", ".join(f"{g or 'none'} {given.count(g)}" for g in wrong)
        if given:
            print(f"    {region}: {share([g == region for g in given])}; taken for {taken}")
    for line in refused:
        print(f"    refused {line}")


if __name__ == "__main__":
    typer.run(main)
