"""What scans the networks saw, and whether a scan unlike them is flagged.

    python benchmarks/unusual.py learn HEADS HEADS ...    # ranges of training heads
    python benchmarks/unusual.py check                    # who is flagged

HEADS: folders of whole heads that the shipped networks learnt from; at last those of series 95,
105, 106 and 107 (docs/training-log.md, fourteenth session, has the commands). `check` takes those
of accuracy.py, which must be there already. The ranges go into the package: one for magnitude
images, since the networks are not told T2*-GRE from SWI, and one for QSM. A range is from the least
to the most that was measured, `_WIDER` of that further on both sides. What part of a brain the
image may cut off is not learnt, since simulated heads are always whole: half of its largest
section.

What was measured is kept in work/unusual.jsonl, so that a run can go on where it was stopped.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, replace
from functools import lru_cache, partial
from pathlib import Path

import numpy as np
import typer
from accuracy import ROOT, SHARED, heads_folder
from scipy import ndimage

from microbleeds import Scan, load_brain, load_models, read_scan
from microbleeds.console import progress_bar
from microbleeds.models.engine import Engine
from microbleeds.prepare.brain import brain_mask
from microbleeds.prepare.prepare import prepare_image
from microbleeds.prepare.traits import Traits, measure_traits
from microbleeds.report.files import write_json
from microbleeds.report.unusual import KINDS, RANGES, unusual
from microbleeds.settings import Contrast, PrepareSettings
from microbleeds.simulate import anatomy as an
from microbleeds.simulate.anatomy import load_anatomy
from microbleeds.simulate.dataset import SUFFIX

KEPT = ROOT / "work" / "unusual.jsonl"
CHANGED = 5  # heads that are made odd, each way
MOST_CUT = 0.5
_WIDER = 0.2

app = typer.Typer(add_completion=False)


@app.command()
def learn(heads: list[Path]) -> None:
    """Measure training images of each kind and write the ranges of reports."""
    table: dict[str, list[Traits]] = {kind: [] for kind in KINDS.values()}
    for contrast in SUFFIX:
        images = [image for folder in heads for image in images_in(folder, contrast)]
        table[KINDS[contrast]] += measured(scans(images, contrast))
    ranges = {kind: _ranges([asdict(traits) for traits in rows]) for kind, rows in table.items()}
    write_json(RANGES, ranges)


@app.command()
def check(shared: Path = SHARED) -> None:
    """Count who is flagged, and for what."""
    for contrast in SUFFIX:
        images = images_in(heads_folder(contrast), contrast)
        _show(f"simulated {contrast}", contrast, measured(scans(images, contrast)))
    real = sorted((shared / "real_dev").glob("*_T2S.nii.gz"))
    _show("real T2*-GRE", "t2star", measured(scans(real, "t2star")))
    usual = scans(images_in(heads_folder(), "t2star")[:CHANGED], "t2star")
    for name, change in ODD.items():
        cases = {f"{key}, {name}": partial(_changed, change, read) for key, read in usual.items()}
        _show(name, "t2star", measured(cases))
    maps = [shared / "anatomy" / f"training_seg_{n}.nii.gz" for n in range(17, 19)]
    cases = {f"{path}, T1-like": partial(t1_like, path) for path in maps}
    _show("T1-like", "t2star", measured(cases))


def images_in(folder: Path, contrast: Contrast) -> list[Path]:
    """The images of simulated heads in a contrast."""
    return sorted(folder.glob(f"*_{SUFFIX[contrast]}.nii.gz"))


def scans(images: Iterable[Path], contrast: Contrast) -> dict[str, Callable[[], Scan]]:
    """What reads each image, by its path."""
    return {str(image.resolve()): partial(read_scan, image, contrast) for image in images}


def measured(cases: Mapping[str, Callable[[], Scan]]) -> list[Traits]:
    """The traits of scans, those measured before read back."""
    lines = KEPT.read_text("utf-8").splitlines() if KEPT.exists() else []
    known = {row.pop("scan"): Traits(**row) for row in map(json.loads, lines)}
    KEPT.parent.mkdir(parents=True, exist_ok=True)
    with progress_bar() as bar, KEPT.open("a", encoding="utf-8") as kept:
        for key, read in bar.track(cases.items(), description="measuring"):
            if key not in known:
                known[key] = _traits(read())
                kept.write(json.dumps({"scan": key, **asdict(known[key])}) + "\n")
                kept.flush()
    return [known[key] for key in cases]


def _changed(change: Callable[[Scan], Scan], read: Callable[[], Scan]) -> Scan:
    return change(read())


def thick(scan: Scan) -> Scan:
    """Slices of 8 mm or a little more, each the mean of thinner ones."""
    count = int(np.ceil(8 / scan.spacing[2]))
    whole = scan.voxels.shape[2] // count * count
    voxels = scan.voxels[..., :whole].reshape(*scan.voxels.shape[:2], -1, count).mean(3)
    affine = scan.affine @ np.diag([1, 1, count, 1])
    affine[:3, 3] += scan.affine[:3, 2] * (count - 1) / 2
    return replace(scan, voxels=voxels, affine=affine)


def half(scan: Scan) -> Scan:
    """Without the lower half of the head's slices."""
    start = scan.voxels.shape[2] // 2
    affine = scan.affine.copy()
    affine[:3, 3] += scan.affine[:3, 2] * start
    return replace(scan, voxels=np.ascontiguousarray(scan.voxels[..., start:]), affine=affine)


