"""What the receiver gets of every slice: the signal of its cells, averaged, bleeds added."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from microbleeds.simulate import lesions, signal, susceptibility
from microbleeds.simulate.lesions import Bleed
from microbleeds.simulate.scanner import Protocol
from microbleeds.simulate.tissue import FineGrid, Tissue

QSM_TE_MS = 8.0  # short enough that phase wraps only beside strong bleeds
BOX_MM = 11.0  # half-width of the cube in which one bleed's field matters
R2STAR_PER_PPM = 150  # 1/s at 3 T: dephasing around the grains of a deposit, finer than the cells
SIGNAL_LOSS = 0.4  # share of the water's signal that a deposit lacks even at echo time 0
ROWS = 16  # of cells worked on at once, to bound memory
Box = tuple[slice, slice, slice]


@dataclass(frozen=True)
class Echoes:
    """Slice-averaged complex signal (Xf, Yf, Z) with and without bleeds.

    local: a short echo with bleeds without the field of air and bone, for QSM; None where no QSM
    was asked for. bleed_ppm: the bleeds' susceptibility.
    """

    image: NDArray[np.complex64]
    clean: NDArray[np.complex64]
    local: NDArray[np.complex64] | None
    bleed_ppm: NDArray[np.float32]


def record_echoes(
    tissue: Tissue, bleeds: tuple[Bleed, ...], grid: FineGrid, protocol: Protocol, qsm: bool
) -> Echoes:
    """The echoes of all slices; draws the bleeds into `tissue`.

    Each bleed's own field is added in a cube around it, so that the signal with and without
    bleeds differs by physics alone and is worked out anew in the cubes only.
    """
    te = protocol.te_ms
    rows = [(slice(i, i + ROWS),) for i in range(0, grid.shape[0], ROWS)]
    clean = np.concatenate([_echo(tissue, grid, r, te, protocol.field_t) for r in rows])
    ppm = np.zeros(clean.shape, np.float32)
    boxes = [_box(bleed, grid) for bleed in bleeds]
    for bleed, box in zip(bleeds, boxes, strict=True):
        chi = _stamp(tissue, bleed, box, grid, protocol.field_t)
        ppm[_in_slices(box, grid)] += grid.slices(np.maximum(chi, 0))
    image = clean.copy()
    for box in boxes:  # after all are drawn: cubes overlap
        image[_in_slices(box, grid)] = _echo(tissue, grid, box, te, protocol.field_t)
    if not qsm:
        return Echoes(image, clean, None, ppm)
    short = [_echo(tissue, grid, r, QSM_TE_MS, protocol.field_t, outer=False) for r in rows]
    return Echoes(image, clean, np.concatenate(short), ppm)


def _echo(
    tissue: Tissue,
    grid: FineGrid,
    where: tuple[slice, ...],
    te_ms: float,
    field_t: float,
    outer: bool = True,
) -> NDArray[np.complex64]:
    """Slice-averaged signal of some cells, with or without the field of air and bone."""
    wide, inner = _rimmed(where, grid.shape)
    field = tissue.local_field[wide]
    if outer:
        field = field + tissue.outer_field[wide]
    decay = tissue.decay[where] + signal.dephasing_rate(field, te_ms, field_t)[inner]
    cells = signal.gradient_echo(tissue.amplitude[where], decay, field[inner], te_ms, field_t)
    averaged: NDArray[np.complex64] = grid.slices(cells)
    return averaged


def _rimmed(
    where: tuple[slice, ...], shape: tuple[int, ...]
) -> tuple[tuple[slice, ...], tuple[slice, ...]]:
    """`where` with a cell more on each side, for the slope of the field, and its place in that."""
    wide = tuple(
        slice(max(s.start - 1, 0), min(s.stop + 1, n)) for s, n in zip(where, shape, strict=False)
    )
    inner = tuple(
        slice(s.start - w.start, min(s.stop, n) - w.start)
        for s, w, n in zip(where, wide, shape, strict=False)
    )
    return wide, inner


def _box(bleed: Bleed, grid: FineGrid) -> Box:
    """Cells around a bleed, whole slices along the last axis."""
    middle = (bleed.centre - grid.origin) / grid.spacing
    reach = BOX_MM / grid.spacing
    low = np.maximum(np.floor(middle - reach), 0).astype(int)
    high = np.minimum(np.ceil(middle + reach), grid.shape).astype(int)
    low[2] = low[2] // grid.slab * grid.slab
    high[2] = -(-high[2] // grid.slab) * grid.slab
    return slice(low[0], high[0]), slice(low[1], high[1]), slice(low[2], high[2])


def _in_slices(box: Box, grid: FineGrid) -> Box:
    """The same place in slices instead of cells along the last axis."""
    return box[0], box[1], slice(box[2].start // grid.slab, box[2].stop // grid.slab)


def _stamp(
    tissue: Tissue, bleed: Bleed, box: Box, grid: FineGrid, field_t: float
) -> NDArray[np.float32]:
    """Put one bleed into the fine maps; returns its susceptibility in the box, ppm."""
    origin = grid.origin + grid.spacing * [s.start for s in box]
    x, y, z = (s.stop - s.start for s in box)
    fraction = lesions.draw_bleed(bleed, origin, grid.spacing, (x, y, z))
    chi = fraction * np.float32(bleed.susceptibility)
    tissue.local_field[box] += susceptibility.field_shift(chi, grid.spacing, grid.b0)
    tissue.decay[box] += fraction * np.float32(R2STAR_PER_PPM * bleed.susceptibility * field_t / 3)
    tissue.amplitude[box] *= 1 - SIGNAL_LOSS * fraction
    return chi
