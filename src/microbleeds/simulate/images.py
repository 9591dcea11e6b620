"""Images of a simulated head in every contrast, and what they show of each bleed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from microbleeds.prepare.intensity import MAD_TO_SIGMA
from microbleeds.settings import Contrast
from microbleeds.simulate import HeadSettings, SimulatedHead, TrueBleed, scanner, susceptibility
from microbleeds.simulate import anatomy as an
from microbleeds.simulate.echoes import QSM_TE_MS, Echoes
from microbleeds.simulate.lesions import Bleed
from microbleeds.simulate.scanner import Protocol
from microbleeds.simulate.tissue import FineGrid
from microbleeds.steps.conspicuity import conspicuity, detectability, things_in_rings

NEAR_MM = 6.0  # a change farther than this from a bleed's centre is not counted as the bleed
NOISE_LIMIT = 4  # standard deviations of noise that a visible drop must exceed
DETECTABLE = 4.0  # Rose's 5 leaves out some that can be seen; the 18 real ones have 6.7 and more
ALL_NEIGHBOURS = np.ones((3, 3, 3), bool)


@dataclass(frozen=True)
class Frame:
    """Geometry of the scan.

    voxel: (3,) mm. affine: (4, 4) voxel index to scanner mm. b0: (3,) main field in voxel axes.
    seeds: (N, 3) voxel positions of the bleeds' centres. brain: (X, Y, Z) bool.
    """

    voxel: NDArray[np.float64]
    affine: NDArray[np.float64]
    b0: NDArray[np.float64]
    seeds: NDArray[np.float64]
    brain: NDArray[np.bool_]


def scan_images(
    echoes: Echoes,
    labels: NDArray[np.int16],
    bleeds: tuple[Bleed, ...],
    grid: FineGrid,
    protocol: Protocol,
    contrasts: tuple[Contrast, ...],
    settings: HeadSettings,
    rng: np.random.Generator,
) -> SimulatedHead:
    """Encode, add noise and shading, and make each contrast's image and its labels.

    labels: the 1 mm anatomy. A voxel is labelled where the noiseless image with bleeds differs
    visibly from the one without (QSM: where the deposits' own susceptibility is visible in the
    map's noise), of bleeds that stand out from what lies around them, in the noisy image too.
    """
    code = scanner.encoding(grid.shape[:2], float(grid.spacing[0]), protocol, rng)
    bled, clean = scanner.acquire(echoes.image, code), scanner.acquire(echoes.clean, code)
    frame = _frame(labels, bleeds, grid, protocol, bled.shape)
    level = float(np.median(np.abs(clean[frame.brain])))
    noise = level / protocol.snr
    noisy = scanner.acquire(echoes.image, code, noise, rng)
    shading = scanner.coil_shading(bled.shape, rng)
    images: dict[Contrast, NDArray[np.float32]] = {}
    seen: dict[Contrast, NDArray[np.int32]] = {}
    for contrast in contrasts:
        if contrast == "qsm":
            noisy_map, quiet = _susceptibility_maps(echoes, code, noise, frame, protocol, rng)
            images[contrast] = noisy_map
            ppm = scanner.acquire(echoes.bleed_ppm.astype(np.complex64), code).real
            # The median, since a phase that wraps beside a strong bleed is no noise.
            spread = MAD_TO_SIGMA * float(np.median(np.abs(noisy_map - quiet)[frame.brain]))
            lump = _visible(ppm, max(settings.visible_ppm, NOISE_LIMIT * spread), frame)
            seen[contrast] = _standing_out(quiet, noisy_map, lump, frame, settings.conspicuous_ppm)
        else:
            magnitude = _magnitude(contrast, rng)
            images[contrast] = _digitise(magnitude(noisy) * shading, rng)
            drop = _drop(magnitude(clean), magnitude(bled), level)
            limit = max(settings.visible_drop, NOISE_LIMIT / protocol.snr)
            void = _visible(drop, limit, frame)
            dark = -magnitude(bled) / np.float32(level)
            seen[contrast] = _standing_out(
                dark, -images[contrast], void, frame, settings.conspicuous
            )
    truth = tuple(_truth(i, b, frame, seen) for i, b in enumerate(bleeds, start=1))
    return SimulatedHead(images, seen, frame.brain, frame.affine, truth, protocol)


def _frame(
    labels: NDArray[np.int16],
    bleeds: tuple[Bleed, ...],
    grid: FineGrid,
    protocol: Protocol,
    shape: tuple[int, ...],
) -> Frame:
    pixel = grid.spacing[:2] * grid.shape[:2] / shape[:2]
    voxel = np.array([*pixel, protocol.slice_mm / protocol.slice_fill])
    # The FFT keeps the first sample in place; a slice is the average of `slab` cells.
    start = grid.origin + np.array([0, 0, grid.spacing[2] * (grid.slab - 1) / 2])
    nearest = np.ix_(
        *(
            np.clip(np.rint(first + size * np.arange(n)).astype(int), 0, limit - 1)
            for first, size, n, limit in zip(start, voxel, shape, labels.shape, strict=True)
        )
    )
    affine = np.eye(4)  # the middle of the anatomy stands at the isocentre
    affine[:3, :3] = grid.rotation * voxel
    affine[:3, 3] = grid.rotation @ (start - (np.array(labels.shape) - 1) / 2)
    seeds = np.array([(b.centre - start) / voxel for b in bleeds]).reshape(-1, 3)
    return Frame(voxel, affine, grid.b0, seeds, an.brain_mask(labels)[nearest])


def _magnitude(
    contrast: Contrast, rng: np.random.Generator
) -> Callable[[NDArray[np.complex64]], NDArray[np.float32]]:
    """What turns a complex image into T2*-GRE magnitude or into SWI of random filter and power."""
    size, power = float(rng.uniform(0.08, 0.25)), int(rng.integers(3, 6))
    if contrast == "t2star":
        return np.abs
    return partial(scanner.susceptibility_weighted, filter_size=size, power=power)


def _susceptibility_maps(
    echoes: Echoes,
    code: scanner.Encoding,
    noise: float,
    frame: Frame,
    protocol: Protocol,
    rng: np.random.Generator,
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """QSM with and without noise, in ppm inside the brain, 0 outside."""
    if echoes.local is None:
        raise ValueError("a QSM image needs the short echo: record it")
    noisy = scanner.acquire(echoes.local, code, noise, rng)
    quiet = scanner.acquire(echoes.local, code)
    threshold = float(rng.uniform(0.1, 0.25))

    def inverted(echo: NDArray[np.complex64]) -> NDArray[np.float32]:
        inside = echo * frame.brain
        field = scanner.field_from_phase(inside, QSM_TE_MS, protocol.field_t)
        field = frame.brain * scanner.trusted_field(field, inside, frame.voxel)
        return frame.brain * susceptibility.invert_dipole(field, frame.voxel, frame.b0, threshold)

    return inverted(noisy), inverted(quiet)


def _drop(
    clean: NDArray[np.float32], bled: NDArray[np.float32], level: float
) -> NDArray[np.float32]:
    """Share of the signal that bleeds take; dark places count by half the tissue's `level`."""
    drop = (clean - bled) / np.maximum(clean, np.float32(0.5 * level))
    return drop.astype(np.float32, copy=False)


def _visible(change: NDArray[np.float32], limit: float, frame: Frame) -> NDArray[np.int32]:
    """Number the voxels that a bleed visibly changed by the nearest bleed, one piece a bleed."""
    labels = np.zeros(change.shape, np.int32)
    where = np.argwhere(change > limit)
    if not len(where) or not len(frame.seeds):
        return labels
    distance = np.linalg.norm((where[:, None, :] - frame.seeds[None]) * frame.voxel, axis=2)
    nearest = distance.argmin(1)
    # A slice is as thick as it is: half of it is always near enough.
    near = distance.min(1) < max(NEAR_MM, 0.6 * frame.voxel[2] + 2)
    labels[tuple(where[near].T)] = nearest[near] + 1
    for index, box in enumerate(ndimage.find_objects(labels), start=1):
        if box is None:
            continue
        parts, count = ndimage.label(labels[box] == index, ALL_NEIGHBOURS)
        if count > 1:  # ringing far from the bleed is not the bleed
            sizes = np.bincount(parts.ravel())[1:]
            labels[box][(parts > 0) & (parts != 1 + sizes.argmax())] = 0
    return labels


def _standing_out(
    quiet: NDArray[np.float32],
    noisy: NDArray[np.float32],
    labels: NDArray[np.int32],
    frame: Frame,
    least: float,
) -> NDArray[np.int32]:
    """The labels of those that a rater could tell from what lies around them, brighter than it.

    quiet: by `least` without noise. noisy: by more than noise and texture there make by chance.
    """
    things = things_in_rings(labels, frame.brain, frame.voxel)
    shown = conspicuity(quiet, things) >= least
    shown &= detectability(noisy, things) >= DETECTABLE
    kept: NDArray[np.int32] = labels * np.append(False, shown)[labels]
    return kept


def _truth(
    index: int, bleed: Bleed, frame: Frame, seen: dict[Contrast, NDArray[np.int32]]
) -> TrueBleed:
    x, y, z = frame.affine[:3, :3] @ frame.seeds[index - 1] + frame.affine[:3, 3]
    volumes = {c: float((v == index).sum() * frame.voxel.prod()) for c, v in seen.items()}
    diameter = 2 * float(np.cbrt(bleed.radii[0].prod()))
    return TrueBleed(index, (float(x), float(y), float(z)), diameter, bleed.susceptibility, volumes)


def _digitise(image: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
    """Scale to a scanner's integers."""
    top = float(np.percentile(image, 99.9))
    scaled: NDArray[np.float32] = np.rint(image * np.float32(rng.uniform(300, 3500) / top))
    return scaled.astype(np.float32)
