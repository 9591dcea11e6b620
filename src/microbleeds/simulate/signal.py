"""Tissue properties and the gradient-echo signal, dephasing within the voxel included."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from microbleeds.simulate import anatomy as an

GYROMAGNETIC_MHZ_PER_T = 42.577


@dataclass(frozen=True)
class Tissue:
    """density relative to water; T1, T2* in ms at 3 T; susceptibility in ppm relative to CSF."""

    density: float
    t1: float
    t2star: float
    susceptibility: float = 0.0
    iron: float = 0.0  # ppm that vary with age, on top


FLUID_T1, FLUID_T2STAR = 4200, 350  # ms, cerebrospinal fluid at 3 T
FLUID = Tissue(1.0, FLUID_T1, FLUID_T2STAR)

# Round figures from the literature at 3 T; every head draws its own around them.
TISSUES: tuple[tuple[tuple[int, ...], Tissue], ...] = (
    (an.WHITE, Tissue(0.71, 850, 50, -0.03)),
    (an.CORTEX, Tissue(0.81, 1350, 58, 0.01)),
    (an.CEREBELLUM_WHITE, Tissue(0.73, 900, 48, -0.02)),
    (an.CEREBELLUM_CORTEX, Tissue(0.81, 1350, 54, 0.01)),
    ((*an.CSF, *an.VENTRICLES, 506), FLUID),
    (an.THALAMUS, Tissue(0.77, 1150, 52, 0.0, 0.02)),
    (an.STRIATUM, Tissue(0.80, 1250, 55, 0.01, 0.07)),
    (an.PALLIDUM, Tissue(0.75, 950, 46, 0.02, 0.13)),
    (an.MEDIAL_TEMPORAL, Tissue(0.82, 1400, 55, 0.0)),
    (an.VENTRAL_DC, Tissue(0.76, 1050, 48, 0.0, 0.03)),
    ((*an.BRAINSTEM, 512), Tissue(0.74, 1000, 52, -0.01)),
    ((25, 57), Tissue(0.9, 1500, 75, 0.01)),
    ((30, 62, 85), Tissue(0.75, 1000, 50)),
    ((an.RED_NUCLEUS, an.NIGRA, an.DENTATE), Tissue(0.76, 1000, 45, 0.02, 0.11)),
    ((an.MAMILLARY,), Tissue(0.74, 950, 40, 0.0, 0.05)),
    ((an.PINEAL,), Tissue(0.6, 1200, 20, -0.5)),
    ((an.CHOROID,), Tissue(0.8, 1600, 35, -0.1)),
    ((an.FALX,), Tissue(0.6, 900, 20, 0.05)),
    ((an.SKULL,), Tissue(0.1, 400, 3, -2.0)),
    ((an.MARROW,), Tissue(0.45, 400, 12, -0.8)),
    ((an.SKIN, 508), Tissue(0.8, 400, 30, 0.2)),
)
OTHER = Tissue(0.7, 900, 30)  # soft tissue outside the skull
TISSUE_TO_AIR = -9.4  # ppm, water-like tissue relative to air


@dataclass(frozen=True)
class Maps:
    """Properties on the 1 mm anatomy grid, all (X, Y, Z) float32.

    amplitude: signal at echo time 0; decay: R2* in 1/s; local: susceptibility in ppm of what is
    inside the head; outer: susceptibility relative to air of tissue against air and bone.
    """

    amplitude: NDArray[np.float32]
    decay: NDArray[np.float32]
    local: NDArray[np.float32]
    outer: NDArray[np.float32]


def steady_state(density: float, t1: float, tr_ms: float, flip_deg: float) -> float:
    """Spoiled gradient-echo signal at echo time 0 (Ernst formula)."""
    decay, flip = np.exp(-tr_ms / t1), np.deg2rad(flip_deg)
    return float(density * np.sin(flip) * (1 - decay) / (1 - decay * np.cos(flip)))


def recovery_time(t1_ms: float, field_t: float) -> float:
    """T1 in ms at another field strength, of a tissue that has `t1_ms` at 3 T.

    What tissue adds to the rate of free water falls as the field grows: white matter of 850 ms has
    650 ms at 1.5 T, fluid stays as it is (Rooney et al. 2007, Magn. Reson. Med. 57:308).
    """
    water = 1 / FLUID_T1
    return 1 / (water + (1 / t1_ms - water) * float((3 / field_t) ** 0.47))


def decay_rate(t2star_ms: float, field_t: float) -> float:
    """R2* in 1/s at another field strength: a constant part and one that grows with the field.

    t2star_ms: at 3 T.
    """
    return 1000 / t2star_ms * (0.35 + 0.65 * field_t / 3)


def iron_decay(field_t: float) -> float:
    """R2* in 1/s that each ppm of iron adds: old putamen is half as bright as white matter."""
    return 150 * field_t / 3


def tissue_maps(
    labels: NDArray[np.int16],
    field_t: float,
    tr_ms: float,
    flip_deg: float,
    rng: np.random.Generator,
    fresh_fluid: float = 0.0,
) -> Maps:
    """Draw this head's tissue properties and paint them on the labels (X, Y, Z), 1 mm.

    fresh_fluid: share of the fluid that has flowed in since the excitation before, not saturated.
    """
    iron = rng.uniform(0.3, 2.6)
    table = np.zeros((4, max(int(labels.max()), 1100) + 1), np.float32)
    table[:] = np.array(_row(OTHER, 1.0, field_t, tr_ms, flip_deg))[:, None]
    for numbers, tissue in TISSUES:
        row = _row(_vary(tissue, rng), iron, field_t, tr_ms, flip_deg)
        table[:, list(numbers)] = np.array(row)[:, None]
        if tissue is FLUID:
            fresh = np.float32(np.sin(np.deg2rad(flip_deg)))
            table[0, list(numbers)] += fresh_fluid * (fresh - row[0])
    table[:, 0] = 0
    amplitude, decay, local, outer = (table[i][labels] for i in range(4))
    return Maps(amplitude, decay, local, outer)


def _vary(tissue: Tissue, rng: np.random.Generator) -> Tissue:
    """The tissue as one person has it; calcification may be absent."""
    spread = rng.normal(1, [0.04, 0.08, 0.1])
    calcified = tissue.susceptibility < -0.05 and tissue.density > 0.5
    sway = rng.uniform(0, 2) if calcified else rng.normal(1, 0.2)
    return Tissue(
        tissue.density * spread[0],
        tissue.t1 * spread[1],
        tissue.t2star * spread[2],
        tissue.susceptibility * sway,
        tissue.iron * rng.uniform(0.6, 1.4),
    )


def _row(
    tissue: Tissue, iron: float, field_t: float, tr_ms: float, flip_deg: float
) -> tuple[float, float, float, float]:
    """Amplitude, decay, local and outer susceptibility of one tissue, as in `Maps`."""
    bone = min(tissue.susceptibility, 0) if tissue.density < 0.5 else 0.0
    local = 0.0 if bone < 0 else tissue.susceptibility + iron * tissue.iron
    return (
        steady_state(tissue.density, recovery_time(tissue.t1, field_t), tr_ms, flip_deg),
        decay_rate(tissue.t2star, field_t) + iron_decay(field_t) * iron * tissue.iron,
        local,
        TISSUE_TO_AIR + bone,
    )


def dephasing_rate(
    field_ppm: NDArray[np.float32], te_ms: float, field_t: float
) -> NDArray[np.float32]:
    """Decay in 1/s that the slope of the field adds within each cell, of the field's shape.

    Phase that differs by d across a cell has the variance d²/12, and so exp(-d²/24) of the signal
    is left. In plane (the first two axes), more than half a turn a cell also shifts the echo out
    of k-space (Reichenbach et al. 1997), where the Fourier transform alone would fold it back.
    """
    turn = np.float32(2 * np.pi * GYROMAGNETIC_MHZ_PER_T * field_t * te_ms / 1000)
    loss = np.zeros(field_ppm.shape, np.float32)
    for axis in range(3):
        if field_ppm.shape[axis] < 2:
            continue
        square = np.square(turn * np.gradient(field_ppm, axis=axis))
        loss += square / 24
        if axis < 2:
            loss += (square / np.float32(np.pi**2)) ** 4
    return np.minimum(loss, 50) * np.float32(1000 / te_ms)


def gradient_echo(
    amplitude: NDArray[np.float32],
    decay: NDArray[np.float32],
    field_ppm: NDArray[np.float32],
    te_ms: float,
    field_t: float,
) -> NDArray[np.complex64]:
    """Complex signal of each small cell, amplitude exp(-TE R2* + 2 pi i gamma B0 TE field).

    decay: R2* in 1/s. All arrays of one shape. Dephasing is the average over cells.
    """
    magnitude = amplitude * np.exp(np.float32(-te_ms / 1000) * decay)
    phase = field_ppm * np.float32(2 * np.pi * GYROMAGNETIC_MHZ_PER_T * field_t * te_ms / 1000)
    signal = np.empty(phase.shape, np.complex64)
    np.multiply(magnitude, np.cos(phase), out=signal.real)
    np.multiply(magnitude, np.sin(phase), out=signal.imag)
    return signal
