"""A scan as the rest of the package sees it: voxels, affine, contrast; reading and writing."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import nibabel as nib
import numpy as np
from nibabel.imageglobals import logger
from numpy.typing import DTypeLike, NDArray

from microbleeds.errors import UserError
from microbleeds.prepare.contrast import guess_contrast, negative_share, sidecar_text
from microbleeds.settings import Contrast

SMALLEST_MM, LARGEST_MM = 0.05, 20.0
FEWEST_VOXELS = 4  # along an axis: fewer are no head
SAME_GRID_MM = 0.01
RINGING = 0.01  # negative share of a magnitude up to which resampling is to blame


@dataclass(frozen=True)
class Scan:
    """One image on its own grid.

    voxels: (I, J, K) float32, axes in the order of the file.
    affine: (4, 4) voxel index to scanner mm (RAS+).
    name: the file name without `.nii` or `.nii.gz`.
    notes: what the user should know, such as how the contrast was found. oriented: whether the
    header says which side is which; without, the axes of `affine` are NIfTI's default.
    """

    voxels: NDArray[np.float32]
    affine: NDArray[np.float64]
    contrast: Contrast
    name: str = "scan"
    notes: tuple[str, ...] = ()
    oriented: bool = True

    @property
    def spacing(self) -> NDArray[np.float64]:
        """Voxel size along i, j, k in mm, shape (3,)."""
        return np.asarray(np.linalg.norm(self.affine[:3, :3], axis=0))


def read_scan(
    path: Path, contrast: Contrast | Literal["auto"] = "auto", series: str | None = None
) -> Scan:
    """A NIfTI file as a Scan; `auto` finds the contrast (see prepare/contrast.py).

    A folder is taken for DICOM: `dicom.read.read_folder` finds the `series` in it.
    Raises UserError when the file cannot be used: missing, not NIfTI, truncated, not 3D, complex
    or colour, not finite, constant, negative in a magnitude, impossible geometry.
    """
    if path.is_dir():
        from microbleeds.dicom.read import read_folder

        return read_folder(path, contrast, series)[0]
    image = _open(path)
    affine, oriented = _geometry(path, image)
    notes = _contradiction(image)
    voxels = _voxels(path, image)
    bad = voxels.size - int(np.count_nonzero(np.isfinite(voxels)))
    if bad:
        raise UserError(
            f"{path} has {bad} voxels that are NaN or infinite; replace them, for example by 0."
        )
    if min(voxels.shape) < FEWEST_VOXELS:
        raise UserError(
            f"{path} has {_by(voxels.shape)} voxels; a 3D scan of a head with at least "
            f"{FEWEST_VOXELS} voxels along every axis is needed."
        )
    if np.ptp(voxels) == 0:
        raise UserError(f"{path} is constant ({voxels.max():g} everywhere); it holds no image.")
    if contrast == "auto":
        contrast, reason = guess_contrast(voxels, _stem(path), sidecar_text(path))
        notes = (*notes, f"Contrast taken as {contrast}: {reason}.")
    if contrast != "qsm" and voxels.min() < 0:
        if negative_share(voxels) > RINGING:
            raise UserError(
                f"{path} has negative values (down to {voxels.min():g}), which a {contrast} "
                "magnitude cannot have; give the magnitude, or say --contrast qsm for a QSM."
            )
        voxels = np.maximum(voxels, 0)
        notes = (*notes, "A few slightly negative values, as resampling leaves, were set to 0.")
    return Scan(voxels, affine, contrast, _stem(path), notes, oriented)


def read_mask(path: Path, scan: Scan) -> NDArray[np.bool_]:
    """A mask on the grid of the scan: where the file is above 0.

    Raises UserError when it cannot be read, lies on another grid or is empty.
    """
    image = _open(path)
    affine, _ = _geometry(path, image)
    mask = _voxels(path, image) > 0
    if mask.shape != scan.voxels.shape:
        raise UserError(
            f"{path} has {_by(mask.shape)} voxels but the scan has {_by(scan.voxels.shape)}; "
            "give a mask on the grid of the scan."
        )
    corners = np.array(np.meshgrid(*([0, size - 1] for size in mask.shape))).reshape(3, -1)
    shift = (affine - scan.affine) @ np.vstack([corners, np.ones(8)])
    apart = float(np.abs(shift).max())
    if apart > SAME_GRID_MM:
        raise UserError(
            f"{path} lies up to {apart:.2g} mm away from the scan; resample it to the scan's grid."
        )
    if not mask.any():
        raise UserError(f"{path} is an empty mask; it must be above 0 where it counts.")
    return mask


def write_nifti(
    path: Path, array: NDArray[Any], affine: NDArray[np.float64], dtype: DTypeLike | None = None
) -> None:
    """Write an array as NIfTI (`.nii` or `.nii.gz`): whole or not at all, values unscaled.

    dtype: of the file; None keeps the array's.
    Raises UserError when the folder cannot be written.
    """
    image = nib.Nifti1Image(np.asarray(array, dtype), affine)
    image.set_sform(affine, code=1)
    image.set_qform(affine, code=1, strip_shears=True)
    image.header.set_slope_inter(1, 0)
    image.header.set_xyzt_units("mm", "sec")
    try:
        with tempfile.TemporaryDirectory(prefix=".", dir=path.parent) as folder:
            nib.save(image, Path(folder) / path.name)
            (Path(folder) / path.name).replace(path)
    except OSError as error:
        raise UserError(f"Cannot write {path}: {error.strerror or error}.") from error


def _open(path: Path) -> Any:
    """The NIfTI image at a path, its voxels not yet read."""
    try:
        if not path.is_file():
            raise UserError(f"There is no file {path}.")
        with path.open("rb") as file:
            beginning = file.read(132)
    except OSError as error:
        raise UserError(
            f"{path} cannot be read ({error.strerror}); give a file that you may read."
        ) from error
    if not beginning:
        raise UserError(f"{path} is empty (0 bytes); copy or convert it again.")
    if beginning[128:] == b"DICM":
        raise UserError(f"{path} is one DICOM file; give the folder that holds the series.")
    try:
        with nibabel_silent():
            image: Any = nib.load(path)
    except Exception as error:  # nibabel raises many kinds for a file that is none
        raise UserError(f"{path} is no readable NIfTI file; give a .nii or .nii.gz.") from error
    if not isinstance(image, nib.Nifti1Pair):
        raise UserError(f"{path} is {type(image).__name__}, not NIfTI; give a .nii or .nii.gz.")
    return image


@contextmanager
def nibabel_silent() -> Iterator[None]:
    """Without its lines about a header that it mends: what matters of that, we say."""
    logger.disabled = True
    try:
        yield
    finally:
        logger.disabled = False


def _geometry(path: Path, image: Any) -> tuple[NDArray[np.float64], bool]:
    """The affine, checked, and whether the header says where the head lies."""
    affine = np.asarray(image.affine, np.float64)
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    if not image.header["sform_code"]:  # the sizes make the affine
        spacing = _written_sizes(image)
    # not (a <= b), so that NaN fails too
    if not (spacing.min() >= SMALLEST_MM and spacing.max() <= LARGEST_MM):
        raise UserError(
            f"{path} says its voxels are {_by(spacing)} mm; {SMALLEST_MM} to {LARGEST_MM:g} mm "
            "make sense, so correct the header or convert the scan again."
        )
    if not (np.isfinite(affine).all() and abs(np.linalg.det(affine[:3, :3] / spacing)) > 0.01):
        raise UserError(f"{path} has an affine with axes in one plane; convert the scan again.")
    oriented = bool(image.header["sform_code"] or image.header["qform_code"])
    return affine, oriented


def _written_sizes(image: Any) -> NDArray[np.float64]:
    """Voxel sizes as the header has them: nibabel makes 1 mm of 0."""
    header = image.file_map.get("header", image.file_map["image"])
    with header.get_prepare_fileobj("rb") as file:
        written = image.header_class.from_fileobj(file, check=False)
    return np.abs(np.asarray(written["pixdim"][1:4], np.float64))


def _contradiction(image: Any) -> tuple[str, ...]:
    """A note where sform and qform, both given, name the axes differently."""
    if image.header["sform_code"] and image.header["qform_code"]:
        with suppress(ValueError):  # a qform that says nothing, as bad quaternions do
            forms = (image.get_sform(), image.get_qform())
            sform, qform = ("".join(nib.aff2axcodes(form)) for form in forms)
            if sform != qform:
                return (
                    f"The header contradicts itself: axes run to {sform} by its sform, which was "
                    f"taken, and to {qform} by its qform; see that left and right are right.",
                )
    return ()


def _voxels(path: Path, image: Any) -> NDArray[np.float32]:
    """The voxels as a 3D array, trailing axes of length 1 dropped, read once."""
    dtype = image.get_data_dtype()
    if dtype.fields or dtype.kind == "c":
        kind = "complex" if dtype.kind == "c" else "colour"
        raise UserError(f"{path} holds {kind} values; give the magnitude image (or a QSM).")
    shape = image.shape
    while len(shape) > 3 and shape[-1] == 1:
        shape = shape[:-1]
    if len(shape) != 3:
        raise UserError(f"{path} is {len(shape)}D ({_by(shape)}); one 3D image is needed.")
    try:
        voxels = np.asarray(image.dataobj, np.float32)
    except Exception as error:  # gzip, zlib, nibabel and NumPy each have their own
        detail = " ".join(str(error).split())
        raise UserError(
            f"{path} is truncated or damaged ({detail}); copy or convert it again."
        ) from error
    return voxels.reshape(shape, order="A")


def _by(sizes: Any) -> str:
    """Sizes as text: 256 x 256 x 35."""
    return " x ".join(f"{size:.4g}" for size in sizes)


def _stem(path: Path) -> str:
    """The file name without `.nii` or `.nii.gz`."""
    return path.name.removesuffix(".gz").removesuffix(".nii")
