"""A network in training seen as in detection: candidates of whole volumes, and their figure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from nibabel.affines import apply_affine
from numpy.typing import NDArray
from scipy.spatial import KDTree
from torch import Tensor

from microbleeds.evaluate.froc import froc, tpr_at
from microbleeds.evaluate.lesions import from_centres
from microbleeds.evaluate.matching import Finding, Findings, match
from microbleeds.models.engine import Engine, predict_volume
from microbleeds.models.networks import Detector, Student, Teacher
from microbleeds.settings import CandidateSettings
from microbleeds.steps import Candidates
from microbleeds.steps.candidates import find_candidates
from microbleeds.steps.discriminate import joint_probability
from microbleeds.steps.patches import extract_views, views_of
from microbleeds.train.cases import UNRATED, Case
from microbleeds.train.settings import Recipe

NEAR_MM = 2.0  # a candidate this near to a microbleed shows it
RATES = (0.5, 1.0, 2.0, 4.0, 8.0)  # false positives a scan at which sensitivity is averaged
_BATCH = 32
_MOST_OF_BRAIN = 0.002  # for candidates; 170 microbleeds of 3 mm fill so much


class TorchEngine(Engine):
    """A detector that is still being trained, with the face of an exported one."""

    def __init__(self, network: Detector) -> None:
        """`network` stays where it is and keeps its mode."""
        super().__init__(Path(), config=network.config)
        self.network = network

    def run(self, batch: NDArray[np.float32], /) -> NDArray[np.float32]:
        """(B, C, X, Y, Z) to probabilities (B, 2, X, Y, Z)."""
        device = next(self.network.parameters()).device
        with torch.inference_mode():
            logits = self.network(torch.from_numpy(batch).to(device))
            result: NDArray[np.float32] = torch.softmax(logits, dim=1).cpu().numpy()
        return result


@dataclass(frozen=True)
class Found:
    """Candidates of one case. xyz_mm: (N, 3); confidence: (N,)."""

    name: str
    xyz_mm: NDArray[np.float64]
    confidence: NDArray[np.float64]
    truth_mm: NDArray[np.float64]


def case_candidates(engine: Engine, case: Case, threshold: float) -> Candidates:
    """Step 1 on a prepared case, the threshold raised where a raw detector marks everything."""
    channels = np.asarray(case.channels[: engine.config.in_channels], np.float32)
    probability = predict_volume(engine, channels)
    most = float(np.quantile(probability[case.brain], 1 - _MOST_OF_BRAIN))
    settings = CandidateSettings(threshold=threshold)
    if most > threshold:  # half of a peak would be everywhere
        settings = CandidateSettings(threshold=most, reach=1.0)
    return find_candidates(probability, case.prepared, settings)


def counted(case: Case, candidates: Candidates) -> Candidates:
    """The candidates without those at unrated microbleeds alone, which count neither way."""
    labels = np.asarray(case.labels)
    at_rated = touched(case, candidates, (labels > 0) & (labels != UNRATED))
    kept = at_rated | ~touched(case, candidates, labels == UNRATED)
    table = (row for row, is_kept in zip(candidates.table, kept, strict=True) if is_kept)
    return replace(candidates, table=tuple(table))


def touched(case: Case, candidates: Candidates, target: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Which candidates overlap `target`, or have their centre within `NEAR_MM` of it: (N,)."""
    overlapping = np.isin([row.index for row in candidates.table], candidates.labels[target])
    near = distances(case, target, found(case, candidates).xyz_mm) <= NEAR_MM
    either: NDArray[np.bool_] = overlapping | near
    return either


def distances(
    case: Case, target: NDArray[np.bool_], points: NDArray[np.float64]
) -> NDArray[np.float64]:
    """From points (N, 3) in scanner mm to the nearest voxel of `target`; infinite without any."""
    voxels = np.argwhere(target)
    if not len(voxels):
        return np.full(len(points), np.inf)
    tree = KDTree(apply_affine(case.grid.affine, voxels))
    nearest: NDArray[np.float64] = tree.query(points)[0]
    return nearest


def found(case: Case, candidates: Candidates) -> Found:
    """The candidates with the detector's probability as their confidence."""
    centres = np.array([row.xyz_mm for row in candidates.table]).reshape(-1, 3)
    confidence = np.array([row.detector_probability for row in candidates.table])
    return Found(case.name, centres, confidence, case.centres_mm)


def rated(network: Teacher | Student, case: Case, seen: Found, recipe: Recipe) -> Found:
    """The candidates with the joint probability of detector and network as their confidence."""
    confidence = patch_probabilities(network, case, seen.xyz_mm, recipe)
    joint = joint_probability(seen.confidence, confidence, recipe.detector_weight)
    return replace(seen, confidence=joint)


def patch_probabilities(
    network: Teacher | Student, case: Case, centres_mm: NDArray[np.float64], recipe: Recipe
) -> NDArray[np.float64]:
    """Of a microbleed, (N,), in the patches around points (N, 3) in the scanner."""
    device = next(network.parameters()).device
    views = views_of(
        case.channels[: recipe.network.in_channels],
        case.grid,
        recipe.patch_spacing_mm,
        recipe.network.context if isinstance(network, Student) else (),
    )
    confidence = np.zeros(len(centres_mm))
    for first in range(0, len(confidence), _BATCH):
        part = slice(first, first + _BATCH)
        patches = extract_views(views, centres_mm[part], recipe.network.patch_shape)
        with torch.inference_mode():
            logits = patch_logits(network, torch.from_numpy(patches).to(device))
            confidence[part] = torch.softmax(logits, dim=1)[:, 1].cpu().numpy()
    return confidence


def patch_logits(network: Teacher | Student, patches: Tensor) -> Tensor:
    """Class logits (B, 2) of patches; the teacher's decoder is not needed for them."""
    if isinstance(network, Teacher):
        return network.classifier(network.features_and_segmentor.encode(patches)[-1])  # type: ignore[no-any-return]
    return network(patches)  # type: ignore[no-any-return]


def matched(cases: Iterable[Found]) -> Findings:
    """Candidates and microbleeds matched by their centres as in the VALDO challenge."""
    names: list[str] = []
    table: list[Finding] = []
    for case in cases:
        predicted = from_centres(case.xyz_mm, case.confidence)
        table.extend(match(case.name, predicted, from_centres(case.truth_mm), "valdo"))
        names.append(case.name)
    return Findings(tuple(table), tuple(names))


def figure(cases: Iterable[Found]) -> float:
    """Mean sensitivity over `RATES`: the lesion-level figure that training is stopped by."""
    points = froc(matched(cases))
    return float(np.mean([tpr_at(points, rate) for rate in RATES]))


def detector_figure(network: Detector, cases: Sequence[Case], threshold: float) -> float:
    """The figure of a detector on whole volumes."""
    engine = TorchEngine(network)
    return figure(
        found(case, counted(case, case_candidates(engine, case, threshold))) for case in cases
    )
