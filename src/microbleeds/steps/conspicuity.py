"""How far a thing stands out from what lies around it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from microbleeds.prepare.intensity import MAD_TO_SIGMA

RING_MM = (1.0, 4.0)  # in plane, from the thing's edge
SHARE = 70  # per cent of the ring that it must stand out from


def conspicuity(
    image: NDArray[np.float32],
    labels: NDArray[Any],
    inside: NDArray[np.bool_],
    spacing: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Mean of the image in things 1..N less the 70th percentile of the ring around each, (N,).

    A microbleed is at least half surrounded by brain (Greenberg et al., Lancet Neurol 8:165, 2009):
    what is only as dark as bone or a signal void beside it cannot be rated.

    image, labels, inside: (X, Y, Z), slices along Z; the ring lies in the thing's own slices,
    `inside`, where nothing is labelled. spacing: (3,) mm. A number without voxels and a thing
    without a ring have 0.
    """

    def excess(thing: NDArray[np.float32], ring: NDArray[np.float32]) -> float:
        return float(thing.mean() - np.percentile(ring, SHARE))

    return _against_rings(image, labels, inside, spacing, excess)


def detectability(
    image: NDArray[np.float32],
    labels: NDArray[Any],
    inside: NDArray[np.bool_],
    spacing: NDArray[np.float64],
) -> NDArray[np.float64]:
    """How plain each of the things 1..N is in the noise and texture around it, (N,).

    The signal-to-noise ratio of Rose (J Opt Soc Am 38:196, 1948): mean excess over the ring's
    median, over the ring's spread, times the root of the thing's voxels. An eye needs about 5.
    The spread is that of what is brighter than the median, since nothing else looks like the thing:
    dark fluid beside a bright dot does not hide it. Arguments as of `conspicuity`.
    """

    def ratio(thing: NDArray[np.float32], ring: NDArray[np.float32]) -> float:
        level = np.median(ring)
        spread = MAD_TO_SIGMA * float(np.median(ring[ring >= level] - level))
        return float((thing.mean() - level) * len(thing) ** 0.5 / max(spread, 1e-12))

    return _against_rings(image, labels, inside, spacing, ratio)


def _against_rings(
    image: NDArray[np.float32],
    labels: NDArray[Any],
    inside: NDArray[np.bool_],
    spacing: NDArray[np.float64],
    figure: Callable[[NDArray[np.float32], NDArray[np.float32]], float],
) -> NDArray[np.float64]:
    """The figure of the values (V,) in each thing and those in the ring around it, (N,)."""
    reach = np.append(np.ceil(RING_MM[1] / spacing[:2]).astype(int) + 1, 0)
    values = np.zeros(int(labels.max(initial=0)))
    for number, box in enumerate(ndimage.find_objects(labels), start=1):
        if box is None:
            continue
        near = tuple(
            slice(max(side.start - more, 0), side.stop + more)
            for side, more in zip(box, reach, strict=True)
        )
        thing = labels[near] == number
        distance = ndimage.distance_transform_edt(~thing, (*spacing[:2], 2 * RING_MM[1]))
        ring = (distance > RING_MM[0]) & (distance <= RING_MM[1])
        ring &= inside[near] & (labels[near] == 0)
        if ring.any():
            values[number - 1] = figure(image[near][thing], image[near][ring])
    return values
