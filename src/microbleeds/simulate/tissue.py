"""The bleed-free head on a grid finer than the voxels: signal, decay and field of every cell."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from microbleeds.simulate import anatomy as an
from microbleeds.simulate import lesions, scanner, signal, susceptibility, vasculature
from microbleeds.simulate.deform import refined, rotation, stretch
from microbleeds.simulate.pose import Pose
from microbleeds.simulate.scanner import Protocol
from microbleeds.simulate.vessels import Tubes, draw

MARGIN_MM = 4  # around the brain or the head
PATCH_MM = 4  # of the uneven iron within a nucleus


@dataclass(frozen=True)
class FineGrid:
    """Cells that divide the slices, along the axes of the 1 mm anatomy grid.

    spacing: of the cells, (3,) mm. origin: centre of the first cell on the anatomy grid, (3,) mm.
    profile: excitation of the cells across one slice, (slab,). rotation: (3, 3) from these axes
    to the scanner's. pose: how the head was moved on its anatomy grid before it was scanned.
    """

    shape: tuple[int, int, int]
    spacing: NDArray[np.float64]
    origin: NDArray[np.float64]
    profile: NDArray[np.float32]
    rotation: NDArray[np.float64]
    pose: Pose = field(default_factory=Pose)

    @property
    def slab(self) -> int:
        """Cells across one slice."""
        return len(self.profile)

    @property
    def b0(self) -> NDArray[np.float64]:
        """Direction of the main field in the axes of the grid, (3,)."""
        direction: NDArray[np.float64] = self.rotation.T @ np.array([0.0, 0.0, 1.0])
        return direction

    def from_anatomy(self, image: NDArray[np.float32]) -> NDArray[np.float32]:
        """A 1 mm map on the fine grid, linear."""
        image = self.pose.image(image, order=3)
        for axis in (2, 1, 0):
            place = self.origin[axis] + self.spacing[axis] * np.arange(self.shape[axis])
            image = stretch(image, place.astype(np.float32), axis)
        return image

    def slices(self, cells: NDArray[Any]) -> NDArray[Any]:
        """Cells (X, Y, slab Z) averaged over each slice: (X, Y, Z)."""
        averaged: NDArray[Any] = cells.reshape(*cells.shape[:2], -1, self.slab) @ self.profile
        return averaged

    def draw(self, tubes: Tubes, anatomy: tuple[int, ...]) -> NDArray[np.float32]:
        """Volume fraction of the tubes in each cell. anatomy: shape of the 1 mm grid."""
        return draw(self.pose.tubes(tubes, anatomy), self.origin, self.spacing, self.shape)


def fine_grid(
    labels: NDArray[np.int16], protocol: Protocol, whole_head: bool, pose: Pose | None = None
) -> FineGrid:
    """Cells no larger than about half a millimetre, a whole number of them across each slice.

    labels: the head as it lies, moved by `pose`.
    """
    inside = labels > 0 if whole_head else an.select(labels, an.TISSUE)
    box = ndimage.find_objects(inside.astype(np.uint8))[0]
    low = np.array([s.start - MARGIN_MM for s in box], float)
    high = np.array([s.stop + MARGIN_MM for s in box], float)
    in_plane = min(0.55, protocol.acquired_mm)
    slab = max(2, round(protocol.slice_mm / 0.7))
    spacing = np.array([in_plane, in_plane, protocol.slice_mm / slab])
    cells = np.ceil((high - low) / spacing).astype(int)
    shape = (
        int(cells[0]) // 2 * 2,
        int(cells[1]) // 2 * 2,
        int(np.ceil(cells[2] / slab)) * slab,
    )
    tilt = rotation(np.deg2rad([*protocol.tilt_deg, 0.0]))
    return FineGrid(
        shape, spacing, low, scanner.slice_weights(slab, protocol.gap), tilt, pose or Pose()
    )


@dataclass
class Tissue:
    """Maps of a head on the fine grid, bleed-free until `record_echoes` draws bleeds into them.

    amplitude: signal at echo time 0; decay: R2* in 1/s; local_field: shift in ppm by what is
    inside the head; outer_field: by air and bone.
    """

    amplitude: NDArray[np.float32]
    decay: NDArray[np.float32]
    local_field: NDArray[np.float32]
    outer_field: NDArray[np.float32]


def excited(labels: NDArray[np.int16], protocol: Protocol, rng: np.random.Generator) -> signal.Maps:
    """This head's tissue on its labels (X, Y, Z), 1 mm, as the protocol shows it."""
    return signal.tissue_maps(
        labels, protocol.field_t, protocol.tr_ms, protocol.flip_deg, rng, protocol.fresh_fluid
    )


