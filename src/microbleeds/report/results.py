"""Everything that `detect` writes for one scan."""

from __future__ import annotations

from dataclasses import asdict
from functools import partial
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path
from platform import platform, python_version
from typing import Any

import nibabel as nib
import numpy as np

import microbleeds
from microbleeds.files import make_folder
from microbleeds.models.card import NetworkCard, Thresholds, read_card, read_network_card
from microbleeds.models.zoo import BRAIN_MODEL, REGION_MODEL, WEIGHTS, Models
from microbleeds.pipeline import Detections
from microbleeds.report.bids import OutputPaths
from microbleeds.report.burden import burden_class
from microbleeds.report.confidence import count_confidence
from microbleeds.report.files import write_json
from microbleeds.report.pictures import draw_detections
from microbleeds.report.regions import count_definite, count_regions, distribution, write_mars
from microbleeds.report.table import write_candidates, write_detections
from microbleeds.report.unusual import unusual
from microbleeds.scan import Scan, write_nifti
from microbleeds.threads import beside

RESEARCH_USE = "Research software, not a medical device: not for diagnosis or treatment."
_SOFTWARE = ("openvino", "numpy", "scipy", "scikit-image", "simpleitk", "nibabel")


def write_results(
    scan: Scan,
    source: Path,
    found: Detections,
    models: Models,
    paths: OutputPaths,
    mask: Path | None = None,
    series: str | None = None,
    picture: bool = False,
) -> None:
    """Masks, tables, the picture and the JSON record, which comes last: where it is, all is.

    mask: the user's own brain mask; series: of a DICOM folder, as it was asked for. picture:
    whether to draw one, which is done beside the masks, as either takes half a second.
    Raises UserError when a file cannot be written.
    """
    make_folder(paths.brain.parent)
    with beside(found.settings.threads) as start:
        masks_written = start(partial(_write_masks, scan, found, paths))
        if picture:
            draw_detections(scan, found.brain, found.microbleeds, paths.picture)
        masks_written()
    write_detections(paths.table, found.table, scan.affine)
    write_candidates(paths.candidates, found.table, scan.affine)
    if found.registration is not None:
        write_mars(paths.mars, found.microbleeds, definite_thresholds(found, models))
    content = record(scan, source, found, models)
    content["series"] = series
    content["brain_mask"] = (
        _about(read_card(WEIGHTS / BRAIN_MODEL)) if mask is None else str(mask.absolute())
    )
    write_json(paths.report, content)


def _write_masks(scan: Scan, found: Detections, paths: OutputPaths) -> None:
    write_nifti(paths.brain, found.brain.astype(np.uint8), scan.affine)
    write_nifti(paths.dseg, found.labels, scan.affine)
    write_nifti(paths.mask, (found.labels > 0).astype(np.uint8), scan.affine)


def record(scan: Scan, source: Path, found: Detections, models: Models) -> dict[str, Any]:
    """What a result file says of itself: count, warnings, settings, versions, hashes, timings."""
    registered = found.registration is not None and not found.registration.problem
    reasons = concerns(scan, found)
    return {
        "microbleeds": len(found.microbleeds),
        "definite": count_definite(found.microbleeds, definite_thresholds(found, models)),
        "burden": burden_class(len(found.microbleeds)),
        "pattern": None if found.registration is None else distribution(found.microbleeds),
        "regions": count_regions(found.microbleeds) if registered else None,
        "volume_mm3": round(sum(row.volume_mm3 for row in found.microbleeds), 2),
        "candidates": len(found.table),
        "registration": found.registration,
        "region_model": (
            _about(read_network_card(WEIGHTS / REGION_MODEL)) if found.registration else None
        ),
        "confidence": count_confidence(found.table, found.settings, scan.contrast),
        "highest_detector_probability": round(found.highest_probability, 4),
        "warnings": list(reasons.values()),
        "flags": list(reasons),
        "notes": list(scan.notes),
        "traits": found.traits,
        "source": str(source.absolute()),
        "scan_sha256": scan_checksum(scan),
        "contrast": scan.contrast,
        "voxel_mm": [round(float(mm), 4) for mm in scan.spacing],
        "brain_cm3": round(_brain_cm3(scan, found), 1),
        "model": _about(models.card),
        "settings": asdict(found.settings),
        "seconds": found.seconds,
        "version": microbleeds.__version__,
        "software": {
            "python": python_version(),
            **{package: version(package) for package in _SOFTWARE},
            "system": platform(),
        },
        "notice": RESEARCH_USE,
    }


def warnings(scan: Scan, found: Detections) -> list[str]:
    """Reasons to look twice, in words."""
    return list(concerns(scan, found).values())


def concerns(scan: Scan, found: Detections) -> dict[str, str]:
    """Reasons to look twice, from flag to sentence: an empty result never comes without one."""
    said = {}
    highest = found.highest_probability
    if not found.table:
        said["no-candidate"] = f"no candidate: highest probability of step 1 was {highest:.2f}"
    elif not found.microbleeds:
        best = max(row.probability for row in found.table)
        said["no-microbleed"] = (
            f"no microbleed: all {len(found.table)} candidates were dropped, the best had "
            f"probability {best:.2f}"
        )
    if not scan.oriented:
        said["no-orientation"] = (
            "the header has no orientation (sform and qform codes are 0), so "
            f"{''.join(nib.aff2axcodes(scan.affine))} was taken: left and right may be swapped, "
            "and regions wrong"
        )
    calibration = found.settings.discriminate.calibration
    if calibration and scan.contrast not in calibration:
        said["not-calibrated"] = (
            f"the model was not calibrated for {scan.contrast}, only for {', '.join(calibration)}, "
            "so its probabilities and thresholds may be off; give --contrast if the scan is of "
            "another"
        )
    if found.traits is not None:
        for trait, sentence in unusual(found.traits, scan.contrast).items():
            said[f"unlike-training:{trait}"] = sentence
    if found.registration is not None and found.registration.problem:
        said["no-regions"] = (
            f"no regions: the scan could not be registered to the atlas, since "
            f"{found.registration.problem}; look at the brain mask and at the header's axes"
        )
    return said


def definite_thresholds(found: Detections, models: Models) -> Thresholds:
    """Of the operating point "precise", or those in use where the model has no such point."""
    used = Thresholds(found.settings.candidates.threshold, found.settings.discriminate.threshold)
    return models.card.operating_points.get("precise", used)


def scan_checksum(scan: Scan) -> str:
    """SHA-256 of a scan's voxels and affine, however the file is compressed."""
    digest = sha256(scan.voxels.tobytes())
    digest.update(np.round(scan.affine, 4).tobytes())
    return digest.hexdigest()


def _about(card: NetworkCard) -> dict[str, Any]:
    """What a result says of a model."""
    said: dict[str, Any] = {
        name: card.training[name] for name in ("data", "limits") if name in card.training
    }
    return {
        "name": card.name,
        "description": card.description,
        "licence": card.licence,
        **said,
        "files": card.files,
    }


def _brain_cm3(scan: Scan, found: Detections) -> float:
    return float(found.brain.sum() * scan.spacing.prod() / 1000)
