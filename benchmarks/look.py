"""Pictures to judge the simulation and the detector by, into a folder that git ignores.

    python benchmarks/look.py errors     # every miss and every false positive, close up
    python benchmarks/look.py errors --contrast swi --heads 8
    python benchmarks/look.py beside     # slices and microbleeds, simulated beside real

Scans are those of `accuracy.py`, whose simulated heads must be there already. Pixels of
../shared/real_dev must never leave the ignored folder.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from accuracy import ROOT, Measured, heads_folder, real, simulated
from numpy.typing import NDArray
from scipy import ndimage

from microbleeds import Detections, Scan, detect, load_brain, load_models, read_scan
from microbleeds.evaluate.matching import counted
from microbleeds.prepare.brain import brain_mask
from microbleeds.steps.conspicuity import conspicuity, detectability, things_in_rings

OUT = ROOT / "work" / "look"
NEAR_MM = 5.0
SIDE_MM = 24.0
COLUMNS = 12
Out = Annotated[Path, typer.Option("--output", "-o", help="Folder for the pictures")]
app = typer.Typer(help=__doc__)


@dataclass(frozen=True)
class CloseUp:
    """A slice around a point, as a share of the brain's brightness, and what to write above it."""

    pixels: NDArray[np.float32]
    aspect: float
    title: str


@app.command()
def errors(
    out: Out = OUT,
    point: Annotated[str, typer.Option(help="Operating point")] = "balanced",
    contrast: Annotated[str, typer.Option(help="t2star (real scans too), swi, qsm")] = "t2star",
    heads: Annotated[int, typer.Option(help="Simulated heads")] = 30,
) -> None:
    """Draw what was missed and what was found wrongly, least and most probable first."""
    models, brain = load_models(), load_brain()
    settings = models.card.settings(point)  # type: ignore[arg-type]
    kinds: dict[str, Iterator[Measured]] = {}
    kinds[f"simulated_{contrast}"] = islice(simulated(heads_folder(contrast), contrast), heads)
    if contrast == "t2star":
        kinds["real"] = real()
    for kind, cases in kinds.items():
        missed: list[tuple[float, CloseUp]] = []
        false: list[tuple[float, CloseUp]] = []
        for case in cases:
            scan = read_scan(case.image, contrast)  # type: ignore[arg-type]
            found = detect(scan, models, brain, settings)
            missed += _missed(case, scan, found)
            false += _false(case, scan, found)
        _draw([c for _, c in sorted(missed, key=lambda m: m[0])], out / f"{kind}_missed.png")
        _draw([c for _, c in sorted(false, key=lambda f: -f[0])], out / f"{kind}_false.png")
        print(f"{kind}: {len(missed)} missed, {len(false)} false, in {out}")


@app.command()
def beside(
    out: Out = OUT,
    heads: Annotated[int, typer.Option(help="Simulated heads")] = 30,
    series: Annotated[
        Path | None, typer.Option(help="Their folder, by default that of accuracy.py")
    ] = None,
) -> None:
    """Draw slices and microbleeds of both kinds; print how dark, large and plain those are."""
    engine = load_brain()
    print("kind       brain: percentiles 1, 50, 99 over the median   microbleeds: number,")
    print(
        "           conspicuity, half-depth volume (mm3), detectability, percentiles 0, 5, 50, 95"
    )
    drawn = islice(simulated(series or heads_folder(), "t2star"), heads)
    for kind, cases in (("real", real()), ("simulated", drawn)):
        slices, bleeds, levels, figures = [], [], [], []
        for case in cases:
            scan = read_scan(case.image, "t2star")
            brain = brain_mask(scan, engine)
            levels.append(np.percentile(scan.voxels[brain], (1, 50, 99)))
            slices += list(_slices(case, scan, brain))
            bleeds += [_close_up(scan, brain, xyz, case.name[-3:]) for xyz in case.seen_mm]
            figures += [f for xyz in case.seen_mm if (f := _figures(scan, brain, xyz))]
        _draw(slices, out / f"{kind}_slices.png", columns=6, size=2.4)
        _draw(bleeds, out / f"{kind}_bleeds.png")
        over = np.mean([level / level[1] for level in levels], axis=0)
        dark, volume, plain = np.percentile(figures, (0, 5, 50, 95), axis=0).T
        print(f"{kind:<10} {np.round(over, 2)}   {len(bleeds)}: {np.round(dark, 2)}, "
              f"{np.round(volume, 1)}, {np.round(plain, 1)}")  # fmt: skip


def _missed(case: Measured, scan: Scan, found: Detections) -> Iterator[tuple[float, CloseUp]]:
    """Every microbleed without a detection near it, with the best candidate's probability."""
    volumes = case.truth.volumes_mm3
    for number in np.flatnonzero(counted(case.truth)):
        xyz = case.truth.xyz_mm[number]
        near = [r for r in found.table if math.dist(r.xyz_mm, xyz) < NEAR_MM]
        if any(row.kept for row in near):
            continue
        best = max(near, key=lambda row: row.probability, default=None)
        size = "" if volumes is None else f" {volumes[number]:.0f} mm3"
        why = best.reason.split(":")[0] + f" {best.probability:.2f}" if best else "no candidate"
        title = f"{case.name[-3:]}{size}\n{why}"
        yield best.probability if best else 0.0, _close_up(scan, found.brain, xyz, title)