def bleed_free_tissue(
    labels: NDArray[np.int16],
    maps: signal.Maps,
    grid: FineGrid,
    protocol: Protocol,
    rng: np.random.Generator,
) -> Tissue:
    """Textured tissue with veins, arteries and perivascular spaces, and the field of it all.

    labels, maps: on the 1 mm grid, before `grid.pose`. Partial volume is a blur of 0.45 mm and the
    grid's cells.
    """
    amplitude, decay, chi = textured(maps, protocol.field_t, rng)
    if rng.random() < 0.08:
        chi += lesions.siderosis(labels, rng)
    amplitude, decay, local = (grid.from_anatomy(m) for m in (amplitude, decay, chi))
    venous = grid.draw(vasculature.veins(labels, rng), labels.shape)
    local += venous * np.float32(rng.uniform(0.3, 0.6))
    decay += venous * np.float32(15 * protocol.field_t / 3)
    fluid = grid.draw(vasculature.perivascular_spaces(labels, rng), labels.shape)
    wet = signal.steady_state(1.0, signal.FLUID_T1, protocol.tr_ms, protocol.flip_deg)
    amplitude += fluid * (np.float32(wet) - amplitude)
    decay += fluid * (np.float32(signal.decay_rate(signal.FLUID_T2STAR, protocol.field_t)) - decay)
    flow = grid.draw(vasculature.arteries(labels, rng), labels.shape)
    # Blood that flows fast is mostly dark; where it enters the slab fresh, bright.
    amplitude *= 1 + flow * np.float32(rng.uniform(-1.0, -0.6) if rng.random() < 0.75 else 0.4)
    local_field = susceptibility.field_shift(local, grid.spacing, grid.b0)
    outer_field = grid.from_anatomy(
        _outer_field(labels, maps.outer, grid.pose.rotation.T @ grid.b0)
    )
    return Tissue(amplitude, decay, local_field, outer_field)


def textured(
    maps: signal.Maps, field_t: float, rng: np.random.Generator
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
    """Amplitude, decay and local susceptibility, uneven as tissue is and soft at its borders.

    Iron lies in grains, which decay as it does, and more of it in one part of a nucleus than in
    another: old basal ganglia look mottled. Few grains are as dark as a microbleed must be to be
    rated: with twice the mottle, several a head were.
    """
    shape = maps.local.shape
    texture = rng.uniform(0.01, 0.05) * _grain(shape, rng.uniform(0.8, 2.0), rng)
    mottle = rng.uniform(0.03, 0.2) * _grain(shape, rng.uniform(0.6, 1.3), rng)
    mottle += rng.uniform(0, 0.4) * _patches(shape, rng)
    iron_decay = np.float32(signal.iron_decay(field_t)) * np.maximum(maps.local, 0)
    uneven = (
        maps.amplitude * (1 + texture),
        maps.decay + iron_decay * mottle,
        maps.local * (1 + mottle),
    )
    amplitude, decay, chi = (ndimage.gaussian_filter(m, 0.45) for m in uneven)
    return amplitude, decay, chi


def _grain(shape: tuple[int, ...], width: float, rng: np.random.Generator) -> NDArray[np.float32]:
    """Smooth noise of mean 0 and standard deviation 1; width of the blur in voxels."""
    noise = rng.standard_normal(shape, np.float32)
    # White noise blurred by a Gaussian keeps 1 / (2 sqrt(pi) width) of its variance per axis.
    sd = (2 * np.sqrt(np.pi) * width) ** (-len(shape) / 2)
    grain: NDArray[np.float32] = ndimage.gaussian_filter(noise, width) / np.float32(sd)
    return grain


def _patches(shape: tuple[int, ...], rng: np.random.Generator) -> NDArray[np.float32]:
    """`_grain` of about 4 mm, between -1 and 1."""
    coarse = tuple(n // PATCH_MM + 2 for n in shape)
    return refined(np.clip(_grain(coarse, 1.0, rng), -1, 1), shape, PATCH_MM)


def _outer_field(
    labels: NDArray[np.int16], chi: NDArray[np.float32], b0: NDArray[np.float64]
) -> NDArray[np.float32]:
    """Field of air and bone on the 1 mm grid in ppm, after a second-order shim over the brain."""
    # Smooth inside the head, so 2 mm are enough; blurred, or the steps of a label map's surface
    # would make ripples beneath it.
    half = ndimage.gaussian_filter(chi, 1.2)[::2, ::2, ::2]
    field = susceptibility.field_shift(half, np.full(3, 2.0), b0, pad=24)
    brain = np.argwhere(an.select(labels[::2, ::2, ::2], an.TISSUE))[::7]
    centre, scale = brain.mean(0), 50.0

    def terms(points: NDArray[np.int64]) -> NDArray[np.float64]:
        x, y, z = ((points - centre) / scale).T
        return np.stack([np.ones_like(x), x, y, z, x * y, x * z, y * z, x * x, y * y, z * z], -1)

    weights = np.linalg.lstsq(terms(brain), field[tuple(brain.T)].astype(float), rcond=None)[0]
    everywhere = np.indices(field.shape).reshape(3, -1).T
    field = field - (terms(everywhere) @ weights).reshape(field.shape).astype(np.float32)
    return ndimage.gaussian_filter(refined(field, labels.shape, 2), 1.0)  # type: ignore[no-any-return]
