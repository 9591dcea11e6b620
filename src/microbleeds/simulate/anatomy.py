"""Head anatomy: a label map, and the small structures that it lacks."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial import KDTree

from microbleeds.errors import UserError
from microbleeds.simulate.label_map import read_label_map

# FreeSurfer numbers, grouped as the simulation needs them; of a pair, the left side is first.
WHITE = (2, 41)
CORTEX = (3, 42)
VENTRICLES = (4, 5, 14, 15, 43, 44, 72)
LATERAL_VENTRICLES = (4, 43)
CEREBELLUM_WHITE = (7, 46)
CEREBELLUM_CORTEX = (8, 47)
THALAMUS = (10, 49)
STRIATUM = (11, 12, 26, 50, 51, 58)
PALLIDUM = (13, 52)
MEDIAL_TEMPORAL = (17, 18, 53, 54)
VENTRAL_DC = (28, 60)
BRAINSTEM = (16,)
CSF = (24,)
# Structures too small for the label maps, drawn by `add_small_structures`.
SMALL = tuple(range(1001, 1008))
RED_NUCLEUS, NIGRA, DENTATE, MAMILLARY, PINEAL, CHOROID, FALX = SMALL

LEFT_CEREBRUM = (2, 3, 10, 11, 12, 13, 17, 18, 26, 28)
RIGHT_CEREBRUM = (41, 42, 49, 50, 51, 52, 53, 54, 58, 60)
TISSUE = (
    *LEFT_CEREBRUM, *RIGHT_CEREBRUM, *CEREBELLUM_WHITE, *CEREBELLUM_CORTEX, *BRAINSTEM,
    25, 57, 30, 62, 85, RED_NUCLEUS, NIGRA, DENTATE, MAMILLARY,
)  # fmt: skip
NEEDED = (*WHITE, *CORTEX, *THALAMUS)  # without these there is nothing to orient by

# Number, centre from the landmark (mm outward, anterior, up), radii in mm.
_SmallStructure = tuple[int, tuple[float, float, float], tuple[float, float, float]]
_BY_DIENCEPHALON: tuple[_SmallStructure, ...] = (
    (NIGRA, (1, -4, -3), (2.2, 6, 3.2)),
    (RED_NUCLEUS, (-5, -6, 1), (2.6, 3, 3.5)),
    (MAMILLARY, (-7, 5, -6), (2, 2, 2)),
)
_DEEP = (*VENTRAL_DC, *BRAINSTEM, *VENTRICLES, *CSF, *WHITE)

FIRST_OUTSIDE = 500  # labels from here on, but for the small structures, are outside the brain
SKULL, MARROW, SKIN = 515, 516, 511
PLEXUS = (136, 137, 163, 164)  # choroid plexus in SynthSeg's maps, by where it lies
ISLAND_MM3 = 500  # more is no stray bit, but a sinus, an eye or the head around the brain
THIN_MM = 3  # what is thinner, amid the fluid, is a spur of the skull
SULCUS_MM = 8.0  # half the width of what is taken for a sulcus of a brain without its fluid
_IN_WHITE = (77, 78, 79, 251, 252, 253, 254, 255)
LOOSE_MM3 = 200  # bits of the falx up to here would be dark dots in the fluid

SHIPPED_ANATOMY = Path(__file__).parent / "data" / "head.nii.gz"  # held out from all training


@dataclass(frozen=True)
class Anatomy:
    """labels: (X, Y, Z) int16, 1 mm, axes towards R, A, S; `name` for the table of the truth."""

    labels: NDArray[np.int16]
    name: str


def select(labels: NDArray[np.int16], numbers: tuple[int, ...]) -> NDArray[np.bool_]:
    """Where `labels` holds any of `numbers`."""
    table = np.zeros(int(labels.max()) + 1, bool)
    table[[n for n in numbers if n < table.size]] = True
    mask: NDArray[np.bool_] = table[labels]
    return mask


def outside_brain(labels: NDArray[np.int16]) -> NDArray[np.bool_]:
    """Air, and what of the head lies around the brain and its fluid, the skull included."""
    outside: NDArray[np.bool_] = (labels == 0) | (labels >= FIRST_OUTSIDE) & ~select(labels, SMALL)
    return outside


@cache
def load_anatomy(path: Path) -> Anatomy:
    """Read a FreeSurfer-style label map and add the structures that it lacks.

    A map of the brain alone, such as an aseg, gets fluid, skull and skin around it.
    Raises UserError when the file is no label map with white matter, cortex and thalamus.
    """
    labels = read_label_map(path)
    if not set(NEEDED) <= set(np.unique(labels).tolist()):
        raise UserError(
            f"{path} is no label map with FreeSurfer's numbers (at least "
            f"{', '.join(map(str, sorted(NEEDED)))}); give another file to --anatomy."
        )
    if labels.max() < FIRST_OUTSIDE:
        labels = add_surroundings(labels)
    labels = fill_islands(crop_to_head(labels))
    return Anatomy(add_small_structures(labels), path.name.split(".")[0])


def add_surroundings(labels: NDArray[np.int16]) -> NDArray[np.int16]:
    """A brain alone, (X, Y, Z) at 1 mm, with what every head has around it; a larger array.

    The sulci and 2 mm around are filled with fluid, then come 5 mm of skull and 5 mm of skin:
    without them cortex would lie in air, whose field would swamp every other. Parts that aseg tells
    apart within white matter (corpus callosum, hypointensities) become white matter.
    """
    labels = np.pad(labels, 24)
    labels[select(labels, _IN_WHITE)] = WHITE[0]
    grown = ndimage.distance_transform_edt(labels == 0) <= SULCUS_MM
    closed = ndimage.distance_transform_edt(grown) > SULCUS_MM
    depth = ndimage.distance_transform_edt(~closed)
    for number, mm in ((CSF[0], 2), (SKULL, 7), (SKIN, 12)):  # from the inside outwards
        labels[(labels == 0) & (depth <= mm)] = number
    return labels


def crop_to_head(labels: NDArray[np.int16]) -> NDArray[np.int16]:
    """The largest non-air component in its box; stray labels in the air around the head go."""
    parts, _ = ndimage.label(labels > 0)
    box = ndimage.find_objects(parts)
    largest = int(np.argmax(np.bincount(parts.ravel())[1:]))
    return np.where(parts[box[largest]] == largest + 1, labels[box[largest]], 0).astype(np.int16)


def fill_islands(labels: NDArray[np.int16]) -> NDArray[np.int16]:
    """Bits that are dark, or that lie in the brain and are none of it, take the label beside them.

    labels: (X, Y, Z), 1 mm. Segmentations of real heads hold thousands: splinters and thin spurs of
    the skull in the fluid, bone in muscle, air in bone, plexus off the ventricles. Where they are
    dark, they look like microbleeds, and networks that are told they are none learn to leave out
    microbleeds.
    """
    outside = outside_brain(labels)
    padded = np.pad(outside, THIN_MM, constant_values=True)
    solid = ndimage.grey_opening(padded.astype(np.uint8), THIN_MM)[(slice(THIN_MM, -THIN_MM),) * 3]
    labels = _covered(labels, outside & (solid == 0), ~outside)
    labels = _without_bits(labels, outside_brain(labels))
    return without_dark_bits(labels)


def without_dark_bits(labels: NDArray[np.int16]) -> NDArray[np.int16]:
    """`labels` without loose bits of plexus, bone and air up to `ISLAND_MM3`, (X, Y, Z), 1 mm."""
    for numbers in (PLEXUS, (0, SKULL, MARROW), (0,)):
        labels = _without_bits(labels, select(labels, numbers))
    return labels


def _without_bits(labels: NDArray[np.int16], kind: NDArray[np.bool_]) -> NDArray[np.int16]:
    """`labels` without the parts of a kind up to `ISLAND_MM3`."""
    parts, _ = ndimage.label(kind)
    small = np.bincount(parts.ravel()) <= ISLAND_MM3
    return _covered(labels, kind & small[parts], ~kind)


def _covered(
    labels: NDArray[np.int16], bits: NDArray[np.bool_], beside: NDArray[np.bool_]
) -> NDArray[np.int16]:
    """`labels` with those in `bits` replaced by the nearest ones around them that are `beside`."""
    around = np.argwhere(beside & ndimage.binary_dilation(bits))
    covered = labels.copy()
    if len(around):
        _, nearest = KDTree(around).query(np.argwhere(bits))
        covered[bits] = labels[tuple(around[nearest].T)]
    return covered


def add_small_structures(labels: NDArray[np.int16]) -> NDArray[np.int16]:
    """Draw iron-rich and calcified structures as ellipsoids at landmarks, and the falx.

    labels: (X, Y, Z), 1 mm, RAS, with both thalami; a structure whose landmark is missing is left
    out. Places and sizes in round figures, after standard atlases.
    """
    labels = labels.copy()
    middle = np.argwhere(select(labels, THALAMUS)).mean(0)
    for side, outward in enumerate((-1.0, 1.0)):
        diencephalon = np.argwhere(labels == VENTRAL_DC[side])
        if len(diencephalon):
            centre = diencephalon.mean(0)
            centre[0] = middle[0] + outward * 10
            for number, (x, y, z), radii in _BY_DIENCEPHALON:
                fill_ellipsoid(labels, centre + np.array([x * outward, y, z]), radii, number, _DEEP)
        cerebellum = np.argwhere(labels == CEREBELLUM_WHITE[side])
        if len(cerebellum):
            centre = cerebellum.mean(0)
            centre[0] = middle[0] + outward * 14
            fill_ellipsoid(labels, centre, (5, 7, 4), DENTATE, CEREBELLUM_WHITE)
        ventricle = np.argwhere(labels == LATERAL_VENTRICLES[side])
        atrium = ventricle[ventricle[:, 1] < middle[1] - 8]
        if len(atrium) > 20:
            fill_ellipsoid(labels, atrium.mean(0), (3, 7, 5), CHOROID, VENTRICLES)
    pineal = middle + np.array([0, -11, -4])
    fill_ellipsoid(labels, pineal, (2.5, 3.5, 2.5), PINEAL, (*_DEEP, *THALAMUS))
    labels[falx(labels)] = FALX
    return labels


def fill_ellipsoid(
    labels: NDArray[np.int16],
    centre: NDArray[np.float64],
    radii: tuple[float, float, float],
    number: int,
    inside: tuple[int, ...],
) -> None:
    """Write `number` into an ellipsoid where `labels` holds any of `inside`, in place."""
    low = [max(0, int(c - r) - 1) for c, r in zip(centre, radii, strict=True)]
    high = [int(c + r) + 3 for c, r in zip(centre, radii, strict=True)]
    box = labels[tuple(slice(a, b) for a, b in zip(low, high, strict=True))]
    if not box.size:
        return
    axes = np.ogrid[tuple(slice(n) for n in box.shape)]
    distance2 = sum(
        ((axis + a - c) / r) ** 2 for axis, a, c, r in zip(axes, low, centre, radii, strict=True)
    )
    box[(distance2 <= 1) & select(box, inside)] = number


def falx(labels: NDArray[np.int16]) -> NDArray[np.bool_]:
    """CSF about equally far from both hemispheres: the midline sheet of dura, no loose bits."""
    cerebrum = select(labels, LEFT_CEREBRUM + RIGHT_CEREBRUM)
    middle = ndimage.find_objects(cerebrum.astype(np.uint8))[0]
    half = (middle[0].start + middle[0].stop) // 2
    box = (slice(max(0, half - 20), half + 20), middle[1], middle[2])
    left, right = (
        ndimage.distance_transform_edt(~select(labels[box], side))
        for side in (LEFT_CEREBRUM, RIGHT_CEREBRUM)
    )
    sheet = np.zeros(labels.shape, bool)
    between = (np.abs(left - right) < 0.8) & (left < 12) & select(labels[box], CSF)
    parts, _ = ndimage.label(between, np.ones((3, 3, 3)))
    sheet[box] = between & (np.bincount(parts.ravel()) > LOOSE_MM3)[parts]
    return sheet


def brain_mask(labels: NDArray[np.int16]) -> NDArray[np.bool_]:
    """Brain with ventricles, sulci and a millimetre of fluid around it, without holes.

    labels: (X, Y, Z), 1 mm. What no label names within the brain, such as vessels, belongs to it.
    """
    tissue = np.pad(select(labels, (*TISSUE, *VENTRICLES, PINEAL, CHOROID)), 6)
    ball = ndimage.generate_binary_structure(3, 1)
    closed = ndimage.binary_erosion(ndimage.binary_dilation(tissue, ball, 5), ball, 4)
    filled: NDArray[np.bool_] = ndimage.binary_fill_holes(closed[6:-6, 6:-6, 6:-6] & (labels > 0))
    return filled
