"""The whole method: one function from a raw scan to its microbleeds."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from microbleeds.models.card import Channel, ModelCard
from microbleeds.models.engine import Engine
from microbleeds.models.zoo import Models
from microbleeds.prepare import Prepared
from microbleeds.prepare.brain import brain_mask
from microbleeds.prepare.grid import labels_to_scan
from microbleeds.prepare.prepare import prepare
from microbleeds.prepare.traits import Traits, measure_traits
from microbleeds.scan import Scan
from microbleeds.settings import Settings
from microbleeds.steps import Candidate, Candidates
from microbleeds.steps.candidates import find_candidates, microbleed_probability
from microbleeds.steps.cleanup import clean_up, number_kept_first
from microbleeds.steps.discriminate import discriminate

if TYPE_CHECKING:
    from microbleeds.mni.register import Registration

StepHook = Callable[[str], None]
BrainHook = Callable[[NDArray[np.bool_]], None]


@dataclass(frozen=True)
class Detections:
    """The result for one scan.

    labels: int32 on the scan's own grid, the number of each microbleed in `table`, 0 elsewhere.
    table: all candidates, kept ones first; brain: bool on the scan's grid; seconds: by step.
    registration: to MNI space, where the regions come from; None when it was not asked for.
    traits: what the scan is like, where that was measured.
    """

    labels: NDArray[np.int32]
    table: tuple[Candidate, ...]
    brain: NDArray[np.bool_]
    highest_probability: float
    settings: Settings
    seconds: dict[str, float]
    registration: Registration | None = None
    traits: Traits | None = None

    @property
    def microbleeds(self) -> tuple[Candidate, ...]:
        """The candidates that were kept."""
        return tuple(row for row in self.table if row.kept)


@dataclass
class Stopwatch:
    """Wall seconds by step; tells the caller which step begins."""

    on_step: StepHook
    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def __call__(self, step: str) -> Iterator[None]:
        """Announce and time what the block does."""
        self.on_step(step)
        start = time.perf_counter()
        yield
        self.seconds[step] = round(time.perf_counter() - start, 3)


def detect(
    scan: Scan,
    models: Models,
    brain_engine: Engine | None,
    settings: Settings | None = None,
    brain: NDArray[np.bool_] | None = None,
    on_step: StepHook = lambda step: None,
    on_brain: BrainHook = lambda brain: None,
) -> Detections:
    """Find the microbleeds of one scan: preparation and the three steps of Sundaresan et al. 2023.

    brain: the user's own mask on the scan's grid; without it `brain_engine` makes one.
    settings: by default those of the model's "balanced" operating point. on_step, on_brain: told
    the name of each step as it begins, and the brain mask as soon as it is there.
    Raises UserError when the scan holds no brain or the mask has no signal.
    """
    settings = settings or models.card.settings()
    step = Stopwatch(on_step)
    with step("brain mask"):
        brain = _brain(scan, brain_engine, brain)
    on_brain(brain)
    with step("preparation"):
        prepared = prepare(scan, brain, settings.prepare, settings.threads)
        traits = measure_traits(scan, brain, prepared.image, prepared.brain, prepared.grid)
    with step("step 1: candidates"):
        channels = stack_channels(prepared, models.card)
        probability = microbleed_probability(models.detector, channels, settings.candidates)
        candidates = find_candidates(probability, prepared, settings.candidates)
    with step("step 2: discrimination"):
        candidates = discriminate(
            candidates,
            channels,
            prepared.grid,
            models.student,
            settings.discriminate,
            scan.contrast,
        )
    with step("step 3: clean-up"):
        candidates = number_kept_first(clean_up(candidates, settings.clean_up))
        labels = labels_to_scan(_kept_labels(candidates), prepared.grid, scan)
    return Detections(
        labels,
        candidates.table,
        brain,
        candidates.highest_probability,
        settings,
        step.seconds,
        traits=traits,
    )


def stack_channels(prepared: Prepared, card: ModelCard) -> NDArray[np.float32]:
    """The channels that a model asks for, (C, X, Y, Z), in its value range."""
    images: dict[Channel, NDArray[np.float32]] = {
        "image": prepared.image,
        "symmetry": prepared.symmetry,
        "vessels": prepared.vessels,
    }
    if card.value_range == "signed":
        images["image"] = np.where(prepared.brain, 2 * prepared.image - 1, np.float32(0.5))
    return np.stack([images[name] for name in card.channels])


def _brain(scan: Scan, engine: Engine | None, brain: NDArray[np.bool_] | None) -> NDArray[np.bool_]:
    if brain is not None:
        return brain
    if engine is None:
        raise ValueError("detect needs a brain mask or the network that makes one")
    return brain_mask(scan, engine)


def _kept_labels(candidates: Candidates) -> NDArray[np.int32]:
    kept = np.zeros(len(candidates.table) + 1, np.int32)
    numbers = [row.index for row in candidates.table if row.kept]
    kept[numbers] = numbers
    return kept[candidates.labels]
