"""Scans unlike anything the networks saw: what is measured, the range of it in training, words."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path

from microbleeds.prepare.traits import Traits
from microbleeds.settings import Contrast

KINDS: Mapping[Contrast, str] = {"t2star": "magnitude", "swi": "magnitude", "qsm": "qsm"}
RANGES = Path(__file__).with_name("seen.json")  # by benchmarks/unusual.py

# of each trait: what it is called, how it is written, what to say below and above the range
_WORDS: Mapping[str, tuple[str, str, str, str, str]] = {
    "in_plane_mm": (
        "Voxel side in the slice", "{:.2f}", " mm",
        "the voxels are small", "the voxels are coarse in the slice",
    ),
    "slice_mm": (
        "Distance between slices", "{:.1f}", " mm", "the slices are thin", "the slices are thick",
    ),
    "brain_cm3": (
        "Brain in the mask", "{:.0f}", " cm³",
        "there is little brain (is the coverage partial, or the mask wrong?)",
        "the brain mask is large (does it hold more than brain?)",
    ),
    "cut": (
        "Brain cut off by the image's edge", "{:.0%}", " of its largest section",
        "", "the image ends inside the brain, so a part of it was not looked at",
    ),
    "noise": (
        "Noise to signal", "{:.3f}", "", "the image is very smooth", "the image is noisy",
    ),
    "dark": (
        "Very dark part of the brain", "{:.1%}", "",
        "hardly anything in the brain is dark", "much of the brain is dark",
    ),
    "bright": (
        "Very bright part of the brain", "{:.1%}", "",
        "hardly anything in the brain is bright", "much of the brain is bright",
    ),
    "rim": (
        "Rim of the brain darker than its middle by", "{:.2f}", "",
        "the brain's rim is bright beside its middle", "the brain's rim is dark beside its middle",
    ),
}  # fmt: skip


TRAIT_NAMES: Mapping[str, str] = {name: words[0] for name, words in _WORDS.items()}


@dataclass(frozen=True)
class Compared:
    """A trait of a scan beside its range in the training simulation, as text.

    name: of the field of Traits. reason: why that makes the scan unlike them; empty within the
    range.
    """

    name: str
    trait: str
    value: str
    seen: str
    reason: str


def compare(traits: Traits, contrast: Contrast) -> tuple[Compared, ...]:
    """Every trait of a scan beside what simulated heads of its kind had.

    The networks are not told T2*-GRE from SWI, so both have the ranges of both.
    """
    rows = []
    for name, value in asdict(traits).items():
        trait, form, unit, below, above = _WORDS[name]
        low, high = _ranges()[KINDS[contrast]][name]
        written, least, most = (form.format(x).replace("-", "−") for x in (value, low, high))
        reason = below if value < low else above if value > high else ""
        rows.append(Compared(name, trait, written + unit, f"{least} to {most}{unit}", reason))
    return tuple(rows)


def unusual(traits: Traits, contrast: Contrast) -> dict[str, str]:
    """A sentence for each trait, by its name, that none of the simulated heads had."""
    return {
        row.name: f"unlike the heads the networks learnt from, {row.reason}: "
        f"{row.trait[0].lower()}{row.trait[1:]} {row.value}, there {row.seen}"
        for row in compare(traits, contrast)
        if row.reason
    }


@cache
def _ranges() -> dict[str, dict[str, tuple[float, float]]]:
    ranges: dict[str, dict[str, tuple[float, float]]] = json.loads(RANGES.read_text("utf-8"))
    return ranges
