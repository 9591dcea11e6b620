"""Microbleeds: where they are, how large, what they are made of."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from microbleeds.prepare.brain import largest_piece
from microbleeds.simulate import anatomy as an

# Share of microbleeds by place, measured on 957 lesions of public tables (VALDO, DOU, RODEJA).
PLACES = (
    (0.40, an.WHITE),
    (0.34, an.CORTEX),
    (0.08, an.CEREBELLUM_WHITE + an.CEREBELLUM_CORTEX),
    (0.09, an.STRIATUM + an.PALLIDUM),
    (0.05, an.THALAMUS),
    (0.04, an.BRAINSTEM),
)


@dataclass(frozen=True)
class Bleed:
    """One deposit of blood, a union of ellipsoids.

    centres: (P, 3) mm on the 1 mm anatomy grid; radii: (P, 3) mm; susceptibility in ppm
    relative to water (haemosiderin).
    """

    centres: NDArray[np.float64]
    radii: NDArray[np.float64]
    susceptibility: float

    @property
    def centre(self) -> NDArray[np.float64]:
        """Centre of the main ellipsoid, (3,) mm."""
        centre: NDArray[np.float64] = self.centres[0]
        return centre


@dataclass(frozen=True)
class LesionRanges:
    """How many bleeds and of what kind; radii are of the deposit, not of its blooming.

    count: fewest and most, both possible. susceptibility_ppm: bounds of a log-uniform
    distribution. cluster_chance: share of bleeds placed near the one before, in the mean over
    heads. predominance: how much heads differ in their places (0: not at all), since in one
    person most are lobar and in another most are deep.
    """

    count: tuple[int, int] = (0, 12)
    median_radius_mm: float = 0.85
    radius_log_sd: float = 0.4
    susceptibility_ppm: tuple[float, float] = (0.08, 0.8)
    cluster_chance: float = 0.2
    predominance: float = 1.4


def place_bleeds(
    labels: NDArray[np.int16],
    ranges: LesionRanges,
    rng: np.random.Generator,
    before: tuple[Bleed, ...] = (),
) -> tuple[Bleed, ...]:
    """Random bleeds at the places and sizes of real ones, none overlapping another.

    labels: (X, Y, Z) 1 mm anatomy. before: bleeds there already, which come first in the result
    and count neither way. Where there is too little room there are fewer than asked for.
    """
    candidates = [np.flatnonzero(an.select(labels, place)) for _, place in PLACES]
    shares = np.array(
        [share if len(c) else 0 for (share, _), c in zip(PLACES, candidates, strict=True)]
    )
    if shares.sum() == 0:
        return before
    shares = shares * rng.lognormal(0, ranges.predominance, len(shares))
    cluster_chance = rng.uniform(0, 2 * ranges.cluster_chance)
    bleeds = list(before)
    wanted = int(rng.integers(ranges.count[0], ranges.count[1] + 1))
    for _ in range(4 * wanted):
        if len(bleeds) >= len(before) + wanted:
            break
        if bleeds and rng.random() < cluster_chance:
            centre = bleeds[-1].centre + rng.normal(0, 2.8, 3)
        else:
            where = rng.choice(candidates[rng.choice(len(shares), p=shares / shares.sum())])
            centre = np.array(np.unravel_index(where, labels.shape)) + rng.uniform(-0.5, 0.5, 3)
        bleed = _random_bleed(centre, ranges, rng)
        inside = np.all((np.rint(centre) >= 0) & (np.rint(centre) < labels.shape))
        if not inside or labels[tuple(np.rint(centre).astype(int))] not in an.TISSUE:
            continue
        if all(
            np.linalg.norm(centre - b.centre) > 1.5 + b.radii.max() + bleed.radii.max()
            for b in bleeds
        ):
            bleeds.append(bleed)
    return tuple(bleeds)


def _random_bleed(
    centre: NDArray[np.float64], ranges: LesionRanges, rng: np.random.Generator
) -> Bleed:
    """One ellipsoid, three times in ten with one to three smaller ones at its side."""
    radius = float(
        np.clip(ranges.median_radius_mm * rng.lognormal(0, ranges.radius_log_sd), 0.3, 4.5)
    )
    parts = 1 + (rng.integers(1, 4) if rng.random() < 0.3 else 0)
    centres = centre + np.vstack([np.zeros(3), rng.normal(0, 0.5 * radius, (parts - 1, 3))])
    radii = radius * rng.uniform(0.75, 1.25, (parts, 3))
    radii[1:] *= rng.uniform(0.4, 0.8, (parts - 1, 1))
    low, high = np.log(ranges.susceptibility_ppm)
    return Bleed(centres, radii, float(np.exp(rng.uniform(low, high))))


def draw_bleed(
    bleed: Bleed,
    origin_mm: NDArray[np.float64],
    spacing: NDArray[np.float64],
    shape: tuple[int, int, int],
) -> NDArray[np.float32]:
    """Volume fraction of the bleed in each voxel of a small grid, by 3 x 3 x 3 sub-sampling.

    origin_mm: centre of the first voxel, (3,); spacing in mm, (3,). Returns float32 of `shape`.
    """
    axes = [
        origin + step * (np.arange(3 * n) / 3 - 1 / 3)
        for origin, step, n in zip(origin_mm, spacing, shape, strict=True)
    ]
    x, y, z = np.meshgrid(*axes, indexing="ij", sparse=True)
    inside = np.zeros(tuple(3 * n for n in shape), bool)
    for centre, radii in zip(bleed.centres, bleed.radii, strict=True):
        inside |= (
            ((x - centre[0]) / radii[0]) ** 2
            + ((y - centre[1]) / radii[1]) ** 2
            + ((z - centre[2]) / radii[2]) ** 2
        ) <= 1
    a, b, c = shape
    fraction: NDArray[np.float32] = inside.reshape(a, 3, b, 3, c, 3).mean(
        (1, 3, 5), dtype=np.float32
    )
    return fraction


def siderosis(labels: NDArray[np.int16], rng: np.random.Generator) -> NDArray[np.float32]:
    """Superficial siderosis: iron along a patch of the cortical surface, ppm on the 1 mm grid.

    One sheet: bits of surface apart from it would be dots. Zero where no cortex touches CSF.
    """
    touched = ndimage.binary_dilation(an.select(labels, an.CSF), np.ones((3, 3, 3), bool))
    surface = an.select(labels, an.CORTEX) & touched
    where = np.argwhere(surface)
    if not len(where):
        return np.zeros(labels.shape, np.float32)
    centre = where[rng.integers(len(where))]
    near = np.zeros(labels.shape, bool)
    near[tuple(where[np.linalg.norm(where - centre, axis=1) < rng.uniform(8, 25)].T)] = True
    sheet = largest_piece(near)
    return sheet * np.float32(rng.uniform(0.3, 1.0))