def noisy(scan: Scan) -> Scan:
    """Noise of a fifth of the tissue's signal in the real and the imaginary part."""
    rng = np.random.default_rng(0)
    level = np.float32(0.2 * np.median(scan.voxels[brain_mask(scan, _tools()[0])]))
    real, imaginary = (rng.standard_normal(scan.voxels.shape, np.float32) * level for _ in "ri")
    return replace(scan, voxels=np.hypot(scan.voxels + real, imaginary))


def ghosted(scan: Scan) -> Scan:
    """Four ghosts of the head across the image, as strong motion or a pulsing vessel makes them."""
    ghosts = [np.roll(scan.voxels, scan.voxels.shape[1] * n // 5, axis=1) for n in range(1, 5)]
    return replace(scan, voxels=scan.voxels + np.float32(0.25) * np.sum(ghosts, axis=0))


def t1_like(path: Path) -> Scan:
    """A 1 mm image of a label map with the grey levels of T1: fluid dark, grey below white."""
    labels = load_anatomy(path).labels
    image = np.where(labels > 0, np.float32(0.6), np.float32(0))  # muscle and skin
    image[labels == SKULL] = 0.1
    for numbers, level in ((an.TISSUE, 0.65), (WHITE_MATTER, 1.0), (FLUID, 0.25)):
        image[an.select(labels, numbers)] = level
    image = ndimage.gaussian_filter(image, 0.5)
    noise = np.random.default_rng(0).standard_normal((2, *image.shape), np.float32)
    image = np.hypot(image + np.float32(0.02) * noise[0], np.float32(0.02) * noise[1])
    return Scan(image * np.float32(1000), np.eye(4), "t2star", path.name)


ODD: dict[str, Callable[[Scan], Scan]] = {
    "slices of 8 mm": thick,
    "upper half of a head": half,
    "heavy noise": noisy,
    "ghosts": ghosted,
}
SKULL = 515
WHITE_MATTER = (*an.WHITE, *an.CEREBELLUM_WHITE, *an.BRAINSTEM)
FLUID = (*an.VENTRICLES, *an.CSF)


def _traits(scan: Scan) -> Traits:
    engine, settings = _tools()
    mask = brain_mask(scan, engine)
    return measure_traits(scan, mask, *prepare_image(scan, mask, settings))


@lru_cache
def _tools() -> tuple[Engine, PrepareSettings]:
    return load_brain(), load_models().card.prepare


def _ranges(rows: list[dict[str, float]]) -> dict[str, tuple[float, float]]:
    ranges = {}
    for name in rows[0]:
        values = [row[name] for row in rows]
        margin = _WIDER * (max(values) - min(values))
        low = min(values) - margin
        if min(values) >= 0:  # a length or a share
            low = max(low, 0.0)
        ranges[name] = (round(low, 4), round(max(values) + margin, 4))
    return ranges | {"cut": (0.0, MOST_CUT)}


def _show(name: str, contrast: Contrast, table: Iterable[Traits]) -> None:
    flags = [unusual(traits, contrast) for traits in table]
    print(f"{name}: {sum(map(bool, flags))} of {len(flags)} flagged")
    reasons = (note.split(":")[0] for notes in flags for note in notes.values())
    for reason, count in Counter(reasons).items():
        print(f"    {count} {reason}")


if __name__ == "__main__":
    app()
