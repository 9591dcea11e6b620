"""The microbleeds as a DICOM segmentation, one segment each, on the frames of the source."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import highdicom as hd
import numpy as np
from numpy.typing import NDArray
from pydicom.uid import generate_uid

import microbleeds
from microbleeds.dicom import codes
from microbleeds.dicom.read import DicomSource
from microbleeds.models.zoo import Models
from microbleeds.pipeline import Detections
from microbleeds.report.results import RESEARCH_USE
from microbleeds.steps import Candidate

MAKER = "Microbleeds"
LONGEST = 64  # characters of a description or a name in DICOM
SHORT_NOTICE = "Research use only, not for diagnosis"


@dataclass(frozen=True)
class Finding:
    """A microbleed with what follows it through objects and visits."""

    microbleed: Candidate
    number: int  # of the segment, from 1
    tracking_id: str
    tracking_uid: str


def tracked(found: Detections, models: Models, source: DicomSource) -> tuple[Finding, ...]:
    """The microbleeds with tracking identifiers.

    The UID is made from the series, the networks and the place, so that the same microbleed has
    the same one whenever the run is repeated.
    """
    findings = []
    for number, microbleed in enumerate(found.microbleeds, start=1):
        place = [f"{v:.3f}" for v in microbleed.xyz_mm]
        uid = generate_uid(
            entropy_srcs=[source.volume.series_uid, *_networks(models).values(), *place]
        )
        label = f"Cerebral microbleed {microbleed.index}"
        findings.append(Finding(microbleed, number, label, str(uid)))
    return tuple(findings)


def parameters(found: Detections, models: Models) -> dict[str, str]:
    """What the result depends on, for the identification of the algorithm."""
    return {
        "model": models.card.name,
        **{f"sha256 of {name}": digest for name, digest in _networks(models).items()},
        "threshold of step 1": f"{found.settings.candidates.threshold:g}",
        "threshold of step 2": f"{found.settings.discriminate.threshold:g}",
        "notice": RESEARCH_USE,
    }


def equipment(models: Models) -> dict[str, str]:
    """Who made an object: the software, with the model in place of a serial number."""
    return {
        "manufacturer": MAKER,
        "manufacturer_model_name": f"{MAKER}, model {models.card.name}"[:LONGEST],
        "software_versions": microbleeds.__version__,
        "device_serial_number": models.card.files["student.onnx"][:16],
    }


def make_segmentation(
    images: Sequence[Any],
    source: DicomSource,
    labels: NDArray[np.int32],
    findings: Sequence[Finding],
    found: Detections,
    models: Models,
) -> Any:
    """A binary DICOM SEG.

    images: headers of the source. labels: (frame, row, column) in the stack's order, the number
    of each microbleed. Empty frames are left out, as is usual.
    """
    algorithm = hd.AlgorithmIdentificationSequence(
        name=MAKER,
        family=codes.FAMILY,
        version=microbleeds.__version__,
        source=MAKER,
        parameters=parameters(found, models),
    )
    described = [
        hd.seg.SegmentDescription(
            segment_number=finding.number,
            segment_label=finding.tracking_id,
            segmented_property_category=codes.CATEGORY,
            segmented_property_type=codes.FINDING,
            algorithm_type=hd.seg.SegmentAlgorithmTypeValues.AUTOMATIC,
            algorithm_identification=algorithm,
            tracking_uid=finding.tracking_uid,
            tracking_id=finding.tracking_id,
            anatomic_regions=[codes.SITE],
        )
        for finding in findings
    ]
    return hd.seg.Segmentation(
        source_images=images,
        pixel_array=_in_file_order(_segment_numbers(labels, findings), source, len(images)),
        segmentation_type=hd.seg.SegmentationTypeValues.BINARY,
        segment_descriptions=described,
        series_instance_uid=hd.UID(),
        series_number=series_number(source, 1),
        sop_instance_uid=hd.UID(),
        instance_number=1,
        content_label="MICROBLEEDS",
        content_description=SHORT_NOTICE,
        series_description="Microbleeds (research use)",
        **equipment(models),
    )


def _networks(models: Models) -> dict[str, str]:
    """Checksums of the networks that ran, by name."""
    files = models.card.files
    return {name: files[name] for name in ("detector.onnx", "student.onnx")}


def series_number(source: DicomSource, place: int) -> int:
    """Series 7 gives 701 for the segmentation and 702 for the report, out of the scanner's way."""
    return 100 * (source.volume.series_number % 10_000_000) + place


def _segment_numbers(labels: NDArray[np.int32], findings: Sequence[Finding]) -> NDArray[np.uint16]:
    """Numbers of segments in place of those of microbleeds."""
    numbers = np.zeros(int(labels.max()) + 1, np.uint16)
    for finding in findings:
        numbers[finding.microbleed.index] = finding.number
    result: NDArray[np.uint16] = numbers[labels]
    return result


def _in_file_order(
    array: NDArray[np.uint16], source: DicomSource, files: int
) -> NDArray[np.uint16]:
    """The stack as the frames come in a multi-frame file; single frames stay as they are."""
    if files > 1:
        return array
    place = np.argsort([frame.number for frame in source.frames])
    return np.ascontiguousarray(array[place])
