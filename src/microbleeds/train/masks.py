"""Brain masks as imperfect as those of detection, so that their rim is nothing new to a network."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from microbleeds.simulate.deform import stretch

COARSE_MM = 1.5  # distances are worked out on voxels of about this size
PATCH_MM = 12.0  # sigma of the patches that are wider or narrower than the rest
PATCH_SD_MM = 0.8


def imperfect_mask(
    mask: NDArray[np.bool_],
    spacing: NDArray[np.float64],
    error_mm: tuple[float, float],
    rng: np.random.Generator,
) -> NDArray[np.bool_]:
    """The mask (X, Y, Z) moved outwards by a draw from `error_mm` (inwards where it is negative).

    In places a little more, in others less, as brain extraction errs. spacing: (3,) mm.
    """
    if not mask.any():
        return mask
    steps = np.maximum(1, np.round(COARSE_MM / spacing)).astype(int)
    coarse = mask[tuple(slice(None, None, step) for step in steps)]
    size = spacing * steps
    inside = ndimage.distance_transform_edt(coarse, size)
    outside = ndimage.distance_transform_edt(~coarse, size)
    patches = ndimage.gaussian_filter(rng.normal(size=coarse.shape), PATCH_MM / size)
    patches -= patches.mean()  # in a small volume all of it is one patch
    patches *= PATCH_SD_MM / max(float(patches.std()), 1e-9)
    depth: NDArray[np.float32] = (inside - outside + patches).astype(np.float32)
    for axis, (step, length) in enumerate(zip(steps, mask.shape, strict=True)):
        place = np.arange(length) / step
        depth = stretch(depth, place.astype(np.float32), axis)
    moved: NDArray[np.bool_] = depth > -rng.uniform(*error_mm)
    return moved
