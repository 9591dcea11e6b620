"""How far a thing stands out from what lies around it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from microbleeds.prepare.intensity import MAD_TO_SIGMA

RING_MM = (1.0, 4.0)  # in plane, from the thing's edge
SHARE = 70  # per cent of the ring that it must stand out from

Voxels = tuple[NDArray[np.intp], ...]


@dataclass(frozen=True)
class Thing:
    """Indices of the voxels of a labelled thing and of the ring around it, three arrays each."""

    voxels: Voxels
    ring: Voxels


def things_in_rings(
    labels: NDArray[Any], inside: NDArray[np.bool_], spacing: NDArray[np.float64]
) -> list[Thing | None]:
    """Things 1..N with what lies around them; None for one without voxels or without a ring.

    labels, inside: (X, Y, Z), slices along Z; the ring lies in the thing's own slices, `inside`,
    where nothing is labelled. spacing: (3,) mm.
    """
    reach = np.append(np.ceil(RING_MM[1] / spacing[:2]).astype(int) + 1, 0)
    things: list[Thing | None] = []
    for number, box in enumerate(ndimage.find_objects(labels), start=1):
        if box is None:
            things.append(None)
            continue
        near = tuple(
            slice(max(side.start - more, 0), side.stop + more)
            for side, more in zip(box, reach, strict=True)
        )
        thing = labels[near] == number
        distance = ndimage.distance_transform_edt(~thing, (*spacing[:2], 2 * RING_MM[1]))
        ring = (distance > RING_MM[0]) & (distance <= RING_MM[1])
        ring &= inside[near] & (labels[near] == 0)
        things.append(Thing(_voxels(thing, near), _voxels(ring, near)) if ring.any() else None)
    return things


def conspicuity(image: NDArray[np.float32], things: Sequence[Thing | None]) -> NDArray[np.float64]:
    """Mean of the image (X, Y, Z) in things less the 70th percentile of the ring around each, (N,).

    A microbleed is at least half surrounded by brain (Greenberg et al., Lancet Neurol 8:165, 2009):
    what is only as dark as the signal void or iron that it lies in cannot be rated. Skull beside it
    counts neither way, as the ring lies in the brain. None has 0.
    """
    values = np.zeros(len(things))
    for row, thing in enumerate(things):
        if thing is not None:
            values[row] = image[thing.voxels].mean() - np.percentile(image[thing.ring], SHARE)
    return values


def detectability(
    image: NDArray[np.float32], things: Sequence[Thing | None]
) -> NDArray[np.float64]:
    """How plain things are in the noise and texture of the image (X, Y, Z) around each, (N,).

    The signal-to-noise ratio of Rose (J Opt Soc Am 38:196, 1948): mean excess over the ring's
    median, over the ring's spread, times the root of the thing's voxels. An eye needs about 5.
    The spread is that of what is brighter than the median, since nothing else looks like the thing:
    dark fluid beside a bright dot does not hide it. None has 0.
    """
    values = np.zeros(len(things))
    for row, thing in enumerate(things):
        if thing is not None:
            inner, ring = image[thing.voxels], image[thing.ring]
            level = np.median(ring)
            spread = MAD_TO_SIGMA * float(np.median(ring[ring >= level] - level))
            values[row] = (inner.mean() - level) * len(inner) ** 0.5 / max(spread, 1e-12)
    return values


def _voxels(mask: NDArray[np.bool_], box: tuple[slice, ...]) -> Voxels:
    """Where a mask of a box is true, in the whole volume."""
    return tuple(at + side.start for at, side in zip(np.nonzero(mask), box, strict=True))
