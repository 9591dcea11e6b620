"""What changes from step to step of a training, and the checkpoint that keeps it."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from microbleeds.errors import UserError

CHECKPOINT = "checkpoint.pt"


@dataclass
class State:
    """A training between two steps. average: the moving average of the weights, if one is kept.

    best, best_weights: highest validation figure and what had it; worse: validations since.
    seconds: of training before this call.
    """

    network: nn.Module
    optimiser: torch.optim.Optimizer
    average: AveragedModel | None
    step: int = 0
    best: float = math.nan
    best_weights: dict[str, Tensor] = field(default_factory=dict)
    worse: int = 0
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


def moving_average(network: nn.Module, decay: float) -> AveragedModel:
    """Exponential moving average of weights and batch-norm figures.

    The decay rises as (1 + n) / (10 + n) to its value, so that the random weights of the start
    are soon forgotten.
    """

    def rule(average: Tensor, current: Tensor, count: Tensor | int) -> Tensor:
        if not average.is_floating_point():  # a count of batches
            return current
        rising = float((1 + count) / (10 + count))
        return torch.lerp(average, current, 1 - min(decay, rising))

    return AveragedModel(network, avg_fn=rule, use_buffers=True)


def save_state(state: State, folder: Path, identity: str = "") -> None:
    """Write the checkpoint of a folder, such that a kill leaves the old one or the new one.

    identity: of the training, see `resume`.
    """
    content = {
        "network": state.network.state_dict(),
        "optimiser": state.optimiser.state_dict(),
        "average": state.average.state_dict() if state.average is not None else {},
        "step": state.step,
        "best": state.best,
        "best_weights": state.best_weights,
        "worse": state.worse,
        "seconds": state.elapsed,
        "identity": identity,
    }
    _save_atomically(content, folder / CHECKPOINT)


def resume(state: State, folder: Path, identity: str = "") -> None:
    """Continue from the checkpoint of a folder if there is one.

    identity: digest of what the training depends on besides how long it goes on.
    Raises UserError when the checkpoint is damaged, or belongs to another network, other data or
    other settings.
    """
    path = folder / CHECKPOINT
    if not path.exists():
        return
    try:
        kept = torch.load(path, weights_only=True, map_location="cpu")
    except (OSError, EOFError, RuntimeError, ValueError, UnpicklingError) as error:
        raise UserError(
            f"The checkpoint {path} is damaged; delete it, or give another output folder."
        ) from error
    try:
        if kept["identity"] != identity:
            raise ValueError("another training")
        state.network.load_state_dict(kept["network"])
        state.optimiser.load_state_dict(kept["optimiser"])
        if state.average is not None:
            state.average.load_state_dict(kept["average"])
    except (KeyError, RuntimeError, ValueError) as error:
        raise UserError(
            f"The checkpoint {path} belongs to a network of another shape, to other data or to "
            "other training settings; give another output folder or delete it."
        ) from error
    state.step, state.best, state.worse = kept["step"], kept["best"], kept["worse"]
    state.best_weights, state.seconds = kept["best_weights"], kept["seconds"]


def _save_atomically(content: Mapping[str, Any], path: Path) -> None:
    temporary = path.with_suffix(".tmp")
    torch.save(dict(content), temporary)
    temporary.replace(path)
