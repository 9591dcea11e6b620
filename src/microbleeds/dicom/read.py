"""From a DICOM folder to a Scan: the series chosen, checked, and converted by dcm2niix."""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import nibabel as nib
import numpy as np
from numpy.typing import NDArray

from microbleeds.console import extra
from microbleeds.dicom.choose import choose
from microbleeds.dicom.name import folder_name
from microbleeds.dicom.series import Frame, Volume, read_volumes
from microbleeds.dicom.stack import UNEVEN_MM, stacked
from microbleeds.errors import UserError
from microbleeds.scan import Scan, read_scan
from microbleeds.settings import Contrast


@dataclass(frozen=True)
class DicomSource:
    """Where a scan came from.

    frames: along the normal; affine: (column, row, frame) indices to scanner mm (RAS+).
    """

    volume: Volume
    frames: tuple[Frame, ...]
    affine: NDArray[np.float64]

    def from_scan(self, array: NDArray[np.int32], scan: Scan) -> NDArray[np.int32]:
        """An array (I, J, K) on the scan's grid as (frame, row, column) of the source."""
        turn = _turn(self.affine, scan.affine)
        turned = nib.orientations.apply_orientation(array, turn)
        return np.ascontiguousarray(turned.transpose(2, 1, 0))


def read_folder(
    folder: Path, contrast: Contrast | Literal["auto"] = "auto", series: str | None = None
) -> tuple[Scan, DicomSource]:
    """A series of a folder as a Scan on the grid that dcm2niix gives it.

    series: see `choose`. The scan is called like the folder. The conversion happens in a
    temporary folder, of which nothing stays.
    Raises UserError when no series or several can be meant, when slices are missing, doubled or
    uneven, when dcm2niix cannot convert it, or puts it elsewhere than the headers do, and as
    `read_scan` does.
    """
    volume, reason = choose(folder, read_volumes(folder), series)
    frames, affine = stacked(volume)
    _check_kind(volume)
    with tempfile.TemporaryDirectory() as temporary:
        nifti = _convert(volume, Path(temporary))
        try:
            scan = read_scan(nifti, contrast)
            scan = replace(scan, voxels=np.array(scan.voxels))  # free of the file, which goes
        except UserError as error:
            name = f"Series {volume.title} of {folder}"
            raise UserError(str(error).replace(str(nifti), name)) from error
    source = DicomSource(volume, frames, affine)
    _check_place(volume, scan, source)
    notes = (f"Series {volume.title} taken: {reason}.", *scan.notes)
    return replace(scan, name=folder_name(folder), notes=notes), source


def _check_kind(volume: Volume) -> None:
    if volume.kind != "magnitude":
        raise UserError(
            f"Series {volume.title} is a {volume.kind} image; give the magnitude, or a QSM."
        )
    if volume.mixed_files:
        raise UserError(
            f"Series {volume.title} shares its files with other kinds of image or other echoes; "
            "export it as a series of its own."
        )


def _convert(volume: Volume, folder: Path) -> Path:
    """The NIfTI file that dcm2niix makes of a volume's files, copied so that it sees no others."""
    with extra("dicom"):
        import dcm2niix
    try:
        (folder / "in").mkdir()
        for number, path in enumerate(dict.fromkeys(frame.path for frame in volume.frames)):
            shutil.copyfile(path, folder / "in" / f"{number:05d}.dcm")
    except OSError as error:
        raise UserError(
            f"Series {volume.title} could not be copied to {folder.parent} ({error.strerror}); "
            "make room there, or name another folder with TMPDIR."
        ) from error
    options = ["-b", "y", "-ba", "y", "-z", "n", "-m", "y", "-x", "n", "-f", "scan"]
    done = subprocess.run(
        [dcm2niix.bin, *options, "-o", str(folder), str(folder / "in")],
        capture_output=True, text=True, check=False, errors="replace",
    )  # fmt: skip
    made = sorted(folder.glob("*.nii"))
    if len(made) == 1:
        return made[0]
    if not made:
        said = re.findall(r"^Error:? *(.+?)\.?$", done.stdout + done.stderr, re.M)
        detail = f" ({said[0]})" if said and str(folder) not in said[0] else ""
        raise UserError(
            f"Series {volume.title}, stored as {volume.transfer_syntax}, could not be converted "
            f"by dcm2niix{detail}; export it uncompressed, or copy it again if it is damaged."
        )
    raise UserError(
        f"Series {volume.title} became {len(made)} images in dcm2niix; export one volume alone."
    )


def _check_place(volume: Volume, scan: Scan, source: DicomSource) -> None:
    """Two independent readings of the headers must agree on where the head is."""
    shape = (*volume.plane.shape, len(source.frames))
    turn = _turn(source.affine, scan.affine)
    inverse = nib.orientations.inv_ornt_aff(turn, scan.voxels.shape)
    corners = np.array(np.meshgrid(*([0, size - 1] for size in shape))).reshape(3, -1)
    indices = np.vstack([corners, np.ones(8)])
    apart = float(np.abs((scan.affine @ inverse - source.affine) @ indices).max())
    turned = nib.orientations.apply_orientation(scan.voxels, turn).shape
    if turned != shape or apart > UNEVEN_MM:
        raise UserError(
            f"Series {volume.title} lies {apart:.2g} mm elsewhere after dcm2niix than its headers "
            "say; convert it yourself and give the NIfTI file."
        )


def _turn(source: NDArray[np.float64], scan: NDArray[np.float64]) -> NDArray[np.float64]:
    """Axis order and flips from the scan's grid to the source's (nibabel's orientation array)."""
    step = np.linalg.inv(source) @ scan
    return np.asarray(nib.io_orientation(step))
