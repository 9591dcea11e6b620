"""The training commands, thin: words to a recipe, then the recipe's function."""

from __future__ import annotations

from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from microbleeds.train.settings import Recipe, Work

train_app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="markdown",
    help="Train the networks of the method on your own images and labels. Every command can be "
    "interrupted; the same command again goes on where it was.",
)


class SizeOption(StrEnum):
    """How large the networks are."""

    slim = "slim"
    published = "published"
    tiny = "tiny"


Data = Annotated[Path, typer.Option(help="CSV: image, label, contrast, mask, subject, unrated")]
Out = Annotated[Path, typer.Option("--output", "-o", help="Folder for networks and checkpoints")]
Size = Annotated[SizeOption, typer.Option(help="tiny is for trying things out")]
Steps = Annotated[int | None, typer.Option(min=1, help="Training steps of each network")]
Minutes = Annotated[float | None, typer.Option(min=0, help="Stop after so long; resumable")]
Seed = Annotated[int, typer.Option(min=0, help="Seed of weights, batches and split")]
Workers = Annotated[int, typer.Option(min=1, help="Processes that prepare images")]
Half = Annotated[
    bool, typer.Option("--bf16", help="Mixed precision: faster on GPUs and CPUs that have bfloat16")
]
Detector = Annotated[Path, typer.Option(help="Folder that `train detector` wrote")]


@train_app.command("detector")
def detector(
    data: Data, output: Out, size: Size = SizeOption.slim, steps: Steps = None,
    minutes: Minutes = None, seed: Seed = 0, workers: Workers = 1, bf16: Half = False,
    mined: Annotated[Path | None, typer.Option(
        help="An earlier detector, whose false positives are shown more often")] = None,
) -> None:  # fmt: skip
    """Train step 1.

    Example: `microbleeds train detector --data table.csv -o detector`
    """
    recipes, rows, recipe, work = _prepare(data, output, size, steps, minutes, seed, workers, bf16)
    recipes.train_detector(rows, output, recipe, work, mined=mined)


@train_app.command("teacher")
def teacher(
    data: Data, output: Out, detector: Detector, size: Size = SizeOption.slim,
    steps: Steps = None, minutes: Minutes = None, seed: Seed = 0, workers: Workers = 1,
    bf16: Half = False,
) -> None:  # fmt: skip
    """Train step 2's teacher on the candidates of a detector.

    Example: `microbleeds train teacher --data table.csv --detector detector -o teacher`
    """
    recipes, rows, recipe, work = _prepare(data, output, size, steps, minutes, seed, workers, bf16)
    recipes.train_teacher(rows, output, recipe, work, detector)


@train_app.command("student")
def student(
    data: Data, output: Out, detector: Detector,
    teacher: Annotated[Path | None, typer.Option(
        help="Folder that `train teacher` wrote; without it the student learns alone")] = None,
    alpha: Annotated[float, typer.Option(min=0, max=1, help="Weight of distillation")] = 0.6,
    temperature: Annotated[float, typer.Option(min=0.1, help="Softening of distillation")] = 4.0,
    mined: Annotated[Path | None, typer.Option(
        help="An earlier student; look-alikes that it finds hard are shown more often")] = None,
    size: Size = SizeOption.slim, steps: Steps = None, minutes: Minutes = None, seed: Seed = 0,
    workers: Workers = 1, bf16: Half = False,
) -> None:  # fmt: skip
    """Train step 2's student, distilled from a teacher or alone.

    Example: `microbleeds train student --data table.csv --detector detector --teacher teacher
    -o student`
    """
    recipes, rows, recipe, work = _prepare(data, output, size, steps, minutes, seed, workers, bf16)
    recipe = replace(recipe, alpha=alpha, temperature=temperature)
    recipes.train_student(rows, output, recipe, work, detector, teacher, mined=mined)


@train_app.command("all")
def train_all(
    data: Data, output: Out, size: Size = SizeOption.slim, steps: Steps = None,
    minutes: Minutes = None, seed: Seed = 0, workers: Workers = 1, bf16: Half = False,
) -> None:  # fmt: skip
    """Train detector, teacher and student, and write a model folder for `detect --model`.

    Example: `microbleeds train all --data table.csv -o trained`
    """
    _, rows, recipe, work = _prepare(data, output, size, steps, minutes, seed, workers, bf16)
    from microbleeds.train import complete

    _say(complete.train_all(rows, output, recipe, work) is not None, output / "model")


