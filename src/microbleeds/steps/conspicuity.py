"""How much brighter a thing is than what lies around it."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

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
            values[number - 1] = image[near][thing].mean() - np.percentile(image[near][ring], SHARE)
    return values
