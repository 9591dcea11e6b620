"""The published method, trained on simulated heads and measured on those that ours is measured on.

    microbleeds simulate -o heads --n 100 --seed 31 --bleeds 3-30 --anatomy ...   # maps 1-16
    python benchmarks/baseline.py --data heads/table.csv -o work/baseline --width 16 --steps 1000

Its own preprocessing (scan's voxels, vessels painted over, symmetry at 2 and 3 voxels), networks,
losses, augmentation, distillation and clean-up rules; only the width is less than its 64, as far as
a processor can train. The same command again goes on. `accuracy.py` must have made its heads.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer
from accuracy import heads_folder, measure, real, show, simulated

from microbleeds.models.config import PUBLISHED
from microbleeds.models.published import published_card
from microbleeds.models.zoo import load_models
from microbleeds.steps.cleanup import PUBLISHED_CLEAN_UP
from microbleeds.train.complete import train_all
from microbleeds.train.data import read_table
from microbleeds.train.settings import Recipe, Work, recipe_of


def published(width: int, steps: int) -> Recipe:
    """The published recipe, `width` in place of 64."""
    return replace(
        recipe_of("published", steps),
        network=replace(PUBLISHED, widths=(width, 2 * width, 4 * width)),
        prepare=published_card("2025").prepare,
    )


def main(
    data: Annotated[Path, typer.Option(help="Table of simulated heads to train on")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for the networks")],
    width: Annotated[int, typer.Option(help="Channels of the first level")] = 16,
    steps: Annotated[int, typer.Option(help="Of each network")] = 1000,
    minutes: Annotated[float | None, typer.Option(help="Stop after so long; resumable")] = None,
) -> None:
    """Train what is not trained yet, then print the published method's lines of the table."""
    limit = None if minutes is None else 60 * minutes
    work = Work(output / "cache", time_limit_s=limit)
    if train_all(read_table(data), output, published(width, steps), work) is None:
        raise SystemExit(f"Not finished in {minutes} minutes; give the same command again.")
    models = load_models(output / "model")
    settings = replace(models.card.settings(), clean_up=PUBLISHED_CLEAN_UP)
    for name, cases, least in (
        ("simulated t2star", simulated(heads_folder(), "t2star"), 2.0),
        ("real T2*-GRE (real_dev)", real(), 0.0),
    ):
        findings, _ = measure(cases, "t2star", models, settings, least)
        print(show(f"{name}, published, width {width}", findings))


if __name__ == "__main__":
    typer.run(main)
