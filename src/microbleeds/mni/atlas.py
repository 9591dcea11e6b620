"""The atlas of MARS regions in MNI space, and the template it lies on."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path

import nibabel as nib
import numpy as np
from numpy.typing import NDArray

_DATA = Path(__file__).parent / "data"
ATLAS = _DATA / "mars_regions.nii.gz"
TEMPLATE = _DATA / "mni152_t1.nii.gz"

# Microbleed Anatomical Rating Scale, Gregoire et al., Neurology 73:1759 (2009).
INFRATENTORIAL = ("brainstem", "cerebellum")
DEEP = (
    "thalamus", "basal ganglia", "internal capsule", "external capsule", "corpus callosum",
    "deep and periventricular white matter",
)  # fmt: skip
LOBAR = ("frontal", "parietal", "temporal", "occipital", "insula")
REGIONS = (*INFRATENTORIAL, *DEEP, *LOBAR)  # region number i of the atlas is REGIONS[i - 1]
GROUPS = {"infratentorial": INFRATENTORIAL, "deep": DEEP, "lobar": LOBAR}


@dataclass(frozen=True)
class MniImage:
    """values: (X, Y, Z) uint8, RAS; affine: (4, 4) voxel index to MNI mm, along MNI's axes."""

    values: NDArray[np.uint8]
    affine: NDArray[np.float64]


@cache
def load_atlas() -> MniImage:
    """Region numbers at 2 mm, 0 outside the brain."""
    return _load(ATLAS)


@cache
def load_template() -> MniImage:
    """T1-weighted grey values at 4 mm, 0 outside the brain."""
    return _load(TEMPLATE)


def group_of(region: str) -> str:
    """Infratentorial, deep or lobar; empty for no region."""
    return next((name for name, regions in GROUPS.items() if region in regions), "")


def _load(path: Path) -> MniImage:
    image = nib.load(path)
    return MniImage(np.asarray(image.dataobj, np.uint8), np.asarray(image.affine, np.float64))
