"""The JSON record: what group tables and other readers take from it."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np

from microbleeds.mni.register import Registration
from microbleeds.models.card import read_card
from microbleeds.models.zoo import DEFAULT_MODEL, WEIGHTS, Models
from microbleeds.pipeline import Detections
from microbleeds.report.results import concerns, record, warnings

from .conftest import KEPT, ROWS, TRAITS

WEIGHTS_OF = WEIGHTS / DEFAULT_MODEL
MODELS = Models(read_card(WEIGHTS_OF), None, None, WEIGHTS_OF)


def found(brain, rows, **changes) -> Detections:
    labels = np.zeros(brain.shape, np.int32)
    made = Detections(labels, rows, brain, 0.9, MODELS.card.settings(), {}, traits=TRAITS)
    return replace(made, **changes)


def test_definite_microbleeds_reach_the_precise_thresholds(head, brain):
    precise = MODELS.card.operating_points["precise"]
    rows = tuple(
        replace(KEPT, index=n, detector_probability=detector, joint_probability=student)
        for n, (detector, student) in enumerate(
            [
                (precise.detector, precise.student),
                (precise.detector, precise.student - 0.01),
                (precise.detector - 0.01, precise.student),
            ],
            start=1,
        )
    )
    said = record(head, Path("scan.nii"), found(brain, rows), MODELS)
    assert (said["microbleeds"], said["definite"]) == (3, 1)


def test_volume_and_regions_are_of_the_kept_only(head, brain):
    rows = tuple(replace(row, region="insula", side="left") for row in ROWS)
    said = record(head, Path("scan.nii"), found(brain, rows), MODELS)
    assert said["volume_mm3"] == 67.0 and said["regions"] is None
    registered = found(brain, rows, registration=Registration(np.eye(4), np.eye(4), 0.9))
    said = record(head, Path("scan.nii"), registered, MODELS)
    assert said["regions"].pop("insula") == 2 and not any(said["regions"].values())
    failed = replace(registered, registration=Registration(np.eye(4), np.eye(4), 0.1, "far off"))
    assert record(head, Path("scan.nii"), failed, MODELS)["regions"] is None


def test_every_warning_has_a_flag(saved, head, brain):
    said = json.loads(saved.report.read_text())
    assert said["flags"] == said["warnings"] == []
    noisy = found(
        brain, (), traits=replace(TRAITS, noise=0.4, slice_mm=9.0),
        registration=Registration(np.eye(4), np.eye(4), 0.1, "far off"),
    )  # fmt: skip
    flags = ["no-candidate", "unlike-training:slice_mm", "unlike-training:noise", "no-regions"]
    assert list(concerns(head, noisy)) == flags
    assert list(concerns(head, noisy).values()) == warnings(head, noisy)
    assert "no-microbleed" in concerns(head, found(brain, ROWS[2:]))


def test_a_header_without_orientation_is_a_warning(head, brain):
    said = concerns(replace(head, oriented=False), found(brain, ROWS))
    assert list(said) == ["no-orientation"] and "left and right" in said["no-orientation"]


def test_a_contrast_without_calibration_is_a_warning(head, brain):
    settings = MODELS.card.settings()
    assert head.contrast in settings.discriminate.calibration
    only = {"qsm": settings.discriminate.calibration["qsm"]}
    other = replace(settings, discriminate=replace(settings.discriminate, calibration=only))
    assert list(concerns(head, found(brain, ROWS, settings=other))) == ["not-calibrated"]
    never = replace(settings, discriminate=replace(settings.discriminate, calibration={}))
    assert not concerns(head, found(brain, ROWS, settings=never))
