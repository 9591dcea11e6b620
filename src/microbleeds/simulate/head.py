"""One simulated head: anatomy -> susceptibility -> field -> signal -> scanner -> images and truth."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from microbleeds.settings import Contrast
from microbleeds.simulate import anatomy as an
from microbleeds.simulate import lesions, scanner, signal, susceptibility, vessels
from microbleeds.simulate.anatomy import Anatomy, AnatomyRanges
from microbleeds.simulate.lesions import Bleed, LesionRanges
from microbleeds.simulate.scanner import Protocol

QSM_TE_MS = 8.0  # short enough that phase wraps only beside strong bleeds
BOX_MM = 11.0  # half-width of the cube in which one bleed's field matters


@dataclass(frozen=True)
class HeadSettings:
    """What a simulated head contains. `whole_head` False simulates the brain and its rim only."""

    anatomy: AnatomyRanges = field(default_factory=AnatomyRanges)
    lesions: LesionRanges = field(default_factory=LesionRanges)
    whole_head: bool = True
    visible_drop: float = 0.25  # share of the tissue signal that a rater sees as a void
    visible_ppm: float = 0.10  # and its counterpart on QSM


@dataclass(frozen=True)
class TrueBleed:
    """One row of the truth. xyz_mm: scanner mm; volume_mm3: of what the image shows, by contrast."""

    index: int
    xyz_mm: tuple[float, float, float]
    source_diameter_mm: float
    susceptibility_ppm: float
    volume_mm3: dict[Contrast, float]


@dataclass(frozen=True)
class SimulatedHead:
    """images and labels (int32, one number a visible microbleed) on one grid, by contrast."""

    images: dict[Contrast, NDArray[np.float32]]
    labels: dict[Contrast, NDArray[np.int32]]
    brain: NDArray[np.bool_]
    affine: NDArray[np.float64]
    truth: tuple[TrueBleed, ...]
    protocol: Protocol


@dataclass(frozen=True)
class FineGrid:
    """Sub-voxel grid: `origin` and `spacing` in mm on the 1 mm anatomy grid, `slab` cells a slice."""

    shape: tuple[int, int, int]
    spacing: NDArray[np.float64]
    origin: NDArray[np.float64]
    slab: int

    def from_anatomy(self, image: NDArray[np.float32]) -> NDArray[np.float32]:
        """A 1 mm map on the fine grid, linear."""
        for axis in (2, 1, 0):
            place = self.origin[axis] + self.spacing[axis] * np.arange(self.shape[axis])
            image = an.stretch(image, place.astype(np.float32), axis)
        return image


def simulate_head(
    anatomy: Anatomy,
    protocol: Protocol,
    contrasts: tuple[Contrast, ...],
    settings: HeadSettings,
    rng: np.random.Generator,
) -> SimulatedHead:
    """Simulate one head in one or more contrasts.

    The field of everything that does not bleed is computed once; each bleed's own field is added
    in a cube around it, so that the images with and without bleeds differ by physics alone and
    their difference is the truth.
    """
    size = (190, 230, 190) if settings.whole_head else (160, 196, 150)
    labels = an.deform(anatomy, size, settings.anatomy, rng)
    maps = signal.tissue_maps(labels, protocol.field_t, protocol.tr_ms, protocol.flip_deg, rng)
    bleeds = lesions.place_bleeds(labels, settings.lesions, rng)
    grid = fine_grid(labels, protocol, settings)
    rotation = _tilt(protocol)
    b0 = rotation.T @ np.array([0.0, 0.0, 1.0])
    tissue = _tissue(labels, maps, grid, b0, protocol, rng)
    echoes = _echoes(tissue, bleeds, grid, b0, protocol, contrasts)
    return _scan(echoes, labels, bleeds, grid, rotation, protocol, contrasts, settings, rng)


def fine_grid(labels: NDArray[np.int16], protocol: Protocol, settings: HeadSettings) -> FineGrid:
    """Cells no larger than about half a millimetre, a whole number of them across each slice."""
    inside = labels > 0 if settings.whole_head else an.select(labels, an.TISSUE)
    box = ndimage.find_objects(inside.astype(np.uint8))[0]
    margin = 4
    low = np.array([s.start - margin for s in box], float)
    high = np.array([s.stop + margin for s in box], float)
    in_plane = min(0.55, protocol.acquired_mm)
    slab = max(2, round(protocol.slice_mm / 0.7))
    spacing = np.array([in_plane, in_plane, protocol.slice_mm / slab])
    cells = np.ceil((high - low) / spacing).astype(int)
    shape = (
        int(cells[0]) // 2 * 2,
        int(cells[1]) // 2 * 2,
        int(np.ceil(cells[2] / slab)) * slab,
    )
    return FineGrid(shape, spacing, low, slab)


@dataclass
class _Tissue:
    """Fine-grid maps of the bleed-free head; local_field excludes what air and bone cause."""

    amplitude: NDArray[np.float32]
    decay: NDArray[np.float32]
    local_field: NDArray[np.float32]
    outer_field: NDArray[np.float32]


def _tissue(
    labels: NDArray[np.int16],
    maps: signal.Maps,
    grid: FineGrid,
    b0: NDArray[np.float64],
    protocol: Protocol,
    rng: np.random.Generator,
) -> _Tissue:
    texture = 1 + ndimage.gaussian_filter(rng.normal(0, 0.25, labels.shape).astype(np.float32), 1.5)
    soft = [ndimage.gaussian_filter(m, 0.45) for m in (maps.amplitude * texture, maps.decay)]
    mottle = 1 + ndimage.gaussian_filter(rng.normal(0, 1.2, labels.shape).astype(np.float32), 0.8)
    chi = ndimage.gaussian_filter(maps.local * mottle, 0.45)
    if rng.random() < 0.08:
        chi += lesions.siderosis(labels, rng)
    amplitude, decay, local = (grid.from_anatomy(m) for m in (*soft, chi))
    venous = vessels.draw(vessels.veins(labels, rng), grid.origin, grid.spacing, grid.shape)
    local += venous * np.float32(rng.uniform(0.3, 0.6))
    decay += venous * np.float32(15 * protocol.field_t / 3)
    fluid = vessels.draw(vessels.perivascular_spaces(labels, rng), grid.origin, grid.spacing, grid.shape)
    wet = signal.steady_state(1.0, 4200, protocol.tr_ms, protocol.flip_deg)
    amplitude += fluid * (np.float32(wet) - amplitude)
    flow = vessels.draw(vessels.arteries(labels, rng), grid.origin, grid.spacing, grid.shape)
    amplitude *= 1 + flow * np.float32(rng.uniform(-1.0, -0.6) if rng.random() < 0.75 else 0.4)
    spacing = np.array(grid.spacing)
    return _Tissue(
        amplitude, decay, susceptibility.field_shift(local, spacing, b0),
        grid.from_anatomy(_outer_field(labels, maps.outer, b0)),
    )  # fmt: skip


def _outer_field(
    labels: NDArray[np.int16], chi: NDArray[np.float32], b0: NDArray[np.float64]
) -> NDArray[np.float32]:
    """Field of air and bone on the 1 mm grid in ppm, after a second-order shim over the brain."""
    half = chi[::2, ::2, ::2]
    field = susceptibility.field_shift(half, np.full(3, 2.0), b0, pad=24)
    brain = np.argwhere(an.select(labels[::2, ::2, ::2], an.TISSUE))[::7]
    centre, scale = brain.mean(0), 50.0

    def terms(points: NDArray[np.float64]) -> NDArray[np.float64]:
        x, y, z = ((points - centre) / scale).T
        return np.stack([np.ones_like(x), x, y, z, x * y, x * z, y * z, x * x, y * y, z * z], -1)

    weights, *_ = np.linalg.lstsq(terms(brain), field[tuple(brain.T)], rcond=None)
    everywhere = np.indices(field.shape).reshape(3, -1).T
    field = field - (terms(everywhere) @ weights).reshape(field.shape).astype(np.float32)
    for axis in range(3):
        place = np.arange(labels.shape[axis], dtype=np.float32) / 2
        field = an.stretch(field, place, axis)
    return field


@dataclass
class _Echoes:
    """Slice-averaged complex signal (Xf, Yf, Z) with and without bleeds, and their content."""

    image: NDArray[np.complex64]
    clean: NDArray[np.complex64]
    local: NDArray[np.complex64] | None  # short echo without the outer field, for QSM
    bleed_ppm: NDArray[np.float32]


def _echoes(
    tissue: _Tissue,
    bleeds: tuple[Bleed, ...],
    grid: FineGrid,
    b0: NDArray[np.float64],
    protocol: Protocol,
    contrasts: tuple[Contrast, ...],
) -> _Echoes:
    weights = scanner.slice_weights(grid.slab, protocol.gap)

    def average(cells: NDArray[np.complex64]) -> NDArray[np.complex64]:
        mean: NDArray[np.complex64] = cells.reshape(*cells.shape[:2], -1, grid.slab) @ weights
        return mean

    def echo(where: tuple[slice, ...], te: float, outer: bool) -> NDArray[np.complex64]:
        total = tissue.local_field[where] + (tissue.outer_field[where] if outer else 0)
        return average(
            signal.gradient_echo(tissue.amplitude[where], tissue.decay[where], total, te, protocol.field_t)
        )

    slabs = [(slice(i, i + 16),) for i in range(0, grid.shape[0], 16)]
    clean = np.concatenate([echo(s, protocol.te_ms, True) for s in slabs])
    ppm = np.zeros(clean.shape, np.float32)
    boxes = []
    for bleed in bleeds:
        box = _box(bleed, grid)
        ppm[box[0], box[1], box[2].start // grid.slab : box[2].stop // grid.slab] += (
            np.maximum(_stamp(tissue, bleed, box, grid, b0, protocol), 0)
            .reshape(box[0].stop - box[0].start, box[1].stop - box[1].start, -1, grid.slab)
            @ weights
        )
        boxes.append(box)
    image = clean.copy()
    for box in boxes:
        thick = slice(box[2].start // grid.slab, box[2].stop // grid.slab)
        image[box[0], box[1], thick] = echo(box, protocol.te_ms, True)
    local = np.concatenate([echo(s, QSM_TE_MS, False) for s in slabs]) if "qsm" in contrasts else None
    return _Echoes(image, clean, local, ppm)


def _box(bleed: Bleed, grid: FineGrid) -> tuple[slice, slice, slice]:
    """Cells around a bleed, whole slices along the last axis."""
    middle = (bleed.centre - grid.origin) / grid.spacing
    reach = BOX_MM / grid.spacing
    low = np.maximum(np.floor(middle - reach), 0).astype(int)
    high = np.minimum(np.ceil(middle + reach), grid.shape).astype(int)
    low[2] = low[2] // grid.slab * grid.slab
    high[2] = -(-high[2] // grid.slab) * grid.slab
    return slice(low[0], high[0]), slice(low[1], high[1]), slice(low[2], high[2])


def _stamp(
    tissue: _Tissue,
    bleed: Bleed,
    box: tuple[slice, slice, slice],
    grid: FineGrid,
    b0: NDArray[np.float64],
    protocol: Protocol,
) -> NDArray[np.float32]:
    """Put one bleed into the fine maps; returns its susceptibility in the box, ppm."""
    origin = grid.origin + grid.spacing * [s.start for s in box]
    shape = tuple(s.stop - s.start for s in box)
    fraction = lesions.draw_bleed(bleed, origin, grid.spacing, (shape[0], shape[1], shape[2]))
    chi = fraction * np.float32(bleed.susceptibility)
    tissue.local_field[box] += susceptibility.field_shift(chi, grid.spacing, b0)
    tissue.decay[box] += fraction * np.float32(150 * bleed.susceptibility * protocol.field_t / 3)
    tissue.amplitude[box] *= 1 - 0.4 * fraction
    return chi


def _scan(
    echoes: _Echoes,
    labels: NDArray[np.int16],
    bleeds: tuple[Bleed, ...],
    grid: FineGrid,
    rotation: NDArray[np.float64],
    protocol: Protocol,
    contrasts: tuple[Contrast, ...],
    settings: HeadSettings,
    rng: np.random.Generator,
) -> SimulatedHead:
    code = scanner.encoding(grid.shape[:2], float(grid.spacing[0]), protocol, rng)
    with_bleeds = scanner.acquire(echoes.image, code, 0, None)
    without = scanner.acquire(echoes.clean, code, 0, None)
    pixel = grid.spacing[:2] * grid.shape[:2] / code.image_shape
    voxel = np.array([*pixel, protocol.slice_mm])
    # Pixel centres: the FFT keeps the first sample in place, slices average `slab` cells.
    start = grid.origin + [0, 0, grid.spacing[2] * (grid.slab - 1) / 2]
    place = [start[a] + voxel[a] * np.arange(n) for a, n in enumerate(with_bleeds.shape)]
    nearest = np.ix_(*(np.clip(np.rint(p).astype(int), 0, n - 1) for p, n in zip(place, labels.shape, strict=True)))
    brain = an.brain_mask(labels)[nearest]
    level = float(np.median(np.abs(without[brain])))
    noise = level / protocol.snr
    noisy = scanner.acquire(echoes.image, code, noise, rng)
    shading = scanner.coil_shading(with_bleeds.shape, rng)
    affine = _affine(rotation, voxel, start, labels.shape)
    seeds = np.array([(b.centre - start) / voxel for b in bleeds]).reshape(-1, 3)
    images: dict[Contrast, NDArray[np.float32]] = {}
    seen: dict[Contrast, NDArray[np.int32]] = {}
    for contrast in contrasts:
        if contrast == "qsm":
            assert echoes.local is not None
            b0 = rotation.T @ np.array([0.0, 0.0, 1.0])
            short = scanner.acquire(echoes.local, code, noise, rng)
            shift = scanner.field_from_phase(short, QSM_TE_MS, protocol.field_t)
            images[contrast] = brain * susceptibility.invert_dipole(
                shift * brain, voxel, b0, float(rng.uniform(0.1, 0.25))
            )
            ppm = scanner.acquire(echoes.bleed_ppm.astype(np.complex64), code, 0, None).real
            seen[contrast] = _visible(ppm, settings.visible_ppm, seeds, voxel)
        else:
            size, power = rng.uniform(0.08, 0.25), int(rng.integers(3, 6))
            weigh = (
                np.abs if contrast == "t2star"
                else lambda z, s=size, p=power: scanner.susceptibility_weighted(z, s, p)
            )  # fmt: skip
            images[contrast] = _digitise(weigh(noisy) * shading, rng)
            drop = (weigh(without) - weigh(with_bleeds)) / np.maximum(weigh(without), 0.5 * level)
            limit = max(settings.visible_drop, 4 / protocol.snr)
            seen[contrast] = _visible(drop, limit, seeds, voxel)
    truth = tuple(_truth(i, b, affine, seeds, voxel, seen) for i, b in enumerate(bleeds, start=1))
    return SimulatedHead(images, seen, brain, affine, truth, protocol)


def _visible(
    drop: NDArray[np.float32], limit: float, seeds: NDArray[np.float64], voxel: NDArray[np.float64]
) -> NDArray[np.int32]:
    """Number the voxels that a bleed visibly changed by the nearest bleed, at most 6 mm away."""
    labels = np.zeros(drop.shape, np.int32)
    where = np.argwhere(drop > limit)
    if not len(where) or not len(seeds):
        return labels
    distance = np.linalg.norm((where[:, None, :] - seeds[None]) * voxel, axis=2)
    nearest = distance.argmin(1)
    # A slice is as thick as it is: half of it is always near enough.
    near = distance.min(1) < max(6.0, 0.6 * voxel[2] + 2)
    labels[tuple(where[near].T)] = nearest[near] + 1
    for index, box in enumerate(ndimage.find_objects(labels), start=1):
        if box is None:
            continue
        parts, count = ndimage.label(labels[box] == index, np.ones((3, 3, 3)))
        if count > 1:  # ringing far from the bleed is not the bleed
            sizes = np.bincount(parts.ravel())[1:]
            labels[box][(parts > 0) & (parts != 1 + sizes.argmax())] = 0
    return labels


def _truth(
    index: int,
    bleed: Bleed,
    affine: NDArray[np.float64],
    seeds: NDArray[np.float64],
    voxel: NDArray[np.float64],
    seen: dict[Contrast, NDArray[np.int32]],
) -> TrueBleed:
    x, y, z = affine[:3, :3] @ seeds[index - 1] + affine[:3, 3]
    volumes = {c: float((v == index).sum() * voxel.prod()) for c, v in seen.items()}
    diameter = 2 * float(np.cbrt(bleed.radii[0].prod()))
    return TrueBleed(index, (float(x), float(y), float(z)), diameter, bleed.susceptibility, volumes)


def _digitise(image: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
    """Scale to a scanner's integers."""
    top = float(np.percentile(image, 99.9))
    return np.rint(image * np.float32(rng.uniform(300, 3500) / top)).astype(np.float32)


def _tilt(protocol: Protocol) -> NDArray[np.float64]:
    a, b = np.deg2rad(protocol.tilt_deg)
    about_x = np.array([[1, 0, 0], [0, np.cos(a), -np.sin(a)], [0, np.sin(a), np.cos(a)]])
    about_y = np.array([[np.cos(b), 0, np.sin(b)], [0, 1, 0], [-np.sin(b), 0, np.cos(b)]])
    tilt: NDArray[np.float64] = about_x @ about_y
    return tilt


def _affine(
    rotation: NDArray[np.float64],
    voxel: NDArray[np.float64],
    start: NDArray[np.float64],
    shape: tuple[int, ...],
) -> NDArray[np.float64]:
    """Voxel index to scanner mm, the middle of the anatomy at the isocentre."""
    affine = np.eye(4)
    affine[:3, :3] = rotation * voxel
    affine[:3, 3] = rotation @ (start - (np.array(shape) - 1) / 2)
    return affine
