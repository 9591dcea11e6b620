"""What a DICOM folder holds: its images sorted into volumes, from the headers alone."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from microbleeds.console import extra
from microbleeds.dicom.kind import Kind, image_kind, is_weighted
from microbleeds.errors import UserError

SAME_DIRECTION = 1e-3  # difference of direction cosines within a volume
Triple = tuple[float, float, float]


@dataclass(frozen=True)
class Frame:
    """One image of a volume: the `number`th (from 1) of its file.

    corner: centre of the first pixel, patient mm (LPS).
    """

    path: Path
    number: int
    corner: Triple


@dataclass(frozen=True)
class Plane:
    """What all frames of a volume share.

    row, column: unit vectors along a row and down a column (LPS); spacing: mm between the
    centres of neighbouring columns, and of rows; shape: columns, rows.
    """

    row: Triple
    column: Triple
    spacing: tuple[float, float]
    shape: tuple[int, int]

    def matches(self, other: Plane) -> bool:
        """Whether frames of both can be of one volume."""
        mine, theirs = (np.array([*p.row, *p.column, *p.spacing]) for p in (self, other))
        return self.shape == other.shape and bool(np.abs(mine - theirs).max() < SAME_DIRECTION)


@dataclass(frozen=True)
class Volume:
    """Frames of one series, kind, echo and plane, in the order of the files.

    key: what names it in its folder: its series number, with `-1`, `-2` ... where several
    volumes share that. weighted: a T2*, SWI or QSM by name or parameters.
    """

    series_uid: str
    series_number: int
    description: str
    kind: Kind
    echo_ms: float | None
    weighted: bool
    transfer_syntax: str
    plane: Plane
    frames: tuple[Frame, ...]
    key: str = ""
    mixed_files: bool = field(default=False)  # its files hold frames of other volumes too

    @property
    def title(self) -> str:
        """For messages."""
        what = "" if self.kind == "magnitude" else f", {self.kind}"
        echo = "" if self.echo_ms is None else f", TE {self.echo_ms:g} ms"
        return f'{self.key} "{self.description}" ({len(self.frames)} images{what}{echo})'


def read_volumes(folder: Path) -> tuple[Volume, ...]:
    """All volumes of the MR images in a folder and those below, ordered by series number.

    Files that are no DICOM or damaged, and DICOM without images in space, are passed over.
    Raises UserError when nothing is left.
    """
    groups: dict[tuple[object, ...], list[Volume]] = defaultdict(list)
    dicom = False
    for frames in _files(folder):
        dicom = True
        for volume in frames:
            same = groups[volume.series_uid, volume.kind, volume.echo_ms]
            _add(same, volume)
    volumes = [volume for group in groups.values() for volume in group]
    if not volumes:
        found = "DICOM files but no MR image with a position in space" if dicom else "no DICOM file"
        raise UserError(
            f"{folder} holds {found}; give the folder that holds the images of the series, or a "
            "NIfTI file."
        )
    return _with_keys(volumes)


def _files(folder: Path) -> Iterator[list[Volume]]:
    """The frames of every DICOM file."""
    with extra("dicom"):
        from pydicom import dcmread
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    for path in files:
        try:
            yield _frames(dcmread(path, stop_before_pixels=True), path)
        except Exception:  # pydicom raises many kinds for a file that is none or is truncated
            continue


def _frames(dataset: Any, path: Path) -> list[Volume]:
    """Each MR image of a file as a volume of one frame."""
    if dataset.get("Modality") != "MR":
        return []
    shared = dataset.get("SharedFunctionalGroupsSequence")
    parts = dataset.get("PerFrameFunctionalGroupsSequence") or [None]
    volumes = []
    for number, part in enumerate(parts, start=1):
        groups = [dataset] if part is None else [part, shared[0] if shared else part, dataset]
        try:
            volumes.append(_one_frame(groups, path, number))
        except (AttributeError, TypeError, ValueError):
            continue  # without position, orientation or pixel size: a screenshot, a spectrum
    return volumes


def _one_frame(groups: list[Any], path: Path, number: int) -> Volume:
    dataset = groups[-1]
    direction = [float(v) for v in _value(groups, "PlaneOrientation", "ImageOrientationPatient")]
    between_rows, between_columns = map(float, _value(groups, "PixelMeasures", "PixelSpacing"))
    corner = _triple(_value(groups, "PlanePosition", "ImagePositionPatient"))
    echo = _value(groups, "MREcho", "EffectiveEchoTime" if len(groups) > 1 else "EchoTime")
    description = str(dataset.get("SeriesDescription") or dataset.get("ProtocolName") or "")
    kind = image_kind(dataset, _value(groups, "MRImageFrameType", "FrameType"))
    echo_ms = None if echo in (None, "") else float(echo)
    return Volume(
        series_uid=str(dataset.SeriesInstanceUID),
        series_number=int(dataset.get("SeriesNumber") or 0),
        description=description,
        kind=kind,
        echo_ms=echo_ms,
        weighted=is_weighted(dataset, echo_ms),
        transfer_syntax=str(dataset.file_meta.TransferSyntaxUID.name),
        plane=Plane(
            _triple(direction[:3]),
            _triple(direction[3:]),
            (between_columns, between_rows),
            (int(dataset.Columns), int(dataset.Rows)),
        ),
        frames=(Frame(path, number, corner),),
    )


def _value(groups: list[Any], macro: str, name: str) -> Any:
    """An attribute of a frame: in its functional groups, the shared ones, or the data set."""
    for group in groups:
        items = group.get(f"{macro}Sequence")
        if items and items[0].get(name) is not None:
            return items[0].get(name)
    return groups[-1].get(name)


def _triple(values: Any) -> Triple:
    x, y, z = map(float, values)
    return x, y, z


def _add(group: list[Volume], frame: Volume) -> None:
    """Put a frame to the volume of the group with its plane, or begin a new one."""
    for place, volume in enumerate(group):
        if volume.plane.matches(frame.plane):
            group[place] = replace(volume, frames=volume.frames + frame.frames)
            return
    group.append(frame)


def _with_keys(volumes: list[Volume]) -> tuple[Volume, ...]:
    """In order, with keys, and told whether a file is of one volume alone."""
    users: dict[Path, set[int]] = defaultdict(set)
    numbered: dict[int, list[Volume]] = defaultdict(list)
    ordered = sorted(volumes, key=lambda v: (v.series_number, v.series_uid, v.kind, v.echo_ms or 0))
    for place, volume in enumerate(ordered):
        numbered[volume.series_number].append(volume)
        for frame in volume.frames:
            users[frame.path].add(place)
    result = []
    for number, group in numbered.items():
        for place, volume in enumerate(group, start=1):
            key = str(number) if len(group) == 1 else f"{number}-{place}"
            mixed = any(len(users[frame.path]) > 1 for frame in volume.frames)
            result.append(replace(volume, key=key, mixed_files=mixed))
    return tuple(result)
