"""The microbleeds as a DICOM structured report (TID 1500, measurement report)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import highdicom as hd
import numpy as np

import microbleeds
from microbleeds.dicom import codes
from microbleeds.dicom.read import DicomSource
from microbleeds.dicom.segmentation import (
    LONGEST,
    MAKER,
    SHORT_NOTICE,
    Finding,
    equipment,
    parameters,
    series_number,
)
from microbleeds.models.zoo import Models
from microbleeds.pipeline import Detections

_LPS = np.array([-1.0, -1.0, 1.0])


def make_report(
    images: Sequence[Any],
    source: DicomSource,
    findings: Sequence[Finding],
    found: Detections,
    models: Models,
    segmentation: Any | None,
) -> Any:
    """A Comprehensive 3D SR: how many, where (one point each, LPS mm), and each one's measures.

    segmentation: what the groups of the single microbleeds refer to; None without microbleeds.
    """
    algorithm = hd.sr.AlgorithmIdentification(
        name=MAKER,
        version=microbleeds.__version__,
        parameters=[f"{name}: {value}" for name, value in parameters(found, models).items()],
        family=codes.FAMILY,
        manufacturer=MAKER,
    )
    groups = [_count(images, findings, algorithm)]
    groups += [_group(finding, segmentation, algorithm) for finding in findings]
    content = hd.sr.MeasurementReport(
        observation_context=_observer(models),
        procedure_reported=codes.PROCEDURE,
        imaging_measurements=groups,
    )
    maker = equipment(models)
    report = hd.sr.Comprehensive3DSR(
        evidence=[*images, *([segmentation] if segmentation is not None else [])],
        content=content,
        series_instance_uid=hd.UID(),
        series_number=series_number(source, 2),
        sop_instance_uid=hd.UID(),
        instance_number=1,
        manufacturer=maker["manufacturer"],
        is_complete=True,
        series_description="Microbleeds report (research use)",
    )
    report.CompletionFlagDescription = SHORT_NOTICE
    report.ManufacturerModelName = maker["manufacturer_model_name"]
    report.SoftwareVersions = maker["software_versions"]
    report.DeviceSerialNumber = maker["device_serial_number"]
    return report


def _observer(models: Models) -> Any:
    device = hd.sr.DeviceObserverIdentifyingAttributes(
        uid=hd.UID(),
        name=MAKER,
        manufacturer_name=MAKER,
        model_name=f"{MAKER} {microbleeds.__version__}, model {models.card.name}"[:LONGEST],
    )
    return hd.sr.ObservationContext(
        observer_device_context=hd.sr.ObserverContext(codes.DEVICE, device)
    )


def _count(images: Sequence[Any], findings: Sequence[Finding], algorithm: Any) -> Any:
    """The number of microbleeds, inferred from a point in each (TID 1501)."""
    points = [
        hd.sr.CoordinatesForMeasurement3D(
            graphic_type=hd.sr.GraphicTypeValues3D.POINT,
            graphic_data=(np.array(finding.microbleed.xyz_mm) * _LPS)[None],
            frame_of_reference_uid=images[0].FrameOfReferenceUID,
            purpose=codes.CENTRE,
        )
        for finding in findings
    ]
    count = hd.sr.Measurement(
        name=codes.COUNT,
        value=len(findings),
        unit=codes.NO_UNIT,
        referenced_coordinates=points or None,
    )
    return hd.sr.MeasurementsAndQualitativeEvaluations(
        tracking_identifier=hd.sr.TrackingIdentifier(hd.UID(), "Cerebral microbleeds"),
        finding_type=codes.FINDING,
        finding_sites=[hd.sr.FindingSite(codes.SITE)],
        algorithm_id=algorithm,
        measurements=[count],
    )


def _group(finding: Finding, segmentation: Any, algorithm: Any) -> Any:
    """Volume and certainty of one microbleed (TID 1411)."""
    microbleed = finding.microbleed
    return hd.sr.VolumetricROIMeasurementsAndQualitativeEvaluations(
        tracking_identifier=hd.sr.TrackingIdentifier(finding.tracking_uid, finding.tracking_id),
        referenced_segment=_segment(segmentation, finding.number),
        finding_type=codes.FINDING,
        finding_sites=[hd.sr.FindingSite(codes.SITE)],
        algorithm_id=algorithm,
        measurements=[
            hd.sr.Measurement(codes.VOLUME, round(microbleed.volume_mm3, 3), codes.MM3),
            hd.sr.Measurement(
                codes.CERTAINTY, round(100 * microbleed.probability, 2), codes.PERCENT
            ),
        ],
    )


def _segment(segmentation: Any, number: int) -> Any:
    """A segment, with the images that it lies on.

    Not by `from_segmentation`, which fails for a lone one: its number is in the shared groups.
    """
    alone = len(segmentation.SegmentSequence) == 1
    images = [
        image
        for groups in segmentation.PerFrameFunctionalGroupsSequence
        if alone or groups.SegmentIdentificationSequence[0].ReferencedSegmentNumber == number
        for image in groups.DerivationImageSequence[0].SourceImageSequence
    ]
    return hd.sr.ReferencedSegment(
        segmentation.SOPClassUID,
        segmentation.SOPInstanceUID,
        number,
        source_images=[
            hd.sr.SourceImageForSegmentation(
                image.ReferencedSOPClassUID,
                image.ReferencedSOPInstanceUID,
                [image.ReferencedFrameNumber] if "ReferencedFrameNumber" in image else None,
            )
            for image in images
        ],
    )
