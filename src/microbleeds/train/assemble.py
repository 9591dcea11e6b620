"""Trained networks into a model folder, its thresholds measured by running `detect` with it."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, cast, get_args

import numpy as np

from microbleeds import __version__
from microbleeds.evaluate.calibration import fit_calibration
from microbleeds.evaluate.froc import Froc, froc, threshold_at, tpr_at
from microbleeds.evaluate.lesions import from_centres, with_unrated
from microbleeds.evaluate.matching import Findings, joined, match
from microbleeds.evaluate.read import read_true_labels
from microbleeds.files import make_folder
from microbleeds.models.card import CARD, Channel, ModelCard, Thresholds, write_card
from microbleeds.models.export import write_model_folder
from microbleeds.models.zoo import Models, load_models
from microbleeds.settings import Calibration, Contrast, OperatingPoint
from microbleeds.train.data import Row
from microbleeds.train.detection import detect_rows
from microbleeds.train.inference import RATES
from microbleeds.train.settings import Recipe
from microbleeds.train.store import (
    KINDS,
    Kind,
    Network,
    check_same_network,
    load_network,
    read_recipe,
)

#: False positives a scan, on the images for calibration, that each operating point allows.
FALSE_POSITIVES: dict[OperatingPoint, float] = {"sensitive": 2.0, "balanced": 0.5, "precise": 0.25}
_LOWEST, _HIGHEST = 0.01, 0.99  # few scans cannot tell thresholds beyond these


@dataclass(frozen=True)
class About:
    """What a card says that the networks do not.

    contrasts: that the model is for; empty: those that it is calibrated on. training: data, seed,
    duration and the like. name: of the model, by default that of its folder.
    """

    description: str = "Trained with `microbleeds train`."
    licence: str = "not stated"
    contrasts: tuple[Contrast, ...] = ()
    training: Mapping[str, Any] = field(default_factory=dict)
    name: str = ""


def assemble_model(
    rows: Sequence[Row],
    out: Path,
    detector: Path,
    student: Path,
    teacher: Path | None = None,
    about: About | None = None,
) -> ModelCard:
    """A model folder from the folders of networks that were trained one by one.

    rows: labelled images to measure the thresholds on, that no network was trained on.
    Raises UserError when a folder holds no such network, or detector and student do not match.
    """
    recipe = read_recipe(student)
    folders: dict[Kind, Path | None] = {
        "detector": detector,
        "teacher": teacher,
        "student": student,
    }
    networks: dict[str, Network] = {
        kind: load_network(kind, path) for kind in KINDS if (path := folders[kind])
    }
    check_same_network("detector", detector, recipe.network)
    return write_model(out, networks, recipe, rows, about or About())


def write_model(
    out: Path,
    networks: Mapping[str, Network],
    recipe: Recipe,
    rows: Sequence[Row],
    about: About,
) -> ModelCard:
    """Write a model folder, its probabilities and operating points calibrated on `rows`.

    The points keep to `FALSE_POSITIVES`. `detect` runs twice for them: which candidates step 2
    looks at again depends on the calibration (`HOPELESS`).

    Everything is made aside and then moved into `out`, the card last; other files there stay.
    Raises UserError when the folder cannot be made or a row cannot be used.
    """
    open_card = ModelCard(
        name=about.name or out.name,
        description=about.description,
        licence=about.licence,
        channels=cast("tuple[Channel, ...]", get_args(Channel)[: recipe.network.in_channels]),
        prepare=recipe.prepare,
        patch_spacing_mm=recipe.patch_spacing_mm,
        detector_weight=recipe.detector_weight,
        mirrored=recipe.mirrored,
        operating_points={"sensitive": Thresholds(recipe.candidate_threshold, 0.0)},
        networks=recipe.network,
    )
    out = out.absolute()  # "." has no name to put beside another
    make_folder(out)  # before the work, so that a wrong place is known at once
    temporary = out.with_name(f".{out.name}.tmp")
    shutil.rmtree(temporary, ignore_errors=True)  # of a run that was killed
    card = write_model_folder(temporary, open_card, networks)
    findings = final_findings(load_models(temporary), rows, recipe.smallest_mm3)
    calibration, other = fit_calibrations(findings)
    card = replace(card, calibration=calibration, other_calibration=other)
    write_card(card, temporary)
    findings = final_findings(load_models(temporary), rows, recipe.smallest_mm3)
    curve = froc(joined(findings.values()))
    card = replace(
        card,
        contrasts=about.contrasts or tuple(findings),
        operating_points=operating_points(curve, recipe.candidate_threshold),
        training={
            "version": __version__,
            **about.training,
            "thresholds": {
                "images": len(rows),
                "tpr_at_fp_per_scan": {str(rate): tpr_at(curve, rate) for rate in RATES},
            },
            "recipe": asdict(recipe),
        },
    )
    write_card(card, temporary)
    for name in (*card.files, CARD):
        (temporary / name).replace(out / name)
    temporary.rmdir()
    return card


def final_findings(
    models: Models, rows: Sequence[Row], smallest_mm3: float = 0.0
) -> dict[Contrast, Findings]:
    """What `detect` reports in the rows, steps 1 to 3, whatever the probability of step 2.

    By contrast, each as it comes up in the rows.

    models: with an operating point "sensitive" that lets everything through step 2. Matching is
    that of VALDO; smallest_mm3: see `match`.
    """
    found_in: dict[Contrast, list[Findings]] = {}
    for row, scan, found in detect_rows(rows, models, models.card.settings("sensitive")):
        bleeds = found.microbleeds
        detected = from_centres(
            np.array([bleed.xyz_mm for bleed in bleeds]),
            np.array([bleed.probability for bleed in bleeds]),
        )
        truth = read_true_labels(row.label)
        if row.unrated:
            truth = with_unrated(truth, read_true_labels(row.unrated).xyz_mm)
        name = row.image.name
        seen = match(name, detected, truth, "valdo", smallest_mm3=smallest_mm3)
        found_in.setdefault(scan.contrast, []).append(Findings(seen, (name,)))
    return {contrast: joined(parts) for contrast, parts in found_in.items()}


def fit_calibrations(
    findings: Mapping[Contrast, Findings],
) -> tuple[dict[Contrast, Calibration], Calibration]:
    """A curve for each contrast that has both hits and false detections, and one through all.

    The thresholds are of corrected probabilities, so no contrast may go without a correction.
    """
    fitted = {contrast: fit_calibration(seen) for contrast, seen in findings.items()}
    own = {contrast: curve for contrast, curve in fitted.items() if curve != Calibration()}
    return own, fit_calibration(joined(findings.values()))


def operating_points(points: Froc, detector: float) -> dict[OperatingPoint, Thresholds]:
    """Thresholds of the student that keep to `FALSE_POSITIVES`; step 1 passes all it found."""
    return {
        name: Thresholds(detector, min(max(threshold_at(points, rate), _LOWEST), _HIGHEST))
        for name, rate in FALSE_POSITIVES.items()
    }