@train_app.command("model")
def model(
    data: Annotated[Path, typer.Option(
        help="CSV as for the trainings, of images that no network learnt from")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Model folder to write")],
    detector: Detector,
    student: Annotated[Path, typer.Option(help="Folder that `train student` wrote")],
    teacher: Annotated[Path | None, typer.Option(
        help="Folder that `train teacher` wrote, for others to distil from")] = None,
    description: Annotated[str, typer.Option(help="For the model card")] = "",
    licence: Annotated[str, typer.Option(help="For the model card")] = "",
) -> None:  # fmt: skip
    """Put networks trained one by one into a model folder for `detect --model`.

    The thresholds of the operating points come from running `detect` on the table's images.

    Example: `microbleeds train model --data others.csv --detector detector --student student
    -o model`
    """
    from microbleeds.console import extra

    with extra("train"):
        from microbleeds.train.assemble import About, assemble_model
        from microbleeds.train.data import read_table
    about = About()
    about = replace(
        about, description=description or about.description, licence=licence or about.licence
    )
    assemble_model(read_table(data), output, detector, student, teacher, about)
    _say(True, output)


@train_app.command("brain")
def brain(
    data: Annotated[Path, typer.Option(help="CSV: anatomy (label map), or image and mask")],
    output: Out,
    model: Annotated[Path | None, typer.Option(
        help="Brain model folder to go on from; without it the weights are fresh")] = None,
    steps: Steps = None, minutes: Minutes = None, seed: Seed = 0,
) -> None:  # fmt: skip
    """Train the brain mask, from label maps or from images with masks.

    Example: `microbleeds train brain --data heads.csv -o brain`
    """
    from microbleeds.console import extra

    with extra("train"):
        from microbleeds.train.brain import BRAIN_TRAINING, split_rows, train_brain
        from microbleeds.train.heads import read_brain_table
    settings = replace(BRAIN_TRAINING, seed=seed)
    if steps is not None:
        settings = replace(settings, steps=steps)
    learn, held_out = split_rows(read_brain_table(data), seed)
    limit = None if minutes is None else 60 * minutes
    done = train_brain(learn, held_out, output, settings, limit, model)
    _say(done.finished, output)


def fine_tune(
    data: Data, output: Out,
    model: Annotated[Path, typer.Option(help="Model folder to start from")],
    freeze: Annotated[str, typer.Option(help="Layers to leave as they are, by commas")] = "",
    size: Size = SizeOption.slim, steps: Steps = None, minutes: Minutes = None, seed: Seed = 0,
    workers: Workers = 1, bf16: Half = False,
) -> None:  # fmt: skip
    """Train all networks on from existing weights, chosen layers frozen.

    Example: `microbleeds fine-tune --data table.csv --model trained/model --freeze
    convfirst,down1 -o tuned`
    """
    _, rows, recipe, work = _prepare(data, output, size, steps, minutes, seed, workers, bf16)
    from microbleeds.models.zoo import model_folder
    from microbleeds.train import complete

    frozen = tuple(name.strip() for name in freeze.split(",") if name.strip())
    card = complete.fine_tune(rows, output, recipe, work, model_folder(model), frozen)
    _say(card is not None, output / "model")


def cross_validate(
    data: Data, output: Out,
    folds: Annotated[int, typer.Option(min=2, help="Parts the subjects are split into")] = 5,
    size: Size = SizeOption.slim, steps: Steps = None, minutes: Minutes = None, seed: Seed = 0,
    workers: Workers = 1, bf16: Half = False,
) -> None:  # fmt: skip
    """Train anew in every fold and detect in the subjects left out; resumable by fold.

    Example: `microbleeds cross-validate --folds 5 --data table.csv -o cv`
    """
    _, rows, recipe, work = _prepare(data, output, size, steps, minutes, seed, workers, bf16)
    from microbleeds.console import show
    from microbleeds.train import crossval

    def on_fold(number: int) -> None:
        show(f"fold {number} of {folds}")

    done = crossval.cross_validate(rows, output, folds, recipe, work, on_fold=on_fold)
    _say(done, output / "predictions")


def _prepare(
    data: Path, out: Path, size: SizeOption, steps: int | None, minutes: float | None,
    seed: int, workers: int, bf16: bool,
) -> tuple[Any, Any, Recipe, Work]:  # fmt: skip
    """Rows of the table, recipe and work; the recipes' module comes along, as it needs torch."""
    from microbleeds.console import extra

    with extra("train"):
        from microbleeds.train import recipes
        from microbleeds.train.data import read_table
        from microbleeds.train.settings import Work, recipe_of
    limit = None if minutes is None else 60 * minutes
    recipe = recipe_of(size.value, steps, seed, "bf16-mixed" if bf16 else "32-true")
    return recipes, read_table(data), recipe, Work(out / "cache", workers, limit)


def _say(finished: bool, where: Path) -> None:
    from microbleeds.console import show

    text = f"Done: {where}" if finished else "Stopped at the time limit; run it again to go on."
    show(text)
