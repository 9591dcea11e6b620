"""The atlas of MARS regions in MNI space, and the template it lies on."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

_DATA = Path(__file__).parent / "data"
ATLAS = _DATA / "mars_regions.nii.gz"
TEMPLATE = _DATA / "mni152_t1.nii.gz"
ZONE_MM = 8.0  # around the deep regions, and how softly the zone ends

# Microbleed Anatomical Rating Scale, Gregoire et al., Neurology 73:1759 (2009), the rating form.
INFRATENTORIAL = ("brainstem", "cerebellum")
DEEP = (
    "thalamus", "basal ganglia", "internal capsule", "external capsule", "corpus callosum",
    "deep and periventricular white matter",
)  # fmt: skip
LOBAR = ("frontal", "parietal", "temporal", "occipital", "insula")
REGIONS = (*INFRATENTORIAL, *DEEP, *LOBAR)  # region number i of the atlas is REGIONS[i - 1]
SIDES = ("left", "right")
GROUPS = {"infratentorial": INFRATENTORIAL, "deep": DEEP, "lobar": LOBAR}


@dataclass(frozen=True)
class MniImage:
    """values: (X, Y, Z) or several such, (N, X, Y, Z), RAS.

    affine: (4, 4) voxel index to MNI mm, along MNI's axes.
    """

    values: NDArray[Any]
    affine: NDArray[np.float64]

    def voxels(self, places_mm: NDArray[np.float64]) -> NDArray[np.float64]:
        """Voxel indices (3, P), not rounded, of places (P, 3) in MNI mm."""
        return np.asarray(np.linalg.solve(self.affine[:3, :3], (places_mm - self.affine[:3, 3]).T))


@cache
def load_atlas() -> MniImage:
    """Region numbers (uint8) at 2 mm; beyond the brain those of the nearest, 0 far from it."""
    return _load(ATLAS)


@cache
def load_template() -> MniImage:
    """T1-weighted grey values (uint8) at 4 mm, 0 outside the brain."""
    return _load(TEMPLATE)


@cache
def deep_zone() -> MniImage:
    """1 in and near the deep regions, falling softly to 0 (float32), at 4 mm."""
    atlas = load_atlas()
    affine = atlas.affine @ np.diag([2.0, 2.0, 2.0, 1.0])
    numbers = [REGIONS.index(region) + 1 for region in DEEP]
    deep = np.isin(atlas.values[::2, ::2, ::2], numbers)
    voxels = ZONE_MM / affine[0, 0]
    near = ndimage.distance_transform_edt(~deep) <= voxels
    return MniImage(ndimage.gaussian_filter(near.astype(np.float32), voxels), affine)


def group_of(region: str) -> str:
    """Infratentorial, deep or lobar; empty for no region."""
    return next((name for name, regions in GROUPS.items() if region in regions), "")


def _load(path: Path) -> MniImage:
    image = nib.load(path)
    return MniImage(np.asarray(image.dataobj, np.uint8), np.asarray(image.affine, np.float64))
