"""Does a teacher help? Students with and without one from the same seeds, and the teacher itself.

    microbleeds train teacher --data heads/table.csv --detector detector -o teacher
    python benchmarks/distillation.py --data heads/table.csv --detector detector --teacher teacher

Both kinds of student start from the same weights, see the same patches in the same order and differ
in their loss alone. They rate the same candidates of step 1 on the heads of `accuracy.py`, which
must be there already, in the brain mask of our own network. Sensitivity is compared at equal false
positives; the interval is that of the mean gain over seeds when heads, each with all its contrasts,
are drawn anew (bootstrap).
The same command again goes on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from accuracy import heads_folder
from numpy.typing import NDArray

from microbleeds.evaluate.froc import froc, tpr_at
from microbleeds.evaluate.matching import Findings
from microbleeds.train.cases import Case, prepare_cases
from microbleeds.train.data import read_table
from microbleeds.train.inference import Found, matched, rated
from microbleeds.train.recipes import places_of, train_student
from microbleeds.train.settings import Recipe, Work, recipe_of
from microbleeds.train.store import Kind, load_network

RATES = (1.0, 2.0)  # false positives a scan
RESAMPLES = 1000


def rate(
    kind: Kind, folder: Path, cases: Sequence[Case], seen: Sequence[Found], recipe: Recipe
) -> Findings:
    """All candidates as one network rates them, matched with the microbleeds."""
    network = load_network(kind, folder)
    pairs = zip(cases, seen, strict=True)
    return matched(rated(network, case, there, recipe) for case, there in pairs)  # type: ignore[arg-type]


def sensitivity(findings: Findings) -> NDArray[np.float64]:
    """At `RATES`."""
    points = froc(findings)
    return np.array([tpr_at(points, rate) for rate in RATES])


def by_head(findings: Findings) -> dict[str, Findings]:
    """The findings of each head in all its contrasts."""
    heads = dict.fromkeys(name.split("_")[0] for name in findings.subjects)
    return {
        head: Findings(
            tuple(f for f in findings.table if f.subject.split("_")[0] == head),
            tuple(name for name in findings.subjects if name.split("_")[0] == head),
        )
        for head in heads
    }


def gain(better: Sequence[Findings], worse: Sequence[Findings]) -> str:
    """Mean gain over seeds at each rate, with its 95 % interval over heads."""
    rng = np.random.default_rng(0)
    pairs = [(by_head(a), by_head(b)) for a, b in zip(better, worse, strict=True)]
    heads = list(pairs[0][0])

    def mean_gain(chosen: Sequence[str]) -> NDArray[np.float64]:
        def drawn(parts: dict[str, Findings]) -> Findings:
            rows = chain.from_iterable(parts[head].table for head in chosen)
            names = chain.from_iterable(parts[head].subjects for head in chosen)
            return Findings(tuple(rows), tuple(names))

        gains = [sensitivity(drawn(a)) - sensitivity(drawn(b)) for a, b in pairs]
        return np.mean(gains, axis=0)  # type: ignore[no-any-return]

    resampled = [mean_gain(rng.choice(heads, len(heads))) for _ in range(RESAMPLES)]  # type: ignore[arg-type]
    low, high = np.percentile(resampled, (2.5, 97.5), axis=0)
    parts = zip(RATES, mean_gain(heads), low, high, strict=True)
    return "; ".join(f"at {r:g} FP {g:+.3f} ({a:+.3f} to {b:+.3f})" for r, g, a, b in parts)


def main(
    data: Annotated[Path, typer.Option(help="Table of simulated heads to train on")],
    detector: Annotated[Path, typer.Option(help="Folder of the trained detector")],
    teacher: Annotated[Path, typer.Option(help="Folder of the trained teacher")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for the students")],
    cache: Annotated[Path, typer.Option(help="Folder of prepared images")] = Path("work/cache"),
    steps: Annotated[int, typer.Option(help="Of each student")] = 1000,
    seeds: Annotated[int, typer.Option(help="Students of each kind")] = 3,
    minutes: Annotated[float | None, typer.Option(help="Stop after so long; resumable")] = None,
) -> None:
    """Train what is not trained yet, then print one line a network and the gain."""
    limit = None if minutes is None else 60 * minutes
    work = Work(cache, time_limit_s=limit)
    rows = read_table(data)
    tables = [heads_folder(kind) / "table.csv" for kind in ("t2star", "swi")]  # and QSM
    tested = [replace(row, mask=None) for table in tables for row in read_table(table)]
    recipe = recipe_of("slim", steps)
    cases = prepare_cases(tested, recipe.cases, work.cache / "images")
    seen = [there.found for there in places_of(detector, cases, recipe, work)]
    taught: list[Findings] = []
    alone: list[Findings] = []
    print("| step 2 | seed | " + " | ".join(f"TPR at {rate:g} FP a scan" for rate in RATES) + " |")
    print("|---|---|" + "---|" * len(RATES))
    teaching = rate("teacher", teacher, cases, seen, recipe)
    print(line("teacher", "", teaching), flush=True)
    for seed in range(seeds):
        seeded = replace(recipe, student=replace(recipe.student, seed=seed))
        for name, guide, results in (("taught", teacher, taught), ("alone", None, alone)):
            folder = output / f"{name}-{seed}"
            if not train_student(rows, folder, seeded, work, detector, guide).finished:
                raise SystemExit(f"{folder} is not finished; give the same command again.")
            results.append(rate("student", folder, cases, seen, recipe))
            print(line(f"student, {name}", f"{seed}", results[-1]), flush=True)
    print(f"\nstudents taught over students alone: {gain(taught, alone)}")
    print(f"teacher over students taught: {gain([teaching] * seeds, taught)}")


def line(name: str, seed: str, findings: Findings) -> str:
    """One line of the table."""
    return f"| {name} | {seed} | " + " | ".join(f"{v:.3f}" for v in sensitivity(findings)) + " |"


if __name__ == "__main__":
    typer.run(main)
