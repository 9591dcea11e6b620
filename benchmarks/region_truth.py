"""The true regions of simulated heads, made again from their seeds; for regions.py and the training
of the region network (build_regions.py).
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from atlas_rules import LOBAR, regions_of
from build_atlas import VOTES, carried_lobes
from numpy.typing import NDArray

from microbleeds.simulate import HeadSettings
from microbleeds.simulate import anatomy as an
from microbleeds.simulate.deform import deform, source_places
from microbleeds.simulate.head import HEAD_MM
from microbleeds.simulate.scanner import random_protocol
from microbleeds.simulate.tissue import fine_grid

CACHE = VOTES.parent


@dataclass(frozen=True)
class RegionTruth:
    """labels: FreeSurfer numbers (X, Y, Z), 1 mm. regions: numbers of the atlas there, 0 where
    there is no tissue. affine: (4, 4) voxel to scanner mm.
    """

    labels: NDArray[np.int16]
    regions: NDArray[np.uint8]
    affine: NDArray[np.float64]


def region_truth(seed: int, index: int, anatomies: list[Path], volume: bool) -> RegionTruth:
    """A head of the series `seed` of `simulate_dataset`: the rule of the atlas on its labels.

    Lobes come with their map, onto which they were carried from MNI space by the non-linear
    registration of build_atlas.py. volume: whether the series has SWI or QSM.
    """
    rng = np.random.default_rng([seed, index])
    path = anatomies[int(rng.integers(len(anatomies)))]
    anatomy, protocol = an.load_anatomy(path), random_protocol(rng, volume)
    ranges = HeadSettings().anatomy
    source = source_places(anatomy, HEAD_MM, ranges, copy.deepcopy(rng))
    labels = deform(anatomy, HEAD_MM, ranges, rng)
    rotation = fine_grid(labels, protocol, whole_head=True).rotation
    regions = regions_of(labels)
    lobar = np.nonzero(regions == LOBAR)
    lobes = carried_lobes(path, CACHE)
    back = np.rint([part[lobar] for part in source]).astype(int)
    regions[lobar] = lobes[tuple(np.clip(back, 0, np.array(lobes.shape)[:, None] - 1))]
    affine = np.eye(4)
    affine[:3, :3] = rotation
    affine[:3, 3] = -rotation @ ((np.array(labels.shape) - 1) / 2)
    return RegionTruth(labels, regions, affine)
