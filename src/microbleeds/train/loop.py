"""The one training loop behind every recipe: straight, seeded, resumable after a kill.

All randomness of a step (batch, augmentation, dropout) comes from (seed, step) alone, so no
generator state has to be kept and a resumed run takes bit for bit the steps of an unbroken one.
"""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from microbleeds.errors import UserError
from microbleeds.models.networks import train_mode
from microbleeds.train.log import TrainingLog

Batch = Mapping[str, Tensor]
NextBatch = Callable[[np.random.Generator], Batch]
LossFunction = Callable[[nn.Module, Batch], Tensor]
Validate = Callable[[nn.Module], float]

CHECKPOINT = "checkpoint.pt"


@dataclass(frozen=True)
class TrainSettings:
    """How long and how fast to learn. Published (P): Adam 1e-3, eps 1e-4, batch 8, "step"."""

    steps: int = 10_000
    batch: int = 8
    learning_rate: float = 1e-3
    epsilon: float = 1e-4
    schedule: Literal["cosine", "step"] = "cosine"
    decay_every: int = 1000  # steps between factors of 0.1 of the "step" schedule
    warmup: int = 100
    seed: int = 0
    validate_every: int = 500
    save_every: int = 100
    patience: int = 20  # validations without a better figure before stopping
    average: float = 0.0  # decay of the moving average of the weights; 0 keeps none
    threads: int = 0  # of torch; 0 leaves its own choice


@dataclass(frozen=True)
class Fit:
    """What came of a training: best is the highest validation figure (NaN without any)."""

    steps: int
    best: float
    finished: bool  # False when the time limit came first


@dataclass
class _State:
    """Everything that changes from step to step and is kept in the checkpoint."""

    network: nn.Module
    optimiser: torch.optim.Optimizer
    average: AveragedModel | None
    step: int = 0
    best: float = math.nan
    best_weights: dict[str, Tensor] = field(default_factory=dict)
    worse: int = 0  # validations since the best
    seconds: float = 0.0
    started: float = field(default_factory=time.monotonic)

    @property
    def final(self) -> nn.Module:
        """The network that is validated and kept: the averaged one when there is one."""
        return self.average.module if self.average is not None else self.network

    @property
    def elapsed(self) -> float:
        """Seconds of training over all resumptions."""
        return self.seconds + time.monotonic() - self.started


