"""What each shortcut of `detect` saves, and what it changes in what is found.

    python benchmarks/accuracy.py --heads 30 --no-real     # makes the heads
    python benchmarks/shortcuts.py --heads 10

The first line is `detect` as it is; every other one does without one shortcut, the constant of a
module being set to what does all the work. CPU-seconds are of everything but reading and writing.
"""

from __future__ import annotations

import importlib
import time
from itertools import islice
from typing import Annotated

import typer
from accuracy import RATED, heads_folder, measure, simulated

from microbleeds.evaluate.froc import froc, tpr_at
from microbleeds.evaluate.metrics import summarise
from microbleeds.models.zoo import load_models

# Name of the shortcut, module and constant, and the value without it.
SHORTCUTS = (
    ("mirror images of doubtful candidates only", "steps.discriminate", "HOPELESS", 0.0),
    ("bias field fitted at 12 mm (else 8 mm)", "prepare.bias", "FIT_MM", 8.0),
    ("ridges to 3 standard deviations (else 4)", "prepare.vessels", "RIDGE_REACH", 4.0),
    ("coherence to 2 standard deviations (else 4)", "prepare.vessels", "COHERENCE_REACH", 4.0),
)


def line(name: str, contrast: str, heads: int) -> str:
    """CPU-seconds and figures of the heads with the constants as they stand."""
    models = load_models(threads=1)
    start = time.process_time()
    cases = islice(simulated(heads_folder(contrast), contrast), heads)
    findings, _ = measure(cases, contrast, models, models.card.settings(threads=1), 2.0)
    seconds = (time.process_time() - start) / heads
    figure, curve = summarise(findings["3"], resamples=1).figures, froc(findings[RATED])
    return (
        f"| {contrast} | {name} | {seconds:.1f} | {figure['f1'].value:.3f} "
        f"| {tpr_at(curve, 1):.3f} | {tpr_at(curve, 2):.3f} |"
    )


def main(
    heads: Annotated[int, typer.Option(help="Of each contrast")] = 10,
    contrast: Annotated[list[str] | None, typer.Option(help="t2star, swi, qsm")] = None,
) -> None:
    """Measure and print."""
    lines = [
        "| contrast | without | CPU-s | F1 | TPR at 1 FP a scan | at 2 |",
        "|---|---|---|---|---|---|",
    ]
    for kind in contrast or ["t2star", "swi", "qsm"]:
        lines.append(line("none: as it is", kind, heads))
        for name, module, constant, value in SHORTCUTS:
            place = importlib.import_module(f"microbleeds.{module}")
            kept = getattr(place, constant)
            setattr(place, constant, value)
            lines.append(line(name, kind, heads))
            setattr(place, constant, kept)
    print("\n".join(lines))


if __name__ == "__main__":
    typer.run(main)
