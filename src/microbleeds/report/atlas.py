"""The atlas of MARS regions in MNI space."""

from __future__ import annotations

from pathlib import Path

_DATA = Path(__file__).parent / "data"
ATLAS = _DATA / "mars_regions.nii.gz"
TEMPLATE = _DATA / "mni152_t1.nii.gz"

INFRATENTORIAL = ("brainstem", "cerebellum")
DEEP = (
    "thalamus", "basal ganglia", "internal capsule", "external capsule", "corpus callosum",
    "deep and periventricular white matter",
)  # fmt: skip
LOBAR = ("frontal", "parietal", "temporal", "occipital", "insula")
REGIONS = (*INFRATENTORIAL, *DEEP, *LOBAR)  # region number i of the atlas is REGIONS[i - 1]
