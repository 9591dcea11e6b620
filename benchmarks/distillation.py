"""Does a teacher help? Students with and without one from the same seeds, and the teacher itself.

    microbleeds train teacher --data heads/table.csv --detector detector -o teacher
    python benchmarks/distillation.py --data heads/table.csv --detector detector --teacher teacher

Both kinds of student start from the same weights, see the same patches in the same order and differ
in their loss alone. They rate the same candidates of step 1 on the heads of `accuracy.py`, which
must be there already, in the brain mask of our own network. Sensitivity is compared at equal false
positives; the interval is that of the mean gain over seeds when heads are drawn anew (bootstrap).
The same command again goes on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from accuracy import heads_folder

from microbleeds.train.cases import Case, prepare_cases
from microbleeds.train.data import Row, read_table
from microbleeds.train.inference import Found, curve, rated, tpr_at
from microbleeds.train.recipes import places_of, train_student
from microbleeds.train.settings import Recipe, Work, recipe_of
from microbleeds.train.store import Kind, load_network

RATES = (1.0, 2.0)  # false positives a scan
RESAMPLES = 1000


def train(
    rows: Sequence[Row], out: Path, recipe: Recipe, work: Work, detector: Path, teacher: Path | None
) -> Path:
    """One student in its folder; what is there already is gone on with."""
    done = train_student(rows, out, recipe, work, detector, teacher)
    if not done.finished:
        raise SystemExit(f"{out.name} was not finished in time; give the same command again.")
    return out


def rate(
    kind: Kind, folder: Path, cases: Sequence[Case], seen: Sequence[Found], recipe: Recipe
) -> tuple[Found, ...]:
    """All candidates as one network rates them."""
    network = load_network(kind, folder)
    pairs = zip(cases, seen, strict=True)
    return tuple(rated(network, case, there, recipe) for case, there in pairs)  # type: ignore[arg-type]


def sensitivity(found: Sequence[Found]) -> list[float]:
    """At `RATES`."""
    points = curve(found)
    return [tpr_at(points, rate) for rate in RATES]


def gain(taught: Sequence[Sequence[Found]], alone: Sequence[Sequence[Found]]) -> str:
    """Mean gain over seeds at each rate, with its 95 % interval over heads."""
    rng = np.random.default_rng(0)
    heads = range(len(taught[0]))

    def mean_gain(chosen: Sequence[int]) -> list[float]:
        # A head drawn twice is two heads: their names must differ.
        def drawn(found: Sequence[Found]) -> list[Found]:
            return [replace(found[i], name=f"{n}") for n, i in enumerate(chosen)]

        pairs = zip(taught, alone, strict=True)
        gains = [np.subtract(sensitivity(drawn(a)), sensitivity(drawn(b))) for a, b in pairs]
        return [float(g) for g in np.mean(gains, axis=0)]

    resampled = [mean_gain(rng.choice(len(heads), len(heads))) for _ in range(RESAMPLES)]
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
    tested = [replace(row, mask=None) for row in read_table(heads_folder() / "table.csv")]
    recipe = recipe_of("slim", steps)
    cases = prepare_cases(tested, recipe.cases, work.cache / "images")
    seen = [there.found for there in places_of(detector, cases, recipe, work)]
    guide = {"with a teacher": teacher, "alone": None}
    results: dict[str, list[tuple[Found, ...]]] = {kind: [] for kind in guide}
    print("| step 2 | seed | " + " | ".join(f"TPR at {rate:g} FP a scan" for rate in RATES) + " |")
    print("|---|---|" + "---|" * len(RATES))
    results["teacher"] = [rate("teacher", teacher, cases, seen, recipe)]
    print(_line("the teacher", "", results["teacher"][0]), flush=True)
    for seed in range(seeds):
        seeded = replace(recipe, student=replace(recipe.student, seed=seed))
        for kind, by in guide.items():
            folder = output / f"{kind.split()[0]}-{seed}"
            train(rows, folder, seeded, work, detector, by)
            results[kind].append(rate("student", folder, cases, seen, recipe))
            print(_line(f"student {kind}", f"{seed}", results[kind][-1]), flush=True)
    print(f"\ngain {gain(results['with a teacher'], results['alone'])}")
    best = results["teacher"] * seeds
    print(f"teacher over the students it taught {gain(best, results['with a teacher'])}")


def _line(name: str, seed: str, found: Sequence[Found]) -> str:
    return f"| {name} | {seed} | " + " | ".join(f"{v:.3f}" for v in sensitivity(found)) + " |"


if __name__ == "__main__":
    typer.run(main)
