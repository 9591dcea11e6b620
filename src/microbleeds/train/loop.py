"""The one training loop behind every recipe: straight, seeded, resumable after a kill.

All randomness of a step (batch, augmentation, dropout) comes from (seed, step) alone, so no
generator state has to be kept and a resumed run takes bit for bit the steps of an unbroken one.
Where there are several GPUs, each has a process with batches of its own (Lightning Fabric, DDP).
"""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from microbleeds.errors import UserError
from microbleeds.files import make_folder
from microbleeds.models.freeze import train_mode
from microbleeds.train.log import TrainingLog
from microbleeds.train.state import State, moving_average, resume, save_state

Batch = Mapping[str, Tensor]
NextBatch = Callable[[np.random.Generator], Batch]
LossFunction = Callable[[nn.Module, Batch], Tensor]
Validate = Callable[[nn.Module], float]
#: "bf16-mixed": weights as ever, layers in bfloat16; faster on GPUs and on CPUs with AMX.
Precision = Literal["32-true", "bf16-mixed"]


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
    precision: Precision = "32-true"


@dataclass(frozen=True)
class Fit:
    """What came of a training: best is the highest validation figure (NaN without any)."""

    steps: int
    best: float
    finished: bool  # False when the time limit came first


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
    identity: str = "",
) -> Fit:
    """Train `network` in place; run again with the same arguments to resume after a kill.

    next_batch: draws a batch of tensors with the generator it is given, and only with that.
    loss_fn: scalar loss of the network on a batch; batches arrive on the network's device.
    folder: receives `checkpoint.pt` (atomically), `log.tsv` and TensorBoard's `curves`.
    validate: figure of the network in evaluation mode, higher is better; its best weights are
        the ones left in `network`. Without it the last (averaged) weights are.
    time_limit_s: stop after so many seconds of this call, checkpoint written.
    identity: digest of data and settings; a checkpoint with another one is refused.
    A network with all layers frozen stays as it is, and is only validated.
    Raises UserError when the folder's checkpoint is damaged or belongs to another training, or the
    loss overflows.
    """
    make_folder(folder)
    if settings.threads:
        torch.set_num_threads(settings.threads)
    if not any(parameter.requires_grad for parameter in network.parameters()):
        network.eval()
        return Fit(0, math.nan if validate is None else validate(network), True)
    fabric = _fabric(settings.precision)
    state, wrapped = _start(network, settings, fabric)
    resume(state, folder, identity)
    limit = math.inf if time_limit_s is None else time_limit_s
    with TrainingLog(folder, state.step, settings.steps, fabric.is_global_zero) as log:
        while not _finished(state, settings) and _goes_on(state, limit, fabric):
            loss = _step(state, wrapped, next_batch, loss_fn, settings, fabric)
            figure = None
            if validate is not None and _due(state.step, settings.validate_every, settings):
                figure = _validate(state, validate, fabric)
            log.write(state.step, loss, figure, state.elapsed)
            if fabric.is_global_zero and _due(state.step, settings.save_every, settings):
                save_state(state, folder, identity)
    if fabric.is_global_zero:
        save_state(state, folder, identity)
    finished = _finished(state, settings)
    network.load_state_dict(state.best_weights or state.final.state_dict())
    network.eval()
    return Fit(state.step, state.best, finished)


@cache
def _fabric(precision: Precision) -> Fabric:
    """One process for each GPU of this machine, or this one alone on the CPU."""
    gpus = torch.cuda.device_count()
    accelerator = "cuda" if gpus else "cpu"
    fabric = Fabric(accelerator=accelerator, devices=max(gpus, 1), precision=precision)
    fabric.launch()
    return fabric


def _start(network: nn.Module, settings: TrainSettings, fabric: Fabric) -> tuple[State, nn.Module]:
    """The first state, and the network as the loss sees it: on its device, gradients shared."""
    if settings.precision == "bf16-mixed":  # the layout that its convolutions are fast in
        network.to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]
    parameters = [p for p in network.parameters() if p.requires_grad]
    optimiser = torch.optim.Adam(parameters, settings.learning_rate, eps=settings.epsilon)
    wrapped, _ = fabric.setup(network, optimiser)
    average = moving_average(network, settings.average) if settings.average else None
    return State(network, optimiser, average), wrapped


def _finished(state: State, settings: TrainSettings) -> bool:
    return state.step >= settings.steps or state.worse >= settings.patience


def _goes_on(state: State, limit: float, fabric: Fabric) -> bool:
    """Whether time is left, by the first process's clock, so that all end at one step."""
    return bool(fabric.broadcast(time.monotonic() - state.started < limit))


def _due(step: int, every: int, settings: TrainSettings) -> bool:
    return step % every == 0 or step == settings.steps


def _step(
    state: State,
    wrapped: nn.Module,
    next_batch: NextBatch,
    loss_fn: LossFunction,
    settings: TrainSettings,
    fabric: Fabric,
) -> float:
    process = [fabric.global_rank] if fabric.global_rank else []
    rng = np.random.default_rng([settings.seed, state.step, *process])
    batch = fabric.to_device(dict(next_batch(rng)))
    for group in state.optimiser.param_groups:
        group["lr"] = learning_rate(state.step, settings)
    torch.manual_seed(int(rng.integers(2**31)))  # dropout
    train_mode(state.network)
    loss = loss_fn(wrapped, batch)
    if not torch.isfinite(loss):
        raise UserError(
            f"The loss is {loss.item()} at step {state.step}; start anew with a lower rate."
        )
    state.optimiser.zero_grad()
    fabric.backward(loss)
    state.optimiser.step()
    if state.average is not None:
        state.average.update_parameters(state.network)
    state.step += 1
    return float(loss.detach())


def _validate(state: State, validate: Validate, fabric: Fabric) -> float:
    """The figure of the first process, which alone looks; keeps the best weights."""
    figure = math.nan
    state.final.eval()
    if fabric.is_global_zero:
        with torch.inference_mode():
            figure = validate(state.final)
    figure = float(fabric.broadcast(figure))
    if math.isnan(state.best) or figure > state.best:
        state.best, state.worse = figure, 0
        state.best_weights = copy.deepcopy(dict(state.final.state_dict()))
    else:
        state.worse += 1
    return figure
