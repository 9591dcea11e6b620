"""Training of the method's networks: each recipe is data, a network, a loss and `fit`."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from microbleeds.files import make_folder, sha256
from microbleeds.models.engine import Engine
from microbleeds.models.export import export_onnx
from microbleeds.models.freeze import freeze
from microbleeds.models.initialise import expect_rarely, initialise
from microbleeds.models.networks import Detector, Student, Teacher
from microbleeds.report.files import write_json
from microbleeds.train.cases import Case, prepare_cases
from microbleeds.train.data import Row, in_turn, split_subjects
from microbleeds.train.identity import identity_of
from microbleeds.train.inference import detector_figure, figure, patch_logits, rated
from microbleeds.train.loop import Batch, Fit, LossFunction, TrainSettings, fit
from microbleeds.train.losses import (
    distillation_loss,
    lesion_loss,
    segmentation_loss,
    teacher_loss,
)
from microbleeds.train.places import PLACES_FORMAT, PatchSampler, Places, find_doubts, find_places
from microbleeds.train.sampling import DetectorSampler
from microbleeds.train.settings import Recipe, Start, Work
from microbleeds.train.store import (
    RECIPE,
    Kind,
    Network,
    build,
    check_same_network,
    load_network,
    save_network,
    transfer,
)


def train_detector(
    rows: Sequence[Row],
    out: Path,
    recipe: Recipe,
    work: Work,
    start: Start | None = None,
    mined: Path | None = None,
) -> Fit:
    """Step 1 (Sundaresan et al. 2023, "CMB candidate detection"); the same call resumes it.

    Writes `detector.safetensors`, `network.json` and `recipe.json` into `out`, also when the time
    limit ended it. mined: folder of an earlier detector whose false positives are shown more
    often. Raises UserError when images, labels or `start` cannot be used.
    """
    learn, held_out = load_cases(rows, recipe, work)
    negatives: list[NDArray[np.float64]] = []
    if mined is not None:
        negatives = [place.negative for place in places_of(mined, learn, recipe, work)]
    sampler = DetectorSampler(
        learn, recipe.detector_patch, recipe.network.in_channels, recipe.augmentation, negatives
    )

    def loss(network: nn.Module, batch: Batch) -> Tensor:
        chosen = lesion_loss if recipe.detector_loss == "lesion" else segmentation_loss
        return chosen(network(batch["channels"]), batch["labels"])

    def validate(network: nn.Module) -> float:
        return detector_figure(cast(Detector, network), held_out, recipe.candidate_threshold)

    network = cast(Detector, _network("detector", recipe, recipe.detector, start))
    if start is None and recipe.detector_loss == "lesion":
        expect_rarely(network)
    size = recipe.detector.batch
    limit = work.seconds_left
    identity = identity_of(
        "detector", rows, recipe, start, mined and mined / "detector.safetensors"
    )
    done = fit(
        network,
        lambda rng: sampler.batch(size, rng),
        loss,
        recipe.detector,
        out,
        validate,
        limit,
        identity,
    )
    write_json(out / RECIPE, recipe)  # only now, as `fit` refuses a folder of another recipe
    save_network(network, "detector", out)
    return done


def train_teacher(
    rows: Sequence[Row],
    out: Path,
    recipe: Recipe,
    work: Work,
    detector: Path,
    start: Start | None = None,
) -> Fit:
    """Step 2's teacher: segments and classifies patches, initialised from step 1.

    detector: folder of the trained detector, which also finds the candidates to learn from.
    Writes and raises as `train_detector`.
    """
    check_same_network("detector", detector, recipe.network)

    def loss(network: nn.Module, batch: Batch) -> Tensor:
        voxels, classes = network(batch["channels"])
        return teacher_loss(voxels, classes, batch["labels"], batch["targets"])

    network = cast(Teacher, _network("teacher", recipe, recipe.teacher, start))
    if start is None:
        transfer(load_network("detector", detector), network.features_and_segmentor)
    identity = identity_of("teacher", rows, recipe, start, detector / "detector.safetensors")
    return _on_patches(network, "teacher", loss, rows, out, recipe, work, detector, identity)


def train_student(
    rows: Sequence[Row],
    out: Path,
    recipe: Recipe,
    work: Work,
    detector: Path,
    teacher: Path | None,
    start: Start | None = None,
    mined: Path | None = None,
) -> Fit:
    """Step 2's student, distilled from the teacher in its folder, or trained without any.

    Its extractor starts from the detector's either way (where it is as wide), so that the two
    differ in nothing else. mined: folder of an earlier student; the look-alikes that it finds
    hard are shown more often.
    Writes and raises as `train_detector`.
    """
    check_same_network("detector", detector, recipe.network)
    guide = None
    if teacher is not None and recipe.alpha > 0:
        check_same_network("teacher", teacher, recipe.network)
        guide = cast(Teacher, load_network("teacher", teacher))

    def loss(network: nn.Module, batch: Batch) -> Tensor:
        patches = batch["channels"]
        logits = None
        if guide is not None:
            with torch.no_grad():
                near = patches[:, : recipe.network.in_channels]
                logits = patch_logits(guide.to(patches.device), near)
        answer = network(patches)
        return distillation_loss(answer, batch["targets"], logits, recipe.alpha, recipe.temperature)

    network = cast(Student, _network("student", recipe, recipe.student, start))
    if start is None:
        transfer(load_network("detector", detector), network)
    identity = identity_of(
        "student",
        rows,
        recipe,
        start,
        detector / "detector.safetensors",
        teacher and teacher / "teacher.safetensors",
        mined and mined / "student.safetensors",
    )
    return _on_patches(network, "student", loss, rows, out, recipe, work, detector, identity, mined)


def split_rows(rows: Sequence[Row], recipe: Recipe) -> tuple[tuple[Row, ...], tuple[Row, ...]]:
    """Images to learn from and, no more than the recipe looks at, to validate on, by subject.

    Of several contrasts the validation takes one image after the other.
    """
    learn, held_out = split_subjects(rows, recipe.validation, recipe.split_seed)
    return learn, in_turn(held_out)[: recipe.validation_cases]


def load_cases(
    rows: Sequence[Row], recipe: Recipe, work: Work
) -> tuple[tuple[Case, ...], tuple[Case, ...]]:
    """Prepared images to learn from and to validate on; no subject is in both."""
    learn, held_out = split_rows(rows, recipe)
    cases = prepare_cases([*learn, *held_out], recipe.cases, work.cache / "images", work.workers)
    return cases[: len(learn)], cases[len(learn) :]


def places_of(
    detector: Path, cases: Sequence[Case], recipe: Recipe, work: Work
) -> tuple[Places, ...]:
    """What the detector in a folder finds in the cases, sorted for step 2."""
    weights = detector / "detector.safetensors"
    network = cast(Detector, load_network("detector", detector))
    name = f"places-{PLACES_FORMAT}-{sha256(weights)[:16]}-{recipe.candidate_threshold:g}"
    folder = make_folder(work.cache / name)
    onnx = folder / "detector.onnx"  # twice as fast as torch, and what detection will run
    if not onnx.exists():
        export_onnx(network, onnx)
    engine = Engine(onnx, config=network.config)
    return find_places(engine, cases, recipe.candidate_threshold, folder)


def _on_patches(
    network: Teacher | Student,
    kind: Kind,
    loss: LossFunction,
    rows: Sequence[Row],
    out: Path,
    recipe: Recipe,
    work: Work,
    detector: Path,
    identity: str,
    mined: Path | None = None,
) -> Fit:
    """Train a network of step 2 on the detector's candidates."""
    learn, held_out = load_cases(rows, recipe, work)
    places = places_of(detector, learn, recipe, work)
    doubts: tuple[NDArray[np.float64], ...] = ()
    if mined is not None:
        earlier = cast(Student, load_network("student", mined))
        folder = make_folder(work.cache / _doubts_name(mined, recipe))
        doubts = find_doubts(earlier, learn, places, recipe, folder)
    shown = [place.found for place in places_of(detector, held_out, recipe, work)]
    sampler = PatchSampler(
        learn,
        places,
        recipe.network.patch_shape,
        recipe.patch_spacing_mm,
        recipe.network.in_channels,
        recipe.augmentation,
        doubts=doubts,
        context=recipe.network.context if kind == "student" else (),
    )

    def validate(trained: nn.Module) -> float:
        rater = cast("Teacher | Student", trained)
        pairs = zip(held_out, shown, strict=True)
        return figure(rated(rater, case, seen, recipe) for case, seen in pairs)

    settings = recipe.teacher if kind == "teacher" else recipe.student
    size = settings.batch
    limit = work.seconds_left
    done = fit(
        network,
        lambda rng: sampler.batch(size, rng),
        loss,
        settings,
        out,
        validate,
        limit,
        identity,
    )
    write_json(out / RECIPE, recipe)
    save_network(network, kind, out)
    return done


def _doubts_name(student: Path, recipe: Recipe) -> str:
    """Of the folder of a student's doubts: it says which student, and what patches it is shown."""
    network = recipe.network
    shown = (network.patch_shape, recipe.patch_spacing_mm, network.context)
    patches = hashlib.sha256(repr(shown).encode()).hexdigest()[:16]
    return f"doubts-{sha256(student / 'student.safetensors')[:16]}-{patches}"


def _network(kind: Kind, recipe: Recipe, settings: TrainSettings, start: Start | None) -> Network:
    """A new network, or the one to fine-tune as far as its shapes fit."""
    network = build(kind, recipe.network)
    initialise(network, settings.seed, recipe.initial)
    if start is not None:
        transfer(load_network(kind, start.folder), network)
        freeze(network, start.frozen)
    return network
