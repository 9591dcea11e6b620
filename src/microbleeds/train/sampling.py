"""Training patches of the detector: half around microbleeds, half anywhere in the brain."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from microbleeds.errors import UserError
from microbleeds.models.config import Triple
from microbleeds.prepare.grid import cut
from microbleeds.train.augment import AugmentSettings, augment
from microbleeds.train.cases import UNRATED, Case
from microbleeds.train.loop import Batch
from microbleeds.train.losses import UNCERTAIN

_REACH = 0.375  # how far from a patch's middle its microbleed may lie, as a part of its size


@dataclass(frozen=True)
class DetectorSampler:
    """Draws batches for the detector.

    shape: of a patch in voxels of the working grid. in_channels: of image, symmetry, vessels, the
    first so many. negatives: per case (N, 3) scanner mm of an earlier detector's false positives;
    where there are some, they are the middle of half of the patches without a chosen microbleed.
    Raises UserError when no case has a microbleed.
    """

    cases: Sequence[Case]
    shape: Triple
    in_channels: int
    augmentation: AugmentSettings
    negatives: Sequence[NDArray[np.float64]] = ()

    def __post_init__(self) -> None:
        """Check that there is something to learn."""
        if not self._with(case.centres for case in self.cases):
            raise UserError(
                "None of the labels of the training table holds a microbleed; at least one must."
            )

    @staticmethod
    def _with(places: Iterable[NDArray[np.float64]]) -> list[int]:
        return [number for number, centres in enumerate(places) if len(centres)]

    def batch(self, size: int, rng: np.random.Generator) -> Batch:
        """channels (B, C, *shape) float32 and labels (B, *shape) uint8; even ones hold a bleed.

        labels: 1 in microbleeds, `UNCERTAIN` in those that are unrated.
        """
        patches = [self._patch(number % 2 == 0, rng) for number in range(size)]
        return {
            "channels": torch.from_numpy(np.stack([channels for channels, _ in patches])),
            "labels": torch.from_numpy(np.stack([labels for _, labels in patches])),
        }

    def _patch(
        self, microbleed: bool, rng: np.random.Generator
    ) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
        if microbleed:
            case, centre = self._chosen([case.centres_mm for case in self.cases], rng)
        elif self._with(self.negatives) and rng.random() < 0.5:
            case, centre = self._chosen(self.negatives, rng)
        else:
            case = self.cases[int(rng.integers(len(self.cases)))]
            centre = brain_voxel(case.brain, rng)
        jitter = rng.uniform(-_REACH, _REACH, 3) * self.shape
        corner = np.round(centre + jitter - np.array(self.shape) / 2).astype(int)
        channels = cut(case.channels[: self.in_channels], corner, self.shape).astype(np.float32)
        labels = cut(case.labels[None], corner, self.shape)[0]
        labels = np.where(labels == UNRATED, UNCERTAIN, labels > 0).astype(np.uint8)
        return augment(channels, labels, self.augmentation, rng)

    def _chosen(
        self, places: Sequence[NDArray[np.float64]], rng: np.random.Generator
    ) -> tuple[Case, NDArray[np.float64]]:
        """A case with such places and the voxel of one: no case counts more for having many."""
        number = int(rng.choice(self._with(places)))
        case, place = self.cases[number], places[number][rng.integers(len(places[number]))]
        return case, np.linalg.solve(case.grid.affine, [*place, 1.0])[:3]


def brain_voxel(brain: NDArray[np.bool_], rng: np.random.Generator) -> NDArray[np.float64]:
    """A voxel of the mask, all equally likely; drawn again and again, for masks fill their box."""
    while True:
        drawn = rng.integers(0, brain.shape, (64, 3))
        inside = drawn[brain[tuple(drawn.T)]]
        if len(inside):
            return np.asarray(inside[0], np.float64)
