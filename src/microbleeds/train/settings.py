"""Everything a training depends on besides its images."""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from microbleeds.models.config import PUBLISHED, NetworkConfig, Triple
from microbleeds.settings import CleanUpSettings, PrepareSettings
from microbleeds.train.augment import PUBLISHED_AUGMENT, AugmentSettings
from microbleeds.train.cases import CaseSettings
from microbleeds.train.loop import Precision, TrainSettings


@dataclass(frozen=True)
class Recipe:
    """Networks, preparation and training of the detector, teacher and student.

    detector_patch: voxels of the working grid. patch_spacing_mm: of step 2's patches, whose
    shape is `network.patch_shape`; None takes the grid's voxels. validation: part of the subjects.
    validation_cases: at most so many images of them are looked at, to save time.
    candidate_threshold: from which probability step 1's voxels become examples for step 2.
    smallest_mm3, faintest, mask_error_mm: see `CaseSettings`.
    detector_weight, mirrored: see `ModelCard`; training itself does without mirror images.
    alpha, temperature: of distillation. split_seed: of the choice of validation subjects; initial
    weights and draws come from the seeds of the three trainings.
    """

    network: NetworkConfig = field(default_factory=NetworkConfig)
    prepare: PrepareSettings = field(default_factory=PrepareSettings)
    initial: Literal["he", "published"] = "he"
    detector_loss: Literal["lesion", "published"] = "lesion"
    detector_patch: Triple = (96, 96, 12)
    patch_spacing_mm: tuple[float, float, float] | None = (0.5, 0.5, 1.5)
    augmentation: AugmentSettings = field(default_factory=AugmentSettings)
    detector: TrainSettings = field(
        default_factory=lambda: TrainSettings(batch=4, validate_every=1000, average=0.999)
    )
    teacher: TrainSettings = field(
        default_factory=lambda: TrainSettings(steps=6000, batch=16, average=0.999)
    )
    student: TrainSettings = field(
        default_factory=lambda: TrainSettings(steps=6000, batch=32, average=0.999)
    )
    validation: float = 0.1
    validation_cases: int = 8
    candidate_threshold: float = 0.1
    smallest_mm3: float = 0.0
    faintest: float = 0.0
    mask_error_mm: tuple[float, float] = (0.0, 0.0)
    detector_weight: float = 0.0
    mirrored: bool = False
    alpha: float = 0.6
    temperature: float = 4.0
    split_seed: int = 0

    @property
    def cases(self) -> CaseSettings:
        """How its images are prepared."""
        return CaseSettings(self.prepare, self.smallest_mm3, self.faintest, self.mask_error_mm)


_SLIM_TRAINING = TrainSettings(
    steps=6600, batch=8, learning_rate=2e-3, epsilon=1e-8, validate_every=1000, average=0.999
)
_SLIM_PATCHES = replace(_SLIM_TRAINING, steps=8000, batch=32, learning_rate=1.5e-3, average=0.999)

#: What the shipped weights are trained with (docs/training-log.md), as far as time allowed. Adam's
#: published epsilon of 1e-4 is too large for a loss in which every bleed counts the same.
SLIM_RECIPE = Recipe(
    network=NetworkConfig(
        widths=(8, 16, 32, 32),
        patch_shape=(32, 32, 8),
        student_widths=(16, 32, 64, 64),
        coarse_detector=True,
        context=(3, 3, 2),
    ),
    prepare=PrepareSettings(max_in_plane_mm=0.8),
    detector_patch=(64, 64, 12),
    patch_spacing_mm=(0.5, 0.5, 2.0),
    detector=_SLIM_TRAINING,
    teacher=replace(_SLIM_PATCHES, batch=24),
    student=_SLIM_PATCHES,
    candidate_threshold=0.25,
    smallest_mm3=CleanUpSettings().min_volume_mm3,
    faintest=0.075,
    mask_error_mm=(-1.5, 2.5),
    detector_weight=0.3,
    mirrored=True,
)
_PUBLISHED_TRAINING = TrainSettings(schedule="step", warmup=0, batch=8)

#: Sundaresan et al. 2023: width 64, 48³ and 24³ voxel patches of the scan's own grid.
PUBLISHED_RECIPE = Recipe(
    network=PUBLISHED,
    prepare=PrepareSettings(in_plane_mm=None, min_slice_mm=None),
    initial="published",
    detector_loss="published",
    detector_patch=(48, 48, 48),
    patch_spacing_mm=None,
    augmentation=PUBLISHED_AUGMENT,
    detector=_PUBLISHED_TRAINING,
    teacher=_PUBLISHED_TRAINING,
    student=_PUBLISHED_TRAINING,
    validation=0.2,
    candidate_threshold=0.2,
)


@dataclass(frozen=True)
class Work:
    """What changes how a training runs but not what comes out.

    cache: folder of prepared images and candidates; several trainings may share one.
    workers: processes that prepare images. time_limit_s: for all that is done with this object,
    from its making; what is not finished then can be resumed.
    """

    cache: Path
    workers: int = 1
    time_limit_s: float | None = None
    _made: float = field(default_factory=time.monotonic, compare=False)

    @property
    def seconds_left(self) -> float | None:
        """Until the limit, negative beyond it; None without a limit."""
        if self.time_limit_s is None:
            return None
        return self.time_limit_s - (time.monotonic() - self._made)


@dataclass(frozen=True)
class Start:
    """Fine-tuning: the folder with the weights to start from, and the layers that stay as is."""

    folder: Path
    frozen: tuple[str, ...] = ()


#: Small enough to try a whole training in a minute.
TINY_RECIPE = Recipe(
    network=NetworkConfig(3, (4, 8), ((2, 2, 1),), (16, 16, 4)),
    detector_patch=(32, 32, 8),
    detector=TrainSettings(steps=200, batch=4, warmup=20, validate_every=100),
    teacher=TrainSettings(steps=200, batch=16, warmup=20, validate_every=100),
    student=TrainSettings(steps=200, batch=16, warmup=20, validate_every=100),
)
RECIPES = {"slim": SLIM_RECIPE, "published": PUBLISHED_RECIPE, "tiny": TINY_RECIPE}


def recipe_of(
    size: Literal["slim", "published", "tiny"],
    steps: int | None = None,
    seed: int = 0,
    precision: Precision = "32-true",
) -> Recipe:
    """A ready recipe; `steps` replaces those of every network, `seed` every seed."""

    def changed(training: TrainSettings) -> TrainSettings:
        count = training.steps if steps is None else steps
        warmup = min(training.warmup, count // 10)
        return replace(training, steps=count, warmup=warmup, seed=seed, precision=precision)

    recipe = RECIPES[size]
    return replace(
        recipe,
        detector=changed(recipe.detector),
        teacher=changed(recipe.teacher),
        student=changed(recipe.student),
        split_seed=seed,
    )