def _false(case: Measured, scan: Scan, found: Detections) -> Iterator[tuple[float, CloseUp]]:
    """Every detection without a microbleed near it."""
    for row in found.microbleeds:
        if all(math.dist(row.xyz_mm, xyz) >= NEAR_MM for xyz in case.truth.xyz_mm):
            title = f"{case.name[-3:]} {row.volume_mm3:.0f} mm3\n{row.probability:.2f}"
            yield row.probability, _close_up(scan, found.brain, np.array(row.xyz_mm), title)


def _voxel(scan: Scan, xyz: NDArray[np.float64]) -> NDArray[np.int_]:
    """The nearest voxel of the scan to a point in the scanner."""
    at = np.linalg.solve(scan.affine[:3, :3], xyz - scan.affine[:3, 3])
    voxel: NDArray[np.int_] = np.clip(np.rint(at), 0, np.array(scan.voxels.shape) - 1).astype(int)
    return voxel


def _box(scan: Scan, xyz: NDArray[np.float64], side_mm: float) -> tuple[slice, ...]:
    reach = np.ceil(side_mm / 2 / scan.spacing).astype(int)
    at = _voxel(scan, xyz)
    return tuple(slice(max(c - r, 0), c + r + 1) for c, r in zip(at, reach, strict=True))


def _close_up(
    scan: Scan, brain: NDArray[np.bool_], xyz: NDArray[np.float64], title: str
) -> CloseUp:
    axis = int(np.argmax(scan.spacing))
    box = list(_box(scan, xyz, SIDE_MM))
    middle = int(_voxel(scan, xyz)[axis])
    box[axis] = slice(middle, middle + 1)
    pixels = scan.voxels[tuple(box)].squeeze(axis) / np.percentile(scan.voxels[brain], 99)
    across, along = np.delete(scan.spacing, axis)
    return CloseUp(pixels, along / across, title)


def _slices(case: Measured, scan: Scan, brain: NDArray[np.bool_]) -> Iterator[CloseUp]:
    """Three slices through the brain."""
    axis = int(np.argmax(scan.spacing))
    across, along = np.delete(scan.spacing, axis)
    inside = np.flatnonzero(brain.any(axis=tuple({0, 1, 2} - {axis})))
    for share in (0.3, 0.5, 0.7):
        number = int(inside[int(share * (len(inside) - 1))])
        pixels = np.take(scan.voxels, number, axis) / np.percentile(scan.voxels[brain], 99)
        yield CloseUp(pixels, along / across, f"{case.name[-7:]} {number}")


def _figures(
    scan: Scan, brain: NDArray[np.bool_], xyz: NDArray[np.float64]
) -> tuple[float, float, float] | None:
    """Conspicuity, volume (mm3) and detectability of what is darker than half-way down around it.

    None where no voxel near the place is.
    """
    box = _box(scan, xyz, 12.0)
    dark = 1 - scan.voxels[box] / np.median(scan.voxels[brain])
    middle = _voxel(scan, xyz) - [side.start for side in box]
    near = np.linalg.norm((np.indices(dark.shape).T - middle) * scan.spacing, axis=-1).T < 2.5
    peak = float(dark[near].max())
    depth = (peak + float(np.median(dark[brain[box]]))) / 2 if brain[box].any() else peak / 2
    parts, _ = ndimage.label(dark > depth)
    top = parts[near][np.argmax(dark[near])]
    if top == 0:
        return None
    body = (parts == top).astype(np.int32)
    things = things_in_rings(body, brain[box], scan.spacing)
    volume = float(body.sum() * scan.spacing.prod())
    return float(conspicuity(dark, things)[0]), volume, float(detectability(dark, things)[0])


def _draw(
    close_ups: Sequence[CloseUp], path: Path, columns: int = COLUMNS, size: float = 1.3
) -> None:
    from matplotlib.figure import Figure

    path.parent.mkdir(parents=True, exist_ok=True)
    rows = max(1, math.ceil(len(close_ups) / columns))
    figure = Figure((size * columns, (size + 0.35) * rows), layout="constrained")
    grid = figure.subplots(rows, columns, squeeze=False)
    for axes in grid.flat:
        axes.axis("off")
    for axes, shown in zip(grid.flat, close_ups, strict=False):
        axes.imshow(shown.pixels.T, cmap="gray", vmin=0, vmax=1, origin="lower",
                    aspect=shown.aspect)  # fmt: skip
        axes.set_title(shown.title, fontsize=6)
    figure.savefig(path, dpi=90)


if __name__ == "__main__":
    app()
