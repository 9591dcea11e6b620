"""Cross-validation: every subject's microbleeds as found by networks that never saw it."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

from microbleeds.errors import UserError
from microbleeds.models.zoo import load_models
from microbleeds.report.bids import OutputPaths, plan_outputs
from microbleeds.report.files import write_json, write_table
from microbleeds.report.results import write_results
from microbleeds.settings import OperatingPoint
from microbleeds.train.complete import train_all
from microbleeds.train.data import Row, folds
from microbleeds.train.detection import detect_rows
from microbleeds.train.identity import identity_of_fold
from microbleeds.train.settings import Recipe, Work

DONE = "done.json"


def cross_validate(
    rows: Sequence[Row],
    out: Path,
    count: int,
    recipe: Recipe,
    work: Work,
    point: OperatingPoint = "balanced",
    on_fold: Callable[[int], None] = lambda fold: None,
) -> bool:
    """Train all networks anew in every fold and detect in the subjects it left out.

    Subjects are split, never images; of the others, `train_all` takes its own validation
    subjects. Writes `folds.tsv`, the networks under `fold-1` ..., and out-of-fold results of
    `detect` under `predictions` (several contrasts: each in a folder of its own). The same call
    skips finished folds and resumes a broken one.
    Returns False when the time limit came first. Raises UserError as `train_all` and `detect` do,
    and when finished folds there are of another table, recipe, operating point, seed or count.
    """
    paths = _plan(rows, out / "predictions")
    parts = folds(rows, count, recipe.split_seed)
    table = [
        {"fold": fold, "subject": row.subject, "image": str(row.image)}
        for fold, (_, held_out) in enumerate(parts, start=1)
        for row in held_out
    ]
    identities = [identity_of_fold(*part, recipe, point) for part in parts]
    done = [out / f"fold-{fold}" / DONE for fold in range(1, len(parts) + 1)]
    for file, identity in zip(done, identities, strict=True):
        _check_same(file, identity)
    write_table(out / "folds.tsv", table, ("fold", "subject", "image"))
    for fold, (others, held_out) in enumerate(parts, start=1):
        folder, finished = done[fold - 1].parent, done[fold - 1]
        if finished.exists():
            continue
        on_fold(fold)
        if train_all(others, folder, recipe, work) is None:
            return False
        predict(held_out, folder / "model", paths, point)
        write_json(finished, {"identity": identities[fold - 1]})
    return True


def _check_same(done: Path, identity: str) -> None:
    """Raise UserError when a finished fold was another one."""
    if done.exists() and json.loads(done.read_text(encoding="utf-8")).get("identity") != identity:
        raise UserError(
            f"{done.parent} was made from another table, labels or masks, or with another size, "
            "seed, number of steps or folds, or operating point; give those again, or another "
            "output folder."
        )


def _plan(rows: Sequence[Row], folder: Path) -> dict[Path, OutputPaths]:
    """Result files by image; a folder a contrast where a subject may have several."""
    contrasts = sorted({row.contrast for row in rows})
    paths: dict[Path, OutputPaths] = {}
    for contrast in contrasts:
        sources = [row.image for row in rows if row.contrast == contrast]
        place = folder / contrast if len(contrasts) > 1 else folder
        paths |= zip(sources, plan_outputs(sources, place, overwrite=True), strict=True)
    return paths


def predict(
    rows: Sequence[Row], model: Path, paths: dict[Path, OutputPaths], point: OperatingPoint
) -> None:
    """Detect in every row's image with a model folder, in the row's mask where it has one."""
    models = load_models(model)
    for row, scan, found in detect_rows(rows, models, models.card.settings(point)):
        paths[row.image].mask.parent.mkdir(parents=True, exist_ok=True)
        write_results(scan, row.image, found, models, paths[row.image], row.mask)
