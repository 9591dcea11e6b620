"""Step 1: from the detector's probability map to single candidates."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial import KDTree
from scipy.special import expit, logit

from microbleeds.models.engine import Engine, predict_volume
from microbleeds.prepare import Prepared
from microbleeds.settings import CandidateSettings
from microbleeds.steps import Candidate, Candidates
from microbleeds.steps.shape import diameter_mm, measure
from microbleeds.steps.split import NEIGHBOURS, split_touching

_LOWEST = np.float32(1e-4)  # of a probability whose log odds are averaged


def microbleed_probability(
    detector: Engine, channels: NDArray[np.float32], settings: CandidateSettings
) -> NDArray[np.float32]:
    """Of a microbleed in every voxel: (C, X, Y, Z) to (X, Y, Z).

    With `mirrored` the mean of the log odds of the volume and of its mirror image along X, so that
    what the detector takes for a microbleed from one side alone falls below the threshold.
    """
    probability = predict_volume(detector, channels)
    if not settings.mirrored:
        return probability
    reverse = predict_volume(detector, channels[:, ::-1])[::-1]
    odds = [logit(np.clip(view, _LOWEST, 1 - _LOWEST)) for view in (probability, reverse)]
    return np.asarray(expit((odds[0] + odds[1]) / 2), np.float32)


def find_candidates(
    probability: NDArray[np.float32], prepared: Prepared, settings: CandidateSettings
) -> Candidates:
    """Peaks of the brain at or above the threshold, touching bleeds told apart.

    A candidate is the connected voxels around its peak that reach the threshold or a part of the
    peak, whichever is less: its size must not shrink to nothing when the two come near each other.
    probability: of a microbleed, (X, Y, Z) on `prepared.grid`.
    """
    grid = prepared.grid
    inside = np.where(prepared.brain, probability, np.float32(0))
    found = list(_single_bleeds(inside, grid.spacing, settings))
    edges = _edge_distances(found, prepared.brain, grid.spacing)
    labels = np.zeros(inside.shape, np.int32)
    table: list[Candidate] = []
    for index, (voxels, edge_mm) in enumerate(zip(found, edges, strict=True), start=1):
        where = tuple(voxels.T)
        labels[where] = index
        shape = measure(voxels, inside[where], grid)
        table.append(
            Candidate(
                index=index,
                xyz_mm=shape.centre_mm,
                volume_mm3=shape.volume_mm3,
                diameter_mm=diameter_mm(shape.volume_mm3),
                elongation=shape.elongation,
                edge_mm=float(edge_mm),
                detector_probability=float(inside[where].max()),
            )
        )
    return Candidates(labels, tuple(table), float(inside.max(initial=0.0)))


def _single_bleeds(
    probability: NDArray[np.float32], spacing: NDArray[np.float64], settings: CandidateSettings
) -> Iterator[NDArray[np.int_]]:
    """The voxels (N, 3) of every candidate."""
    lowest = settings.reach * settings.threshold
    components, _ = ndimage.label(probability >= lowest, NEIGHBOURS)
    for number, box in enumerate(ndimage.find_objects(components), start=1):
        component = np.where(components[box] == number, probability[box], np.float32(0))
        if component.max() < settings.threshold:
            continue
        parts = split_touching(component, spacing, settings)
        for part in range(1, int(parts.max()) + 1):
            body = _body(np.where(parts == part, component, 0), settings)
            if body.any():
                yield np.argwhere(body) + [cut.start for cut in box]


def _body(part: NDArray[np.float32], settings: CandidateSettings) -> NDArray[np.bool_]:
    """The voxels of a part that belong to its peak; none where the peak is too low."""
    peak = float(part.max())
    if peak < settings.threshold:
        return np.zeros(part.shape, bool)
    pieces, _ = ndimage.label(part >= min(settings.threshold, settings.reach * peak), NEIGHBOURS)
    body: NDArray[np.bool_] = pieces == pieces[np.unravel_index(part.argmax(), part.shape)]
    return body


def _edge_distances(
    found: list[NDArray[np.int_]], brain: NDArray[np.bool_], spacing: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Distance in mm from each candidate's mean voxel to the nearest voxel outside the brain.

    Infinite where nothing but brain is in view. Asking a tree of the brain's rim takes a tenth of
    the time of a distance map of the whole volume.
    """
    centres = np.array([voxels.mean(axis=0) for voxels in found]).reshape(-1, 3)
    rim = np.argwhere(ndimage.binary_dilation(brain) & ~brain)
    distances: NDArray[np.float64] = KDTree(rim * spacing).query(centres * spacing)[0]
    return distances
