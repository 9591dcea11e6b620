"""The recipe of the brain-mask network: heads of random contrast, or a user's images and masks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from microbleeds.errors import UserError
from microbleeds.models.card import ModelCard
from microbleeds.models.config import BRAIN
from microbleeds.models.export import load_weights, write_model_folder
from microbleeds.models.initialise import initialise
from microbleeds.models.networks import Detector
from microbleeds.simulate.contrast import Shape
from microbleeds.train.heads import BrainRow, Source, draw, load_source
from microbleeds.train.identity import identity_of_brain
from microbleeds.train.loop import Batch, Fit, TrainSettings, fit
from microbleeds.train.losses import segmentation_loss

BRAIN_TRAINING = TrainSettings(
    steps=2000,
    batch=2,
    learning_rate=2.5e-3,
    epsilon=1e-7,
    warmup=60,
    validate_every=100,
    save_every=50,
    patience=100,
    average=0.99,
)
_HELD_OUT_DRAWS = 16
# Fields of view in voxels of 2.5 mm, how often, and how many times fewer heads they hold a batch:
# mostly the brain and what is near it, at times the neck as well, and axial slabs that begin
# somewhere in the posterior fossa, as most microbleed scans do.
_FIELDS: tuple[tuple[Shape, float, int], ...] = (
    ((64, 80, 64), 0.4, 1),
    ((80, 96, 64), 0.15, 2),
    ((80, 96, 96), 0.1, 2),
    ((80, 96, 48), 0.35, 1),
)


def train_brain(
    learn: Sequence[BrainRow],
    held_out: Sequence[BrainRow],
    out: Path,
    settings: TrainSettings = BRAIN_TRAINING,
    time_limit_s: float | None = None,
    start: Path | None = None,
) -> Fit:
    """Train the brain mask and write its model folder; the same call again resumes it.

    start: a brain model folder to go on from, instead of fresh weights. The figure of validation
    is the mean Dice on fixed draws from `held_out`. `out` becomes a model folder (card.json,
    brain.onnx, brain.safetensors) with the checkpoint beside it.
    Raises UserError when a row's files or the weights to start from cannot be used, and when `out`
    holds a training with other rows, settings or weights to start from.
    """
    sources = [load_source(row) for row in learn]
    trials = _trials([load_source(row) for row in held_out])

    def loss(network: nn.Module, batch: Batch) -> Tensor:
        return segmentation_loss(network(batch["image"]), batch["mask"], weight=1.0)

    def validate(network: nn.Module) -> float:
        return float(np.mean([dice(predict(network, image), mask) for image, mask in trials]))

    network = brain_network(settings.seed)
    weights = start and start / "brain.safetensors"
    if weights is not None:
        load_weights(network, weights)
    done = fit(
        network,
        lambda rng: draw_batch(sources, settings.batch, rng),
        loss,
        settings,
        out,
        validate,
        time_limit_s,
        identity_of_brain(learn, held_out, settings, weights),
    )
    write_model_folder(out, _card(learn, held_out, settings, done), {"brain": network})
    return done


def split_rows(
    rows: Sequence[BrainRow], seed: int
) -> tuple[tuple[BrainRow, ...], tuple[BrainRow, ...]]:
    """Rows to learn from and, a fifth of the subjects, to validate on; no subject is in both.

    Raises UserError when there is only one subject.
    """
    subjects = sorted({row.subject for row in rows})
    if len(subjects) < 2:
        raise UserError(
            f"The table has one subject only ({subjects[0]}); at least two are needed, one of "
            "them to validate on."
        )
    chosen = np.random.default_rng(seed).permutation(subjects)[: max(1, len(subjects) // 5)]
    learn = tuple(row for row in rows if row.subject not in chosen)
    return learn, tuple(row for row in rows if row.subject in chosen)


def brain_network(seed: int) -> Detector:
    """The network before training.

    Its batch norms stay the identity: a batch is a head or two of random contrast, and their
    statistics are not those of the next scan.
    """
    network = Detector(BRAIN)
    initialise(network, seed)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm3d):
            module.requires_grad_(False)
    return network


def draw_batch(sources: Sequence[Source], size: int, rng: np.random.Generator) -> Batch:
    """Images (B, 1, X, Y, Z) and masks (B, X, Y, Z) of random heads, all of one random shape."""
    shape, _, divisor = _FIELDS[int(rng.choice(len(_FIELDS), p=[share for _, share, _ in _FIELDS]))]
    count = max(1, size // divisor)
    drawn = [draw(sources[int(rng.integers(len(sources)))], shape, rng) for _ in range(count)]
    images = torch.from_numpy(np.stack([image for image, _ in drawn]))
    masks = torch.from_numpy(np.stack([mask for _, mask in drawn]))
    return {"image": images[:, None], "mask": masks}


def predict(network: nn.Module, image: NDArray[np.float32]) -> NDArray[np.bool_]:
    """The mask that the network gives an image in [0, 1], (X, Y, Z)."""
    device = next(network.parameters()).device
    logits = network(torch.from_numpy(image)[None, None].to(device))[0]
    return (logits[1] > logits[0]).cpu().numpy()  # type: ignore[no-any-return]


def dice(first: NDArray[np.bool_], second: NDArray[np.bool_]) -> float:
    """2 |A and B| / (|A| + |B|); 1 when both are empty."""
    total = int(first.sum()) + int(second.sum())
    return 2 * int((first & second).sum()) / total if total else 1.0


def _trials(
    sources: Sequence[Source],
) -> list[tuple[NDArray[np.float32], NDArray[np.bool_]]]:
    """Fixed examples to validate on, all sources and fields of view in turn."""
    return [
        draw(
            sources[number % len(sources)],
            _FIELDS[number // len(sources) % len(_FIELDS)][0],
            np.random.default_rng([77, number]),
        )
        for number in range(_HELD_OUT_DRAWS)
    ]


def _card(
    learn: Sequence[BrainRow], held_out: Sequence[BrainRow], settings: TrainSettings, done: Fit
) -> ModelCard:
    return ModelCard(
        name="brain",
        description="Brain mask of any head scan on a 2.5 mm grid; one channel, image in [0, 1]",
        licence="Apache-2.0",
        channels=("image",),
        networks=BRAIN,
        training={
            "subjects": [row.subject for row in learn],
            "held_out": [row.subject for row in held_out],
            "settings": asdict(settings),
            "steps": done.steps,
            "held_out_dice": round(done.best, 4),
        },
    )