def learning_rate(step: int, settings: TrainSettings) -> float:
    """Rate of a step: linear warm-up, then half a cosine, or the published ×0.1 down to 1e-6."""
    if step < settings.warmup:
        return settings.learning_rate * (step + 1) / settings.warmup
    if settings.schedule == "step":
        return max(settings.learning_rate * 0.1 ** (step // settings.decay_every), 1e-6)
    done = (step - settings.warmup) / max(1, settings.steps - settings.warmup)
    return settings.learning_rate * 0.5 * (1 + math.cos(math.pi * done))


def fit(
    network: nn.Module,
    next_batch: NextBatch,
    loss_fn: LossFunction,
    settings: TrainSettings,
    folder: Path,
    validate: Validate | None = None,
    time_limit_s: float | None = None,
) -> Fit:
    """Train `network` in place; run again with the same arguments to resume after a kill.

    next_batch: draws a batch of tensors with the generator it is given, and only with that.
    loss_fn: scalar loss of the network on a batch; batches arrive on the network's device.
    folder: receives `checkpoint.pt` (atomically) and `log.tsv`.
    validate: figure of the network in evaluation mode, higher is better; its best weights are
        the ones left in `network`. Without it the last (averaged) weights are.
    time_limit_s: stop after so many seconds of this call, checkpoint written.
    Raises UserError when the folder's checkpoint belongs to another network, or the loss
    overflows.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if settings.threads:
        torch.set_num_threads(settings.threads)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    state = _start(network.to(device), settings)
    _resume(state, folder / CHECKPOINT)
    limit = math.inf if time_limit_s is None else time_limit_s
    with TrainingLog(folder / "log.tsv", state.step, settings.steps) as log:
        while not _finished(state, settings) and time.monotonic() - state.started < limit:
            loss = _step(state, next_batch, loss_fn, settings, device)
            figure = None
            if validate is not None and _due(state.step, settings.validate_every, settings):
                figure = _validate(state, validate)
            log.write(state.step, loss, figure, state.elapsed)
            if _due(state.step, settings.save_every, settings):
                save_atomically(_packed(state), folder / CHECKPOINT)
    save_atomically(_packed(state), folder / CHECKPOINT)
    finished = _finished(state, settings)
    network.load_state_dict(state.best_weights or state.final.state_dict())
    network.eval()
    return Fit(state.step, state.best, finished)


def _start(network: nn.Module, settings: TrainSettings) -> _State:
    parameters = [p for p in network.parameters() if p.requires_grad]
    optimiser = torch.optim.Adam(parameters, settings.learning_rate, eps=settings.epsilon)
    average = None
    if settings.average:
        rule = get_ema_multi_avg_fn(settings.average)  # type: ignore[no-untyped-call]
        average = AveragedModel(network, multi_avg_fn=rule, use_buffers=True)
    return _State(network, optimiser, average)


def _finished(state: _State, settings: TrainSettings) -> bool:
    return state.step >= settings.steps or state.worse >= settings.patience


def _due(step: int, every: int, settings: TrainSettings) -> bool:
    return step % every == 0 or step == settings.steps


def _step(
    state: _State,
    next_batch: NextBatch,
    loss_fn: LossFunction,
    settings: TrainSettings,
    device: torch.device,
) -> float:
    rng = np.random.default_rng([settings.seed, state.step])
    batch = {key: value.to(device) for key, value in next_batch(rng).items()}
    for group in state.optimiser.param_groups:
        group["lr"] = learning_rate(state.step, settings)
    torch.manual_seed(int(rng.integers(2**31)))  # dropout
    train_mode(state.network)
    loss = loss_fn(state.network, batch)
    if not torch.isfinite(loss):
        raise UserError(
            f"The loss is {loss.item()} at step {state.step}; start anew with a lower rate."
        )
    state.optimiser.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call]
    state.optimiser.step()
    if state.average is not None:
        state.average.update_parameters(state.network)
    state.step += 1
    return float(loss.detach())


def _validate(state: _State, validate: Validate) -> float:
    state.final.eval()
    with torch.inference_mode():
        figure = validate(state.final)
    if math.isnan(state.best) or figure > state.best:
        state.best, state.worse = figure, 0
        state.best_weights = copy.deepcopy(dict(state.final.state_dict()))
    else:
        state.worse += 1
    return figure


def save_atomically(content: Mapping[str, Any], path: Path) -> None:
    """`torch.save`, such that a kill leaves either the old file or the new one."""
    temporary = path.with_suffix(".tmp")
    torch.save(dict(content), temporary)
    temporary.replace(path)


def _packed(state: _State) -> dict[str, Any]:
    return {
        "network": state.network.state_dict(),
        "optimiser": state.optimiser.state_dict(),
        "average": state.average.state_dict() if state.average is not None else {},
        "step": state.step,
        "best": state.best,
        "best_weights": state.best_weights,
        "worse": state.worse,
        "seconds": state.elapsed,
    }


def _resume(state: _State, path: Path) -> None:
    """Continue from a checkpoint if there is one."""
    if not path.exists():
        return
    kept = torch.load(path, weights_only=True)
    try:
        state.network.load_state_dict(kept["network"])
        state.optimiser.load_state_dict(kept["optimiser"])
        if state.average is not None:
            state.average.load_state_dict(kept["average"])
    except (KeyError, RuntimeError, ValueError) as error:
        raise UserError(
            f"The checkpoint {path} belongs to a network of another shape or to other training "
            "settings; give another output folder or delete it."
        ) from error
    state.step, state.best, state.worse = kept["step"], kept["best"], kept["worse"]
    state.best_weights, state.seconds = kept["best_weights"], kept["seconds"]
