"""What the brain mask learns from: label maps to draw heads from, or images with their masks."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from microbleeds.errors import UserError
from microbleeds.prepare.brain import isotropic_grid, unit_scale
from microbleeds.prepare.grid import to_grid
from microbleeds.scan import read_mask, read_scan
from microbleeds.simulate.contrast import Shape, random_head
from microbleeds.simulate.heads import Head, read_head
from microbleeds.threads import limit_simpleitk
from microbleeds.train.data import subject_of


@dataclass(frozen=True)
class Pair:
    """A real image and its brain mask, (X, Y, Z) on the network's grid."""

    image: NDArray[np.float32]
    mask: NDArray[np.bool_]


Source = Head | Pair


@dataclass(frozen=True)
class BrainRow:
    """A line of the table: either `anatomy`, or `image` with `mask`."""

    subject: str
    anatomy: Path | None = None
    image: Path | None = None
    mask: Path | None = None


def read_brain_table(path: Path) -> tuple[BrainRow, ...]:
    """Rows of a CSV with a column anatomy (label maps), or image and mask, and perhaps subject.

    Relative paths start at the table. Raises UserError on a missing table, column or file.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            lines = list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UserError(
            f"The table {path} cannot be read ({error}); give a CSV file with a column anatomy, "
            "or with the columns image and mask."
        ) from error
    if not lines:
        raise UserError(f"The table {path} has no rows; add a line for every head.")
    return tuple(_row(line, number, path) for number, line in enumerate(lines, start=2))


def load_source(row: BrainRow) -> Source:
    """Read what a row names. Raises UserError when it cannot be used."""
    if row.anatomy is not None:
        return read_head(row.anatomy)
    if row.image is None or row.mask is None:
        raise ValueError("a row without an anatomy has an image and a mask")
    limit_simpleitk()
    scan = read_scan(row.image)
    mask = read_mask(row.mask, scan)
    grid = isotropic_grid(scan.voxels.shape, scan.affine, (1, 1, 1))
    voxels = to_grid(scan.voxels, scan.affine, grid, order=1)
    return Pair(voxels, to_grid(mask, scan.affine, grid, order=1) > 0.5)


def draw(
    source: Source, shape: Shape, rng: np.random.Generator
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """One training example of a shape: image in [0, 1] and mask."""
    if isinstance(source, Head):
        return random_head(source, shape, rng)
    flip = bool(rng.random() < 0.5)
    window = _window(source.mask, shape, rng)
    image, mask = (_cut_out(array, window, shape, flip) for array in (source.image, source.mask))
    return unit_scale(image) ** np.float32(np.exp(rng.normal(0, 0.3))), mask


def _row(line: dict[str, str | None], number: int, table: Path) -> BrainRow:
    paths: dict[str, Path | None] = {}
    for column in ("anatomy", "image", "mask"):
        text = (line.get(column) or "").strip()
        paths[column] = table.parent / text if text else None
        if text and not (table.parent / text).is_file():
            raise UserError(f"Line {number} of {table} names {text}, which does not exist.")
    if paths["anatomy"] is None and (paths["image"] is None or paths["mask"] is None):
        raise UserError(
            f"Line {number} of {table} has neither an anatomy nor an image with a mask; fill the "
            "column anatomy, or the columns image and mask."
        )
    first = paths["anatomy"] or paths["image"]
    subject = (line.get("subject") or "").strip() or (subject_of(first) if first else "")
    return BrainRow(subject, **paths)


def _window(
    mask: NDArray[np.bool_], shape: Shape, rng: np.random.Generator
) -> list[tuple[int, int]]:
    """First index (of the array, perhaps negative) and length of a window around the mask."""
    where = np.argwhere(mask)
    middle = (where.min(axis=0) + where.max(axis=0)) / 2 + rng.uniform(-8, 8, 3)
    return [(int(c - n / 2), n) for c, n in zip(middle, shape, strict=True)]


def _cut_out(
    array: NDArray[Any], window: Sequence[tuple[int, int]], shape: Shape, flip: bool
) -> NDArray[Any]:
    """The window of an array, 0 outside it, perhaps mirrored left to right."""
    result = np.zeros(shape, array.dtype)
    source, target = [], []
    for (first, length), size in zip(window, array.shape, strict=True):
        low, high = max(first, 0), min(first + length, size)
        source.append(slice(low, max(high, low)))
        target.append(slice(low - first, max(high, low) - first))
    result[tuple(target)] = array[tuple(source)]
    return result[::-1].copy() if flip else result
