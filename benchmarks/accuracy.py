"""Accuracy of the shipped model, one table: simulated heads never trained on, and real scans.

    python benchmarks/accuracy.py                      # 20 T2* heads and ../shared/real_dev
    python benchmarks/accuracy.py --heads 30 --contrast t2star --contrast swi --contrast qsm
    python benchmarks/accuracy.py --contrast swi --bleeds 0 0 --no-real   # heads without any bleed

Simulated heads are whole, from label maps 17-20 of ../shared/anatomy, which no network was trained
on; they go through the whole chain, brain mask included, and are kept in work/accuracy: those in
T2* in one folder (2D or 3D protocols), those in SWI and QSM, from one 3D echo, in another. Matching
is that of the VALDO challenge: nearest centres within 5 mm. Simulated bleeds that look smaller than
2 mm (`--least-mm`), which is where microbleeds begin (Greenberg 2009) and where 95 % of those rated
on T2* in public tables lie above, count neither as found nor as missed, and detections of them not
as false; nor do those that the image does not show at all. Real scans are measured only.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice, pairwise
from pathlib import Path
from typing import Annotated

import nibabel as nib
import numpy as np
import typer
from numpy.typing import NDArray

from microbleeds import Detections, detect, load_brain, load_models, read_scan
from microbleeds.evaluate.calibration import reliability
from microbleeds.evaluate.froc import froc, threshold_at, tpr_at
from microbleeds.evaluate.lesions import Lesions, from_centres
from microbleeds.evaluate.matching import Finding, Findings, counted, match
from microbleeds.evaluate.metrics import summarise
from microbleeds.models.zoo import DEFAULT_MODEL, Models
from microbleeds.report.files import MISSING
from microbleeds.settings import Contrast, Settings
from microbleeds.simulate import HeadSettings
from microbleeds.simulate.dataset import SUFFIX, simulate_dataset
from microbleeds.simulate.lesions import LesionRanges
from microbleeds.steps import Candidate
from microbleeds.steps.shape import diameter_mm

ROOT = Path(__file__).parents[1]
SHARED = ROOT.parent / "shared"
HELD_OUT = tuple(SHARED / "anatomy" / f"training_seg_{n:02d}.nii.gz" for n in range(17, 21))
SEED = 900
SIZES_MM = (0.0, 2.0, 2.5, 3.0, 4.0, 20.0)  # apparent diameters, for the TPR by size
REAL_RATES = (0.5, 1, 2, 4)  # false positives a scan
# Candidates that are left after a step are kept in the end or dropped for one of these reasons.
STEPS = {"1": ("step 2", "step 3"), "2": ("step 3",), "3": ()}
RATED = "rated"  # all candidates with the probability that step 2 gave them


@dataclass(frozen=True)
class Measured:
    """A scan with its microbleeds, their apparent volumes included where they are known."""

    name: str
    image: Path
    truth: Lesions

    @property
    def seen_mm(self) -> NDArray[np.float64]:
        """Centres of the microbleeds that the image shows, (N, 3)."""
        return self.truth.xyz_mm[counted(self.truth)]


def after_step(found: Detections, step: str) -> Lesions:
    """What is left after a step (or all, rated), with the last probability given up to there."""

    def confidence(row: Candidate) -> float:
        return row.detector_probability if step == "1" else row.probability

    reasons = STEPS["1" if step == RATED else step]
    rows = [r for r in found.table if r.kept or r.reason.startswith(reasons)]
    return from_centres(
        np.array([r.xyz_mm for r in rows]).reshape(-1, 3), np.array([confidence(r) for r in rows])
    )


def series_of(contrast: str) -> tuple[Contrast, ...]:
    """The contrasts that are made of the same heads as this one."""
    return ("t2star",) if contrast == "t2star" else ("swi", "qsm")


def heads_folder(contrast: str = "t2star", bleeds: tuple[int, int] = (0, 12)) -> Path:
    """Where the simulated heads with so many microbleeds (fewest, most) are kept."""
    return ROOT / "work" / "accuracy" / f"{bleeds[0]}-{bleeds[1]}-{'-'.join(series_of(contrast))}"


def simulated(folder: Path, contrast: str) -> Iterator[Measured]:
    """Every simulated head with its microbleeds, those that cannot be seen with a volume of 0."""
    suffix = SUFFIX[contrast]  # type: ignore[index]
    with (folder / "truth.tsv").open() as stream:
        truth = list(csv.DictReader(stream, delimiter="\t"))
    for image in sorted(folder.glob(f"*_{suffix}.nii.gz")):
        subject = image.name.split("_")[0]
        rows = [r for r in truth if (r["subject"], r["contrast"]) == (subject, contrast)]
        there = [r for r in rows if r["x"] != MISSING]
        centres = np.array([[float(r[a]) for a in "xyz"] for r in there]).reshape(-1, 3)
        volumes = np.array([float(r["volume_mm3"]) for r in there])
        yield Measured(subject, image, from_centres(centres, volumes_mm3=volumes))


def real() -> Iterator[Measured]:
    """Every real scan with its rated microbleeds."""
    with (SHARED / "real_dev" / "cmb_centres.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    for subject in sorted({row["subject"] for row in rows}):
        image = SHARED / "real_dev" / f"{subject}_space-T2S_desc-masked_T2S.nii.gz"
        affine = nib.load(image).affine
        voxels = [[float(r[a]) for a in "ijk"] for r in rows if r["subject"] == subject]
        centres = np.array(voxels) @ affine[:3, :3].T + affine[:3, 3]
        yield Measured(subject, image, from_centres(centres))


def measure(
    cases: Iterator[Measured],
    contrast: str,
    models: Models,
    settings: Settings,
    least_mm: float = 0.0,
) -> tuple[dict[str, Findings], NDArray[np.float64]]:
    """Findings after each step and of all rated candidates; the diameters of all microbleeds.

    least_mm: smallest apparent diameter of a microbleed that is rated, where diameters are known.
    """
    smallest_mm3 = np.pi / 6 * least_mm**3
    brain = load_brain()
    table: dict[str, list[Finding]] = {step: [] for step in (*STEPS, RATED)}
    names, diameters = [], []
    for case in cases:
        found = detect(read_scan(case.image, contrast), models, brain, settings)  # type: ignore[arg-type]
        names.append(case.name)
        volumes = case.truth.volumes_mm3
        rated = np.empty(0) if volumes is None else volumes[counted(case.truth, smallest_mm3)]
        diameters.append(np.array([diameter_mm(volume) for volume in rated]))
        for step in table:
            detected = after_step(found, step)
            table[step] += match(
                case.name, detected, case.truth, "valdo", smallest_mm3=smallest_mm3
            )
        rows = [f for f in table["3"] if f.subject == case.name]
        hits, false = (sum(f.detected and f.is_lesion == kind for f in rows) for kind in (1, 0))
        print(
            f"  {case.name} {contrast}: {hits} of {sum(f.is_lesion for f in rows)} found, "
            f"{false} false positives",
            flush=True,
        )
    findings = {step: Findings(tuple(rows), tuple(names)) for step, rows in table.items()}
    return findings, np.concatenate(diameters)


def show_sizes(findings: Findings, diameters: NDArray[np.float64]) -> str:
    """Sensitivity by apparent diameter."""
    hit = np.array([f.detected for f in findings.table if f.is_lesion])
    parts = []
    for low, high in pairwise(SIZES_MM):
        chosen = hit[(diameters >= low) & (diameters < high)]
        if not len(chosen):
            continue
        parts.append(f"{low:g}-{high:g} mm: {chosen.sum()} of {len(chosen)}")
    return "found by apparent diameter: " + "; ".join(parts)


def show(name: str, findings: dict[str, Findings]) -> str:
    """One line of the table."""
    summary = summarise(findings["3"])
    figure = summary.figures
    steps = []
    for step in STEPS:
        partial = summarise(findings[step], resamples=1).figures
        steps.append(f"{partial['tpr'].value:.2f} / {partial['fp_per_scan'].value:.1f}")
    curve = froc(findings[RATED])
    tpr, f1 = figure["tpr"], figure["f1"]
    return (
        f"| {name} | {summary.scans} | {summary.lesions} | {steps[0]} | {steps[1]} | {steps[2]} "
        f"| {tpr.low:.2f}-{tpr.high:.2f} | {f1.value:.2f} ({f1.low:.2f}-{f1.high:.2f}) "
        f"| {tpr_at(curve, 1):.2f} | {tpr_at(curve, 2):.2f} |"
    )


def show_among_real(simulated: Findings, real: Findings) -> str:
    """Sensitivity on simulated heads at thresholds that real scans set by their look-alikes.

    Four scans have few microbleeds but hundreds of look-alikes, which no simulation made.
    """
    curve = froc(real)
    shares = []
    for rate in REAL_RATES:
        left = summarise(simulated.at(threshold_at(curve, rate)), resamples=1).figures
        shares.append(f"{left['tpr'].value:.2f} at {rate:g}")
    return "found at thresholds with so many false positives a real scan: " + ", ".join(shares)


def draw(curves: dict[str, Findings], path: Path) -> None:
    """FROC and reliability of everything that step 2 rated, side by side."""
    from matplotlib.figure import Figure

    figure = Figure((9, 4.6), layout="constrained")
    left, right = figure.subplots(1, 2)
    for (name, findings), style in zip(curves.items(), ("-o", "--s", ":^", "-.d"), strict=False):
        points, shown = froc(findings), reliability(findings)
        left.step(points.fp_per_scan, points.tpr, style[:-1], where="post", label=name)
        error = f"{name}: expected error {shown.error:.3f}"
        right.plot(shown.probability, shown.share, style, label=error, markersize=4)
    left.set(xlim=(0, 8), ylim=(0, 1), xlabel="false positives a scan", ylabel="found")
    right.plot([0, 1], [0, 1], color="0.7", linewidth=1)
    right.set(xlabel="probability reported", ylabel="share that are microbleeds")
    for axes in (left, right):
        axes.grid(color="0.9")
        axes.legend(fontsize=8, ncols=2, loc="upper center", bbox_to_anchor=(0.5, -0.13))
    figure.savefig(path, dpi=100)


def main(
    heads: Annotated[int, typer.Option(help="Simulated heads a contrast, 0: none")] = 20,
    contrast: Annotated[list[str] | None, typer.Option(help="t2star, swi, qsm")] = None,
    model: Annotated[str, typer.Option(help="A shipped model's name, or a folder")] = DEFAULT_MODEL,
    point: Annotated[str, typer.Option(help="Operating point")] = "balanced",
    least_mm: Annotated[float, typer.Option(help="Smallest bleeds rated, simulated heads")] = 2.0,
    bleeds: Annotated[tuple[int, int], typer.Option(help="Fewest and most a head")] = (0, 12),
    with_real: Annotated[bool, typer.Option("--real/--no-real", help="Real scans too")] = True,
    figure: Annotated[Path | None, typer.Option(help="PNG of FROC and reliability")] = None,
) -> None:
    """Print the table."""
    lines = [
        "| data | scans | microbleeds | step 1: TPR / FP a scan | step 2 | step 3 | TPR 95 % "
        "| F1 (95 %) | TPR at 1 FP a scan | at 2 |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    notes: list[str] = []
    curves: dict[str, Findings] = {}
    models = load_models(model)
    settings = models.card.settings(point)  # type: ignore[arg-type]
    if heads:
        series = HeadSettings(lesions=LesionRanges(count=bleeds))
        for kind in contrast or ["t2star"]:
            folder = heads_folder(kind, bleeds)
            simulate_dataset(folder, heads, series_of(kind), SEED, HELD_OUT, series)
            cases = islice(simulated(folder, kind), heads)  # there may be more from another run
            findings, diameters = measure(cases, kind, models, settings, least_mm)
            lines.append(show(f"simulated {kind}", findings))
            curves[f"simulated {kind}"] = findings[RATED]
            notes.append(f"simulated {kind}, {show_sizes(findings['3'], diameters)}")
    if with_real:
        findings, _ = measure(real(), "t2star", models, settings)
        lines.append(show("real T2*-GRE (real_dev)", findings))
        if simulated_t2star := curves.get("simulated t2star"):
            notes.append(f"simulated t2star, {show_among_real(simulated_t2star, findings[RATED])}")
        curves["real T2*-GRE"] = findings[RATED]
    if figure:
        draw(curves, figure)
    print("\n".join([*lines, "", *notes]))


if __name__ == "__main__":
    typer.run(main)
