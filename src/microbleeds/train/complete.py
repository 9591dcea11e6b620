"""All networks of the method one after another, into a model that `detect` can use."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import get_args

from microbleeds.errors import UserError
from microbleeds.models.card import CARD, ModelCard, read_card
from microbleeds.models.freeze import layers
from microbleeds.settings import Contrast
from microbleeds.train.assemble import About, write_model
from microbleeds.train.data import Row, split_subjects
from microbleeds.train.inference import RATES
from microbleeds.train.recipes import train_detector, train_student, train_teacher
from microbleeds.train.settings import Recipe, Start, Work
from microbleeds.train.store import KINDS, Kind, Network, build, load_network, read_config


def train_all(
    rows: Sequence[Row], out: Path, recipe: Recipe, work: Work, start: Start | None = None
) -> ModelCard | None:
    """Detector, teacher and student, then the model folder `out/model`; the same call resumes it.

    start: a model folder to fine-tune, with layers of any of its networks to freeze.
    Returns None when the time limit came first. Raises UserError as the single recipes do.
    """
    starts = {kind: _start_of(kind, recipe, start) for kind in KINDS}
    detector, teacher, student = (out / kind for kind in KINDS)
    done = train_detector(rows, detector, recipe, work, starts["detector"])
    best = {"detector": done.best}
    if done.finished:
        done = train_teacher(rows, teacher, recipe, work, detector, starts["teacher"])
        best["teacher"] = done.best
    if done.finished:
        done = train_student(rows, student, recipe, work, detector, teacher, starts["student"])
        best["student"] = done.best
    if not done.finished:
        return None
    networks: dict[str, Network] = {kind: load_network(kind, out / kind) for kind in KINDS}
    _, held_out = split_subjects(rows, recipe.validation, recipe.split_seed)
    return write_model(out / "model", networks, recipe, held_out, _about(out.name, rows, best))


def fine_tune(
    rows: Sequence[Row],
    out: Path,
    recipe: Recipe,
    work: Work,
    model: Path,
    frozen: tuple[str, ...] = (),
) -> ModelCard | None:
    """`train_all` from the weights of a model folder, with its networks and preparation.

    Raises UserError when the model cannot be read, sees another range of values than training
    makes, or has no layer of a name in `frozen`.
    """
    recipe = replace(recipe, network=read_config(model))
    if (model / CARD).is_file():
        card = read_card(model)
        if card.value_range != "unit":
            raise UserError(
                f"The networks of {model} see images from -1 to 1, which training does not make; "
                "fine-tune another model."
            )
        recipe = replace(
            recipe,
            prepare=card.prepare,
            patch_spacing_mm=card.patch_spacing_mm,
            detector_weight=card.detector_weight,
            mirrored=card.mirrored,
        )
    return train_all(rows, out, recipe, work, Start(model, frozen))


def _start_of(kind: Kind, recipe: Recipe, start: Start | None) -> Start | None:
    """What a network starts from: its own file and only those frozen layers that it has."""
    if start is None:
        return None
    known = {name: layers(build(name, recipe.network)) for name in KINDS}
    for layer in start.frozen:
        if not any(layer in names for names in known.values()):
            choice = sorted({name for names in known.values() for name in names})
            raise UserError(
                f"There is no layer {layer!r} to freeze in this model; choose from "
                f"{', '.join(choice)}."
            )
    if not (start.folder / f"{kind}.safetensors").is_file() and kind == "teacher":
        return None  # models are often passed on without their teacher
    return Start(start.folder, tuple(name for name in start.frozen if name in known[kind]))


def _about(name: str, rows: Sequence[Row], best: dict[str, float]) -> About:
    known = get_args(Contrast)
    given = {row.contrast for row in rows}
    return About(
        name=name,
        contrasts=known if "auto" in given else tuple(c for c in known if c in given),
        training={
            "images": len(rows),
            "subjects": len({row.subject for row in rows}),
            "validation": {f"mean TPR at {RATES} FP/scan, {kind}": v for kind, v in best.items()},
        },
    )
