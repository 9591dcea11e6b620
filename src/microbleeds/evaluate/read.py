"""Detections and truth from files: label images, tables of detections, tables of centres."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np
from numpy.typing import NDArray

from microbleeds.errors import UserError
from microbleeds.evaluate.lesions import Lesions, from_centres, from_labels
from microbleeds.report.bids import BRAIN, DSEG, MASK, nifti_stem
from microbleeds.report.files import MISSING, number, optional_number, read_table
from microbleeds.report.table import read_candidates
from microbleeds.scan import nibabel_silent

_VOLUME = "volume_mm3"
_SUFFIXES = (DSEG, MASK, "_label", "_CMB", "")  # the first that occurs in a folder is taken


@dataclass(frozen=True)
class Centres:
    """Microbleeds of a subject in a table: their centres (N, 3) and volumes (N,).

    in_mm: of the scanner, else voxels of the scan. volumes_mm3: NaN where they are not known.
    """

    in_mm: bool
    centres: NDArray[np.float64]
    volumes_mm3: NDArray[np.float64]


def find_lesion_files(path: Path) -> dict[str, Path]:
    """Name of the scan and file, of one file or of a folder of label images or tables.

    Of several kinds of images in a folder the most telling is taken: `_seg-CMB_dseg`, else
    `_label-CMB_mask`, `_label`, `_CMB`, else every image. Raises UserError when there is none.
    """
    if path.is_file():
        return _named([path], _suffix_of(path))
    images = [file for file in sorted(path.rglob("*.nii*")) if not _stem(file).endswith(BRAIN)]
    for suffix in _SUFFIXES:
        if found := [file for file in images if _stem(file).endswith(suffix)]:
            return _named(found, suffix)
    if tables := sorted(path.rglob(f"*{DSEG}.tsv")):
        return _named(tables, DSEG)
    raise UserError(f"{path} holds no label image (.nii or .nii.gz) and no table of detections.")


def read_labels(path: Path) -> tuple[NDArray[np.int32], NDArray[np.float64]]:
    """A label image (X, Y, Z), rounded, and its affine. Raises UserError when it is none."""
    try:
        with nibabel_silent():
            image = nib.load(path)
        values = np.squeeze(np.asarray(image.dataobj))
        affine = np.asarray(image.affine, np.float64)
    except Exception as error:  # gzip, zlib, nibabel and NumPy each have their own
        raise UserError(f"{path} cannot be read as a NIfTI label image ({error}).") from error
    if values.ndim != 3:
        raise UserError(f"{path} has {values.ndim} dimensions; a label image must have 3.")
    return np.rint(np.nan_to_num(values)).astype(np.int32), affine


def read_true_labels(path: Path) -> Lesions:
    """Lesions of a binary or a numbered image: 26-connected voxels of one value are one lesion."""
    from skimage.measure import label

    values, affine = read_labels(path)
    return from_labels(label(values, connectivity=3), affine)


def read_detections(path: Path) -> Lesions:
    """Detections from a dseg image with its table, from either alone, or from a mask.

    Their confidence is the probability of the last step that gave one, 1 where no table is.
    """
    stem = path.name.removesuffix(".tsv") if path.suffix == ".tsv" else nifti_stem(path)
    table, image = path.with_name(f"{stem}.tsv"), path.with_name(f"{stem}.nii.gz")
    if not table.exists():
        return read_true_labels(path)
    rows = [row for row in read_candidates(table) if row.kept]
    centres = np.array([row.xyz_mm for row in rows]).reshape(-1, 3)
    confidence = np.array([row.probability for row in rows])
    if not image.exists():
        return from_centres(centres, confidence)
    values, affine = read_labels(image)
    lookup = np.zeros(max([int(values.max()), *(row.index for row in rows)]) + 1, np.int32)
    lookup[[row.index for row in rows]] = np.arange(1, len(rows) + 1)
    if np.any(lookup[np.unique(values[values > 0])] == 0):
        raise UserError(f"{image} has numbers that {table} lacks; give files of one run.")
    return Lesions(centres, confidence, lookup[values], affine)


def read_centres(path: Path) -> dict[str, Centres]:
    """The microbleeds of a table, by subject.

    The table has the columns subject and x, y, z (scanner mm) or i, j, k (voxels); `n/a` in them
    says that the subject has no microbleed. Its column `volume_mm3` may be missing; the simulation
    lists with a volume of 0 what cannot be seen (see `match`).
    Raises UserError when columns are missing or a subject has rows of several contrasts.
    """
    rows = read_table(path, ("subject",))
    in_mm = bool(rows) and all(column in rows[0] for column in "xyz")
    columns = "xyz" if in_mm else "ijk"
    read_table(path, ("subject", *columns))
    _check_one_contrast(rows, path)
    found: dict[str, list[list[float]]] = {}
    for row in rows:
        of_subject = found.setdefault(row["subject"], [])
        if any(row[column] != MISSING for column in columns):
            centre = [number(row, column, path) for column in columns]
            volume = optional_number(row, _VOLUME, path) if _VOLUME in row else None
            of_subject.append([*centre, math.nan if volume is None else volume])
    tables = {subject: np.array(seen).reshape(-1, 4) for subject, seen in found.items()}
    return {name: Centres(in_mm, table[:, :3], table[:, 3]) for name, table in tables.items()}


def _check_one_contrast(rows: Iterable[Mapping[str, str]], path: Path) -> None:
    """Raise UserError when microbleeds of a subject are listed once for each of its contrasts."""
    seen: dict[str, str] = {}
    for row in rows:
        contrast = row.get("contrast", MISSING)
        other = seen.setdefault(row["subject"], contrast)
        if other != contrast:
            raise UserError(
                f"{path} has rows of {row['subject']!r} in the contrasts {other} and {contrast}; "
                "keep only those of the contrast that was detected in."
            )


def _named(files: Iterable[Path], suffix: str) -> dict[str, Path]:
    named: dict[str, Path] = {}
    for file in files:
        name = _stem(file).removesuffix(suffix)
        if name in named:
            raise UserError(f"{named[name]} and {file} have one name; keep one of them.")
        named[name] = file
    return named


def _stem(path: Path) -> str:
    return nifti_stem(path).removesuffix(".tsv")


def _suffix_of(path: Path) -> str:
    return next(suffix for suffix in _SUFFIXES if _stem(path).endswith(suffix))
