"""DICOM series made by the tests: any plane, single files or one enhanced multi-frame file."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

MR, ENHANCED_MR = "1.2.840.10008.5.1.4.1.1.4", "1.2.840.10008.5.1.4.1.1.4.1"
STUDY, FRAME_OF_REFERENCE = generate_uid(), generate_uid()


def turned(degrees: float) -> np.ndarray:
    """Rotation about the left-right, then about the head-foot axis."""
    a, b = np.radians(degrees), np.radians(degrees / 2)
    about_x = np.array([[1, 0, 0], [0, np.cos(a), -np.sin(a)], [0, np.sin(a), np.cos(a)]])
    about_z = np.array([[np.cos(b), -np.sin(b), 0], [np.sin(b), np.cos(b), 0], [0, 0, 1]])
    return about_z @ about_x


# columns: unit vectors along a row, down a column, from slice to slice (LPS)
PLANES = {
    "axial": np.eye(3),
    "axial from the top": np.diag([1.0, 1, -1]),
    "oblique": turned(23),
    "sagittal": np.array([[0.0, 0, 1], [1, 0, 0], [0, -1, 0]]),
    "coronal": np.array([[1.0, 0, 0], [0, 0, 1], [0, -1, 0]]),
}


@dataclass
class Series:
    """What `write` puts on disk; pixels (slice, row, column) as stored."""

    pixels: np.ndarray
    directions: np.ndarray = field(default_factory=lambda: np.eye(3))
    spacing: tuple[float, float, float] = (0.9, 0.8, 3.0)  # between columns, rows, slices
    corner: tuple[float, float, float] = (-20.5, -31.25, -7.75)
    slope: float = 1.0
    intercept: float = 0.0
    description: str = "T2star"
    number: int = 7
    uid: str = field(default_factory=generate_uid)
    image_type: tuple[str, ...] = ("ORIGINAL", "PRIMARY", "M", "NORM")
    echo_ms: float = 20.0
    extra: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def of_nifti(cls, path: Path, **options: Any) -> Series:
        """A NIfTI file as a series, slices along its last axis."""
        image = nib.load(path)
        affine = np.diag([-1.0, -1, 1, 1]) @ image.affine
        spacing = np.linalg.norm(affine[:3, :3], axis=0)
        voxels = image.get_fdata()
        return cls(
            np.rint(voxels * 4000 / voxels.max()).astype(np.uint16).transpose(2, 1, 0),
            directions=affine[:3, :3] / spacing,
            spacing=tuple(spacing.tolist()),
            corner=tuple(affine[:3, 3].tolist()),
            **options,
        )

    def lps(self, column: float, row: float, number: float) -> np.ndarray:
        """Where a pixel's centre is, patient mm."""
        steps = np.array([column, row, number]) * self.spacing
        return np.array(self.corner) + self.directions @ steps

    def header(self, sop_class: str) -> Dataset:
        """What every file of the series says."""
        meta = FileMetaDataset()
        meta.TransferSyntaxUID = ExplicitVRLittleEndian
        meta.MediaStorageSOPClassUID = sop_class
        dataset = Dataset()
        dataset.file_meta = meta
        values = {
            "SOPClassUID": sop_class, "Modality": "MR", "PatientName": "Doe^Jane",
            "PatientID": "P1", "PatientBirthDate": "19500101", "PatientSex": "F",
            "StudyInstanceUID": STUDY, "StudyID": "1", "StudyDate": "20260101",
            "StudyTime": "101500", "AccessionNumber": "", "ReferringPhysicianName": "",
            "SeriesInstanceUID": self.uid, "SeriesNumber": self.number,
            "SeriesDescription": self.description, "Manufacturer": "SIEMENS",
            "ManufacturerModelName": "Test", "DeviceSerialNumber": "0", "SoftwareVersions": "1",
            "FrameOfReferenceUID": FRAME_OF_REFERENCE, "PositionReferenceIndicator": "",
            "ImageType": list(self.image_type), "MagneticFieldStrength": 3.0,
            "ContentDate": "20260101", "ContentTime": "101500", "AcquisitionNumber": 1,
            "AcquisitionDate": "20260101", "AcquisitionTime": "101500", "SeriesDate": "20260101",
            "SeriesTime": "101500", "Rows": self.pixels.shape[1], "Columns": self.pixels.shape[2],
            "SamplesPerPixel": 1, "PhotometricInterpretation": "MONOCHROME2",
            "BitsAllocated": 16, "BitsStored": 16, "HighBit": 15,
            "PixelRepresentation": int(self.pixels.dtype.kind == "i"),
        }  # fmt: skip
        for name, value in values.items():
            setattr(dataset, name, value)
        return dataset

    def plane(self, number: int) -> tuple[Dataset, Dataset, Dataset]:
        """Position, orientation and pixel measures of a slice."""
        position, orientation, measures = Dataset(), Dataset(), Dataset()
        position.ImagePositionPatient = [f"{v:.10g}"[:16] for v in self.lps(0, 0, number)]
        orientation.ImageOrientationPatient = [
            f"{v:.10g}"[:16] for v in self.directions[:, :2].T.ravel()
        ]
        measures.PixelSpacing = [round(self.spacing[1], 6), round(self.spacing[0], 6)]
        measures.SliceThickness = round(self.spacing[2] * 0.8, 4)
        measures.SpacingBetweenSlices = round(self.spacing[2], 6)
        return position, orientation, measures

    def write(self, folder: Path, skip: tuple[int, ...] = ()) -> Path:
        """One file a slice, in mixed-up order, without those in `skip`."""
        folder.mkdir(parents=True, exist_ok=True)
        for number, pixels in enumerate(self.pixels):
            if number in skip:
                continue
            dataset = self.header(MR)
            for part in self.plane(number):
                dataset.update(part)
            dataset.ScanningSequence, dataset.SequenceVariant = "GR", "SP"
            dataset.ScanOptions, dataset.MRAcquisitionType = "", "3D"
            dataset.EchoTime, dataset.RepetitionTime, dataset.EchoTrainLength = self.echo_ms, 650, 1
            dataset.InstanceNumber = number + 1
            dataset.RescaleSlope, dataset.RescaleIntercept = self.slope, self.intercept
            dataset.SOPInstanceUID = generate_uid()
            for name, value in self.extra.items():
                setattr(dataset, name, value)
            self.save(dataset, pixels, folder / f"{(number * 7) % 997:03d}_{self.number}.dcm")
        return folder

    def write_enhanced(self, folder: Path, kinds: tuple[str, ...] = ("M",)) -> Path:
        """One multi-frame file; with several kinds all slices once for each."""
        folder.mkdir(parents=True, exist_ok=True)
        dataset = self.header(ENHANCED_MR)
        dataset.SOPInstanceUID, dataset.InstanceNumber = generate_uid(), 1
        dataset.SpacingBetweenSlices = round(self.spacing[2], 6)
        dataset.PresentationLUTShape, dataset.BurnedInAnnotation = "IDENTITY", "NO"
        dataset.VolumetricProperties, dataset.ComplexImageComponent = "VOLUME", "MAGNITUDE"
        if len(kinds) > 1:
            dataset.ComplexImageComponent = "MIXED"
        frames, index = [], 0
        for place, kind in enumerate(kinds):
            for number in range(len(self.pixels)):
                index += 1
                frames.append(self._frame_groups(number, kind, index, place))
        dataset.NumberOfFrames = len(frames)
        dataset.SharedFunctionalGroupsSequence = [self._shared_groups()]
        dataset.PerFrameFunctionalGroupsSequence = frames
        organization = Dataset()
        organization.DimensionOrganizationUID = generate_uid()
        dataset.DimensionOrganizationSequence = [organization]
        pointer = Dataset()
        pointer.DimensionOrganizationUID = organization.DimensionOrganizationUID
        pointer.DimensionIndexPointer = 0x00209057  # InStackPositionNumber
        pointer.FunctionalGroupPointer = 0x00209111
        dataset.DimensionIndexSequence = [pointer]
        for name, value in self.extra.items():
            setattr(dataset, name, value)
        self.save(dataset, np.concatenate([self.pixels] * len(kinds)), folder / "multi.dcm")
        return folder

    def _shared_groups(self) -> Dataset:
        shared, echo = Dataset(), Dataset()
        _, orientation, measures = self.plane(0)
        echo.EffectiveEchoTime = self.echo_ms
        shared.PlaneOrientationSequence = [orientation]
        shared.PixelMeasuresSequence = [measures]
        shared.MREchoSequence = [echo]
        return shared

    def _frame_groups(self, number: int, kind: str, index: int, place: int) -> Dataset:
        group, content, values, types = Dataset(), Dataset(), Dataset(), Dataset()
        content.StackID, content.InStackPositionNumber = str(place + 1), number + 1
        content.DimensionIndexValues = [number + 1]
        content.FrameAcquisitionNumber, content.TemporalPositionIndex = 1, 1
        values.RescaleSlope, values.RescaleIntercept = self.slope, self.intercept
        values.RescaleType = "US"
        types.FrameType = ["ORIGINAL", "PRIMARY", kind, "NONE"]
        types.ComplexImageComponent = "PHASE" if kind == "P" else "MAGNITUDE"
        group.FrameContentSequence = [content]
        group.PlanePositionSequence = [self.plane(number)[0]]
        group.PixelValueTransformationSequence = [values]
        group.MRImageFrameTypeSequence = [types]
        return group

    @staticmethod
    def save(dataset: Dataset, pixels: np.ndarray, path: Path) -> None:
        dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
        dataset.PixelData = np.ascontiguousarray(pixels).tobytes()
        dataset["PixelData"].VR = "OW"
        pydicom.dcmwrite(path, dataset, enforce_file_format=True)


@pytest.fixture(scope="session")
def pixels() -> np.ndarray:
    """Noise in a small volume, (slice, row, column)."""
    return np.random.default_rng(0).integers(10, 900, (9, 22, 26)).astype(np.uint16)


@pytest.fixture
def make(pixels):
    """A series with some fields changed; `plane` by name."""

    def series(plane: str = "axial", **options: Any) -> Series:
        options.setdefault("pixels", pixels)
        return Series(directions=PLANES[plane], **options)

    return series


@pytest.fixture(scope="session")
def series_of_nifti():
    """A NIfTI file as a series (see `Series.of_nifti`)."""
    return Series.of_nifti
