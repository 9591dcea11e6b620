"""DICOM results beside the source series: a segmentation and a structured report."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from microbleeds.console import extra
from microbleeds.dicom.read import DicomSource
from microbleeds.errors import UserError
from microbleeds.files import whole_file
from microbleeds.models.zoo import Models
from microbleeds.pipeline import Detections
from microbleeds.report.bids import OutputPaths
from microbleeds.scan import Scan

# attributes that a result takes over and may have empty, but not lack (type 2 of the standard)
_TAKEN_OVER = (
    "PatientID", "PatientName", "PatientBirthDate", "PatientSex", "StudyID", "StudyDate",
    "StudyTime", "AccessionNumber", "ReferringPhysicianName",
)  # fmt: skip
_SEXES = ("M", "F", "O")


def write_dicom(
    scan: Scan, source: DicomSource, found: Detections, models: Models, paths: OutputPaths
) -> None:
    """Write a DICOM SEG (where there are microbleeds) and a TID 1500 report, in the same study.

    A segmentation of an earlier run is removed when there is nothing to segment now.
    Raises UserError when the source lacks what a result must refer to, or on writing.
    """
    images = source_headers(source)
    try:
        segmentation, report = _made(images, scan, source, found, models)
    except (AttributeError, TypeError, ValueError) as error:  # highdicom's, of odd headers
        raise UserError(
            f"Series {source.volume.title} has a header that DICOM results cannot take over "
            f"({' '.join(str(error).split())}); detect without --dicom, or correct the header."
        ) from error
    if segmentation is not None:
        _save(segmentation, paths.seg)
    else:
        paths.seg.unlink(missing_ok=True)
    _save(report, paths.sr)


def source_headers(source: DicomSource) -> Sequence[Any]:
    """The headers of the source in Unicode: one a frame of the stack, or the multi-frame file's.

    Raises UserError for what cannot be referred to.
    """
    from pydicom import dcmread

    files = list(dict.fromkeys(frame.path for frame in source.frames))
    if 1 < len(files) < len(source.frames):
        raise UserError(
            f"Series {source.volume.title} is spread over {len(files)} multi-frame files, to which "
            "DICOM results cannot refer; detect without --dicom."
        )
    images = [dcmread(path, stop_before_pixels=True) for path in files]
    for image in images:
        _make_unicode(image)
        if not image.get("FrameOfReferenceUID"):
            raise UserError(
                f"Series {source.volume.title} has no FrameOfReferenceUID, which DICOM results "
                "must refer to; detect without --dicom."
            )
        for name in _TAKEN_OVER:
            if not _usable(name, image.get(name)):
                setattr(image, name, "")
    return images


def _make_unicode(image: Any) -> None:
    """Decode all text of a header, since highdicom takes only some character sets over."""
    for tag in list(image.keys()):
        try:
            element = image[tag]  # pydicom decodes what it is asked for
            for item in element.value if element.VR == "SQ" else ():
                item.decode()
        except Exception:  # of many kinds; what cannot be read, mostly private, is not taken over
            del image[tag]
    image.SpecificCharacterSet = "ISO_IR 192"


def _made(
    images: Sequence[Any], scan: Scan, source: DicomSource, found: Detections, models: Models
) -> tuple[Any | None, Any]:
    """The segmentation, None without microbleeds, and the report."""
    with extra("dicom"):
        from microbleeds.dicom.report import make_report
        from microbleeds.dicom.segmentation import make_segmentation, tracked

    findings = tracked(found, models, source)
    segmentation = None
    if findings:
        labels = source.from_scan(found.labels, scan)
        segmentation = make_segmentation(images, source, labels, findings, found, models)
    return segmentation, make_report(images, source, findings, found, models, segmentation)


def _usable(name: str, value: Any) -> bool:
    """Whether highdicom takes a value over: those who anonymise leave sex U or day 00000000."""
    from pydicom.valuerep import DA, TM

    if value is None:
        return False
    text = str(value)
    if name == "PatientSex":
        return text in ("", *_SEXES)
    kind = {"Date": DA, "Time": TM}.get(name[-4:])
    try:
        return kind is None or not text or kind(text) is not None
    except ValueError:
        return False


def _save(dataset: Any, path: Path) -> None:
    with whole_file(path) as temporary:
        dataset.save_as(temporary, enforce_file_format=True)
