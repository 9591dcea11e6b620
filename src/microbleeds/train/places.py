"""Where step 2 learns: a detector's candidates, every true microbleed, and other brain."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from nibabel.affines import apply_affine
from numpy.typing import NDArray

from microbleeds.errors import UserError
from microbleeds.files import whole_file
from microbleeds.models.config import Triple
from microbleeds.models.engine import Engine
from microbleeds.models.networks import Student
from microbleeds.prepare.grid import Grid, cut
from microbleeds.steps import Candidates
from microbleeds.steps.patches import Spacing, View, extract_patches, patch_spacing, views_of
from microbleeds.train.augment import AugmentSettings, augment, turn
from microbleeds.train.cases import UNRATED, Case
from microbleeds.train.inference import (
    Found,
    case_candidates,
    counted,
    distances,
    found,
    patch_probabilities,
    touched,
)
from microbleeds.train.loop import Batch
from microbleeds.train.sampling import brain_voxel
from microbleeds.train.settings import Recipe

PLACES_FORMAT = 2  # of the kept files; raise it when `sort_places` changes what it returns
CLEAR_MM = 6.0  # elsewhere in the brain must be this far from every microbleed
_ELSEWHERE = 20  # such places a case


@dataclass(frozen=True)
class Places:
    """Centres of patches of one case: positive (P, 3) and negative (N, 3), scanner mm."""

    positive: NDArray[np.float64]
    negative: NDArray[np.float64]
    found: Found


@dataclass(frozen=True)
class PatchSampler:
    """Draws batches for teacher and student: as many microbleeds as look-alikes.

    shape, spacing_mm: of the patch, as in detection. shift_mm: how far, along each axis of the
    patch, its middle may lie from the place, since a detector's centres are not exact.
    context: of the student's second view, see `NetworkConfig`.
    doubts: of each case, for every look-alike how probably an earlier student took it for a
    microbleed, (N,); half of the look-alikes are then drawn in proportion to it.
    Raises UserError when there is nothing of one of the two kinds.
    """

    cases: Sequence[Case]
    places: Sequence[Places]
    shape: Triple
    spacing_mm: tuple[float, float, float] | None
    in_channels: int
    augmentation: AugmentSettings
    shift_mm: float = 1.0
    doubts: Sequence[NDArray[np.float64]] = ()
    context: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        """Check that both classes are there."""
        for kind in (True, False):
            if not any(len(self._of(places, kind)) for places in self.places):
                raise UserError(
                    "The training images offer no "
                    f"{'microbleed' if kind else 'look-alike'} to learn step 2 from; add images."
                )

    @staticmethod
    def _of(places: Places, positive: bool) -> NDArray[np.float64]:
        return places.positive if positive else places.negative

    def batch(self, size: int, rng: np.random.Generator) -> Batch:
        """channels (B, C or 2 C, *shape), labels (B, *shape) and targets (B,), 1: microbleed."""
        drawn = [(number % 2 == 0, self._patch(number % 2 == 0, rng)) for number in range(size)]
        return {
            "channels": torch.from_numpy(np.stack([channels for _, (channels, _) in drawn])),
            "labels": torch.from_numpy(np.stack([labels for _, (_, labels) in drawn])),
            "targets": torch.tensor([int(positive) for positive, _ in drawn]),
        }

    def _patch(
        self, positive: bool, rng: np.random.Generator
    ) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
        number, centre = self._place(positive, rng)
        case = self.cases[number]
        centre = centre + rng.uniform(-self.shift_mm, self.shift_mm, 3)
        zoom = rng.uniform(*self.augmentation.zoom, 3)
        spacing = _times(patch_spacing(case.grid, self.spacing_mm), zoom)
        x, y, slices = self.shape
        share = self.augmentation.turned if x == y and spacing is not None else 0
        turned = share > 0 and rng.random() < share
        shape = (-(-3 * x // 2), -(-3 * y // 2), slices) if turned else self.shape
        stack, grid = self._around(case, centre, spacing, shape)
        patch = extract_patches(stack, grid, centre[None], shape, spacing)[0]
        if self.context:
            far = self._far[number]
            wide = extract_patches(
                far.channels, far.grid, centre[None], shape, _times(far.spacing_mm, zoom)
            )[0]
            patch = np.concatenate([patch[:-1], wide, patch[-1:]])
        if turned:
            patch = turn(patch, rng.uniform(0, 360), x)
        labels = (patch[-1] >= 0.5).astype(np.uint8)
        views = 2 if self.context else 1
        return augment(patch[:-1], labels, self.augmentation, rng, views)

    def _place(self, positive: bool, rng: np.random.Generator) -> tuple[int, NDArray[np.float64]]:
        """The number of a case and one of its places, all equally likely or by their doubt."""
        counts = self._counts[positive]
        if self.doubts and not positive and rng.random() < 0.5:
            chosen = int(np.searchsorted(self._doubt, rng.uniform(0, self._doubt[-1])))
        else:
            chosen = int(rng.integers(counts[-1]))
        number = int(np.searchsorted(counts, chosen, side="right"))
        place = chosen - int(counts[number])  # from the end of the case's
        return number, self._of(self.places[number], positive)[place]

    @cached_property
    def _counts(self) -> dict[bool, NDArray[np.int_]]:
        """Places of both kinds up to and with each case."""
        return {
            kind: np.cumsum([len(self._of(places, kind)) for places in self.places])
            for kind in (True, False)
        }

    @cached_property
    def _doubt(self) -> NDArray[np.float64]:
        """Doubt up to and with each look-alike of all cases."""
        return np.cumsum(np.concatenate(self.doubts))

    @cached_property
    def _far(self) -> list[View]:
        """The second view of each case; small enough to be kept in memory."""
        return [
            views_of(case.channels[: self.in_channels], case.grid, self.spacing_mm, self.context)[1]
            for case in self.cases
        ]

    def _around(
        self,
        case: Case,
        centre: NDArray[np.float64],
        spacing: tuple[float, float, float] | None,
        shape: Triple,
    ) -> tuple[NDArray[np.float32], Grid]:
        """Channels and, last, microbleeds of the part of a case that such a patch can reach."""
        steps = np.ones(3) if spacing is None else np.array(spacing) / case.grid.spacing
        reach = np.ceil(np.array(shape) * steps / 2).astype(int) + 2
        voxel = np.linalg.solve(case.grid.affine, [*centre, 1.0])[:3]
        corner = np.round(voxel).astype(int) - reach
        x, y, z = (int(size) for size in 2 * reach + 1)
        channels = cut(case.channels[: self.in_channels], corner, (x, y, z))
        labels = cut(case.labels[None], corner, (x, y, z))
        labels = (labels > 0) & (labels != UNRATED)
        affine = case.grid.affine.copy()
        affine[:3, 3] += affine[:3, :3] @ corner
        return np.concatenate([channels, labels]).astype(np.float32), Grid((x, y, z), affine)


def _times(spacing_mm: Spacing | None, zoom: NDArray[np.float64]) -> Spacing | None:
    """A spacing, a little larger or smaller than in detection, so that sizes vary more."""
    if spacing_mm is None:
        return None
    x, y, z = np.multiply(spacing_mm, zoom)
    return float(x), float(y), float(z)


def find_places(
    engine: Engine, cases: Sequence[Case], threshold: float, folder: Path
) -> tuple[Places, ...]:
    """The places of every case, kept in `folder`, one file a case.

    engine: the detector; threshold: probability from which its voxels are candidates.
    """
    return tuple(_kept(engine, case, threshold, folder / f"{case.name}.npz") for case in cases)


def find_doubts(
    student: Student, cases: Sequence[Case], places: Sequence[Places], recipe: Recipe, folder: Path
) -> tuple[NDArray[np.float64], ...]:
    """How probably a student takes each look-alike for a microbleed, kept as `find_places` does."""
    doubts = []
    for case, there in zip(cases, places, strict=True):
        points = hashlib.sha256(there.negative.tobytes()).hexdigest()[:16]
        path = folder / f"{case.name}-{points}.npy"
        if not path.exists():
            doubt = patch_probabilities(student, case, there.negative, recipe)
            with whole_file(path) as temporary, temporary.open("wb") as file:
                np.save(file, doubt)
        doubts.append(np.load(path))
    return tuple(doubts)


def sort_places(case: Case, candidates: Candidates) -> Places:
    """Candidates on or near a true microbleed, with all true centres, against the rest.

    No place is both: what is within `NEAR_MM` of a labelled voxel is never a look-alike. Nothing is
    learnt at those that are unrated, and what was found there counts neither way.
    """
    rated = counted(case, candidates)
    seen = found(case, rated)
    labels = np.asarray(case.labels)
    positive = touched(case, rated, (labels > 0) & (labels != UNRATED))
    elsewhere = _elsewhere(case)
    clear = distances(case, labels > 0, elsewhere) > CLEAR_MM
    return Places(
        np.concatenate([case.centres_mm, seen.xyz_mm[positive]]),
        np.concatenate([seen.xyz_mm[~positive], elsewhere[clear]]),
        seen,
    )


def _elsewhere(case: Case) -> NDArray[np.float64]:
    rng = np.random.default_rng(0)
    voxels = np.array([brain_voxel(case.brain, rng) for _ in range(_ELSEWHERE)])
    return np.asarray(apply_affine(case.grid.affine, voxels))


def _kept(engine: Engine, case: Case, threshold: float, path: Path) -> Places:
    if not path.exists():
        places = sort_places(case, case_candidates(engine, case, threshold))
        with whole_file(path) as temporary, temporary.open("wb") as file:
            np.savez(
                file,
                positive=places.positive,
                negative=places.negative,
                xyz_mm=places.found.xyz_mm,
                confidence=places.found.confidence,
            )
    with np.load(path) as kept:
        seen = Found(case.name, kept["xyz_mm"], kept["confidence"], case.centres_mm)
        return Places(kept["positive"], kept["negative"], seen)
