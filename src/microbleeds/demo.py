"""A simulated head with known microbleeds is made, detected, scored, and the result shown."""

from __future__ import annotations

from pathlib import Path

from microbleeds.console import detect_with_progress, progress_bar, show, show_findings
from microbleeds.settings import CleanUpSettings

BLEEDS = (6, 10)


def run_demo(out: Path, seed: int) -> None:
    """Run the whole chain on one simulated T2*-GRE head; files go to `out`."""
    from microbleeds.evaluate.folders import evaluate_folders
    from microbleeds.simulate import HeadSettings
    from microbleeds.simulate.anatomy import SHIPPED_ANATOMY
    from microbleeds.simulate.dataset import simulate_dataset, subject_name
    from microbleeds.simulate.lesions import LesionRanges

    heads, results = out / "heads", out / "results"
    with progress_bar() as bar:
        bar.add_task("simulating a head with known microbleeds", total=None)
        settings = HeadSettings(lesions=LesionRanges(count=BLEEDS))
        simulate_dataset(heads, 1, ("t2star",), seed, (SHIPPED_ANATOMY,), settings)
    subject = subject_name(seed, 0)
    detect_with_progress(
        [heads / f"{subject}_T2starw.nii.gz"], results, overwrite=True, report=True
    )
    show_findings(
        evaluate_folders(
            results / f"{subject}_seg-CMB_dseg.nii.gz",
            heads / f"{subject}_T2starw_label.nii.gz",
            "overlap",
            smallest_mm3=CleanUpSettings().min_volume_mm3,  # smaller ones are never reported
        )
    )
    show(f"Picture: {results / f'{subject}_cmb.png'}")
    show(f"Page: {results / f'{subject}_cmb.html'}")
