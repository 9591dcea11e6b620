"""The tables of the group level: their columns, in words, and their cells."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from microbleeds.mni.atlas import GROUPS, REGIONS
from microbleeds.report.burden import BURDEN_SOURCE
from microbleeds.study.group_row import STEPS, ScanRow, printable

_MARS = "Microbleed Anatomical Rating Scale; n/a where the scan was not registered to the atlas"
FAILURE_COLUMNS = ("name", "contrast", "source", "sentence")


def _column(region: str) -> str:
    return region.replace(" ", "_")


# of each column what it holds, and the unit where it has one; times last, since they alone differ
# when the same scans are run again
COLUMNS: Mapping[str, tuple[str, str | None]] = {
    "participant_id": ("Participant, where the scan has a BIDS name", None),
    "session_id": ("Session, where the scan has a BIDS name with one", None),
    "scan": ("What the names of the scan's results begin with", None),
    "contrast": ("Kind of image: t2star, swi or qsm", None),
    "microbleeds": ("Number of microbleeds", None),
    "burden": (f"Class of the number of microbleeds ({BURDEN_SOURCE})", None),
    "definite": ("Microbleeds that reach the thresholds of the operating point precise", None),
    "expected": ("Sum of the candidates' probabilities", None),
    "interval_low": ("Lower end of the 95 % interval of the number of microbleeds", None),
    "interval_high": ("Upper end of the 95 % interval of the number of microbleeds", None),
    **{group: (f"Microbleeds in the {group} regions ({_MARS})", None) for group in GROUPS},
    **{_column(region): (f"Microbleeds in this region ({_MARS})", None) for region in REGIONS},
    "pattern": ("How the microbleeds are spread: strictly lobar, strictly deep, mixed ...", None),
    "volume_mm3": ("Volume of all microbleeds together", "mm^3"),
    "brain_cm3": ("Volume of the brain mask", "cm^3"),
    "voxel_i_mm": ("Voxel side along the first axis of the image", "mm"),
    "voxel_j_mm": ("Voxel side along the second axis of the image", "mm"),
    "voxel_k_mm": ("Voxel side along the third axis of the image", "mm"),
    "candidates": ("Candidates of step 1, kept or dropped", None),
    "flags": ("Reasons to look twice, separated by commas; the record has the sentences", None),
    "model": ("Model that found the microbleeds", None),
    "version": ("Version of microbleeds that found them", None),
    "record": ("Path of the scan's JSON record, from the folder of this table", None),
    **{column: (f"Time of one part of the work: {step}", "s") for step, column in STEPS.items()},
    "seconds": ("Time of the whole scan, without reading and writing", "s"),
}


def cells(row: ScanRow) -> dict[str, Any]:
    """The cells of a scan, by column."""
    regions = row.regions or dict.fromkeys(REGIONS)
    groups = {
        group: row.regions and sum(row.regions[region] for region in members)
        for group, members in GROUPS.items()
    }
    return {
        "participant_id": row.participant,
        "session_id": row.session,
        "scan": row.scan,
        "contrast": row.contrast,
        "microbleeds": row.microbleeds,
        "burden": row.burden,
        "definite": row.definite,
        "expected": round(row.expected, 3),
        "interval_low": row.low,
        "interval_high": row.high,
        **groups,
        **{_column(region): number for region, number in regions.items()},
        "pattern": row.pattern,
        "volume_mm3": row.volume_mm3,
        "brain_cm3": row.brain_cm3,
        **dict(zip(("voxel_i_mm", "voxel_j_mm", "voxel_k_mm"), row.voxel_mm, strict=True)),
        "candidates": row.candidates,
        "flags": ",".join(row.flags),
        "model": row.model,
        "version": row.version,
        "record": printable(row.record),
        **{column: row.seconds.get(step) for step, column in STEPS.items()},
        "seconds": round(sum(row.seconds.values()), 3),
    }
