"""The vessels of a head: veins as look-alikes of microbleeds, arteries, perivascular spaces."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from microbleeds.simulate import anatomy as an
from microbleeds.simulate.deform import refined
from microbleeds.simulate.vessels import Tubes, join, value_at, walk

# Median radius in mm of arteries in the outer sulci and in the midst of the head, and the spread
# of its logarithm: cortical branches measure 0.5-1.2 mm across, M2 and A2 2 mm, M1 3 mm.
ARTERY_RADIUS = (0.3, 0.7)
ARTERY_SPREAD = 0.4
# How wide fluid must be (blurred, 0 to 1) for arteries of which radius; a sulcus of 2 mm has 0.5.
ROOM, ARTERY_IN_ROOM = (0.4, 0.95), (0.35, 1.6)
IN_FLUID = 0.2  # wetness below which a vessel of the sulci would lie in tissue
SHORTEST_MM = 12.0  # of veins and arteries: what ends sooner is no vessel but a dot of blood
# Radius in mm of the veins within the brain, median and spread of its logarithm: deep medullary
# veins measure 0.2-0.3 mm across (Chen et al. 2016, Acta Anatomica Sinica 47:796, SWI at 3 T).
# Wider ones would look like microbleeds wherever they cross a slice.
MEDULLARY_RADIUS = (0.12, 0.3)
CORTICAL_RADIUS = (0.10, 0.35)
STRIATE_RADIUS = (0.13, 0.35)
SUBEPENDYMAL_RADIUS = (0.3, 0.4)
SINUS_RADIUS = (2.0, 4.0)  # the sagittal sinus is some 4 mm wide in front and 9 mm behind
WALL, OFF_THE_WALL = 0.4, 0.35  # of the blurred ventricles (0 to 1): at the wall, and how far off


def veins(labels: NDArray[np.int16], rng: np.random.Generator) -> Tubes:
    """Sulcal veins with branches, medullary, subependymal and striate veins, the sagittal sinus.

    labels: (X, Y, Z), 1 mm; a vein whose place is missing is left out.
    """
    wet = _wetness(labels, 1.2)
    amount = rng.uniform(0.5, 1.5)
    return join(
        _sulcal(labels, wet, amount, rng),
        _medullary(labels, amount, rng),
        _cortical(labels, wet, amount, rng),
        _subependymal(labels, rng),
        _striate(labels, rng),
        _sinus(labels, rng),
    )


def arteries(labels: NDArray[np.int16], rng: np.random.Generator) -> Tubes:
    """Arteries in the cisterns and fissures, in some heads far out into the sulci as well.

    None is wider than the fluid it lies in.
    """
    wet = _wetness(labels, 1.5)
    depth = _wide_blur(an.select(labels, (*an.TISSUE, *an.CSF, an.FALX, *an.VENTRICLES)), 8.0)
    deep = _fluid(labels) & (depth > rng.uniform(0.4, 0.85))
    starts = _starts(deep, int(rng.uniform(40, 300)), rng)
    n = len(starts)
    inwards = np.interp(value_at(depth, starts), (0.6, 1.0), ARTERY_RADIUS)
    room = np.interp(value_at(wet, starts), ROOM, ARTERY_IN_ROOM)
    radii = np.minimum(inwards * rng.lognormal(0, ARTERY_SPREAD, n), room)
    return walk(
        starts, rng.normal(size=(n, 3)), rng.uniform(SHORTEST_MM, 55, n), radii, wet, rng,
        least=IN_FLUID, shortest_mm=SHORTEST_MM,
    )  # fmt: skip


def perivascular_spaces(labels: NDArray[np.int16], rng: np.random.Generator) -> Tubes:
    """CSF-filled channels in white matter and basal ganglia."""
    starts = _starts(an.select(labels, an.WHITE + an.STRIATUM), int(rng.uniform(1, 60)), rng)
    n = len(starts)
    return walk(
        starts, rng.normal(size=(n, 3)), rng.uniform(2, 12, n), rng.uniform(0.2, 0.7, n), None, rng
    )


def _sulcal(
    labels: NDArray[np.int16], wet: NDArray[np.float32], amount: float, rng: np.random.Generator
) -> Tubes:
    """Trunks in the sulci and their branches."""
    surface = ndimage.binary_dilation(_cortex(labels)) & _fluid(labels)
    starts = _starts(surface, int(110 * amount), rng)
    n = len(starts)
    trunk = walk(
        starts, rng.normal(size=(n, 3)), rng.uniform(SHORTEST_MM, 60, n),
        rng.lognormal(-1.0, 0.45, n), wet, rng, least=IN_FLUID, shortest_mm=SHORTEST_MM,
    )  # fmt: skip
    if not len(trunk.radii):
        return trunk
    n = int(150 * amount)
    pick = rng.integers(0, len(trunk.radii), n)
    branch = walk(
        trunk.centres[pick].astype(float), rng.normal(size=(n, 3)), rng.uniform(6, 24, n),
        trunk.radii[pick] * rng.uniform(0.4, 0.9, n), wet, rng, wander=0.2, pull=0.4,
        least=IN_FLUID, rooted=True,
    )  # fmt: skip
    return join(trunk, branch)


def _medullary(labels: NDArray[np.int16], amount: float, rng: np.random.Generator) -> Tubes:
    """Deep white matter veins, straight towards the ventricles."""
    inner = _wide_blur(an.select(labels, an.VENTRICLES), 8.0)
    near = an.select(labels, an.WHITE) & (inner > 0.01)
    starts = _starts(near, int(170 * amount), rng)
    n = len(starts)
    return walk(
        starts, _gradient_at(inner, starts), rng.uniform(SHORTEST_MM, 30, n),
        _radii(MEDULLARY_RADIUS, n, rng), inner * 20, rng, wander=0.06,
    )  # fmt: skip


def _cortical(
    labels: NDArray[np.int16], wet: NDArray[np.float32], amount: float, rng: np.random.Generator
) -> Tubes:
    """Veins that dive from beneath the cortex into the white matter."""
    junction = ndimage.binary_dilation(_cortex(labels)) & an.select(labels, an.WHITE)
    starts = _starts(junction, int(150 * amount), rng)
    n = len(starts)
    return walk(
        starts, -_gradient_at(wet, starts), rng.uniform(SHORTEST_MM, 20, n),
        _radii(CORTICAL_RADIUS, n, rng), None, rng, wander=0.06,
    )  # fmt: skip


def _subependymal(labels: NDArray[np.int16], rng: np.random.Generator) -> Tubes:
    """Veins along the walls of the ventricles."""
    ventricles = an.select(labels, an.VENTRICLES)
    wall = ndimage.binary_dilation(ventricles) & an.select(labels, an.WHITE)
    starts = _starts(wall, 40, rng)
    n = len(starts)
    edge = ndimage.gaussian_filter(ventricles.astype(np.float32), 1.5)
    return walk(
        starts, rng.normal(size=(n, 3)), rng.uniform(SHORTEST_MM, 40, n),
        _radii(SUBEPENDYMAL_RADIUS, n, rng), -np.abs(edge - WALL), rng, pull=1.0,
        least=-OFF_THE_WALL, shortest_mm=SHORTEST_MM,
    )  # fmt: skip


def _striate(labels: NDArray[np.int16], rng: np.random.Generator) -> Tubes:
    """Upward veins of the basal ganglia."""
    nuclei = an.select(labels, an.STRIATUM + an.PALLIDUM)
    starts = _starts(nuclei, int(rng.uniform(0, 120)), rng)
    n = len(starts)
    upward = np.array([0, 0, 2])
    return walk(
        starts, rng.normal(size=(n, 3)) + upward, rng.uniform(SHORTEST_MM, 20, n),
        _radii(STRIATE_RADIUS, n, rng), None, rng,
    )  # fmt: skip


def _sinus(labels: NDArray[np.int16], rng: np.random.Generator) -> Tubes:
    """The superior sagittal sinus: the upper rim of the falx."""
    rim = (labels == an.FALX) & ndimage.binary_dilation(an.outside_brain(labels), iterations=3)
    points = np.argwhere(rim)
    points = points[points[:, 2] > np.median(points[:, 2])] if len(points) else points
    radius = rng.uniform(*SINUS_RADIUS)
    return Tubes(points.astype(np.float32), np.full(len(points), radius, np.float32))


def _radii(
    median_and_spread: tuple[float, float], count: int, rng: np.random.Generator
) -> NDArray[np.float64]:
    median, spread = median_and_spread
    return median * rng.lognormal(0, spread, count)


def _cortex(labels: NDArray[np.int16]) -> NDArray[np.bool_]:
    return an.select(labels, an.CORTEX + an.CEREBELLUM_CORTEX)


def _fluid(labels: NDArray[np.int16]) -> NDArray[np.bool_]:
    return an.select(labels, (*an.CSF, an.FALX))


def _wetness(labels: NDArray[np.int16], sigma_mm: float) -> NDArray[np.float32]:
    """Blurred CSF around the brain: a hill that keeps vessels in the sulci."""
    wet: NDArray[np.float32] = ndimage.gaussian_filter(_fluid(labels).astype(np.float32), sigma_mm)
    return wet


def _starts(mask: NDArray[np.bool_], count: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """Random points (N, 3) in a mask, at most `count`."""
    where = np.flatnonzero(mask)
    count = min(count, where.size)
    chosen = rng.choice(where, count, replace=False) if count else where[:0]
    points = np.stack(np.unravel_index(chosen, mask.shape), -1)
    return points + rng.uniform(-0.5, 0.5, points.shape)


def _wide_blur(mask: NDArray[np.bool_], sigma_mm: float) -> NDArray[np.float32]:
    """Gaussian blur of a 1 mm mask, worked out on every fourth voxel."""
    blurred: NDArray[np.float32] = ndimage.gaussian_filter(
        mask[::4, ::4, ::4].astype(np.float32), sigma_mm / 4
    )
    return refined(blurred, mask.shape, 4)


def _gradient_at(image: NDArray[np.float32], points: NDArray[np.float64]) -> NDArray[np.float64]:
    slopes = (value_at(np.asarray(slope), points) for slope in np.gradient(image))
    gradient: NDArray[np.float64] = np.stack(list(slopes), -1).astype(float)
    return gradient
