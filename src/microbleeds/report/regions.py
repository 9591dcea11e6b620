"""Where the candidates lie: their regions and sides, and what follows from them.

Regions, and definite and possible microbleeds apart, as in the Microbleed Anatomical Rating Scale
(MARS; Gregoire et al., Neurology 73:1759, 2009: Methods, and the rating form).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from microbleeds.mni.atlas import GROUPS, REGIONS, SIDES, group_of
from microbleeds.mni.coarse import coarse_scan
from microbleeds.mni.regions import HeadRegions, RegionNetwork, head_regions
from microbleeds.mni.register import register_to_mni
from microbleeds.models.card import Thresholds
from microbleeds.pipeline import Detections
from microbleeds.report.files import write_table
from microbleeds.scan import Scan
from microbleeds.steps import Candidate

MARS_COLUMNS = ("group", "region", "side", "definite", "possible")


def locate_regions(
    scan: Scan, brain: NDArray[np.bool_], network: RegionNetwork, threads: int = 0
) -> HeadRegions:
    """What each place of a scan is; brain: bool, the scan's shape; threads: as for `detect`."""
    head = coarse_scan(scan, brain)
    return head_regions(head, register_to_mni(head, threads), network)


def name_regions(found: Detections, located: Callable[[], HeadRegions]) -> Detections:
    """The detections of a scan with the region and side of every candidate.

    located: gives the regions, at once where they were worked out beside the detection; the time
    that this takes is the step's. Without a trustworthy registration no candidate gets a region;
    `registration.problem` says why.
    """
    start = time.perf_counter()
    regions = located()
    places = regions.at(np.array([row.xyz_mm for row in found.table]).reshape(-1, 3))
    table = tuple(
        replace(row, region=region, side=side)
        for row, (region, side) in zip(found.table, places, strict=True)
    )
    seconds = found.seconds | {"regions": round(time.perf_counter() - start, 3)}
    return replace(found, table=table, registration=regions.registration, seconds=seconds)


def distribution(microbleeds: Sequence[Candidate]) -> str:
    """How the microbleeds are spread over the brain; "not known" where a region is missing.

    Strictly lobar, strictly deep and mixed as in Blanc et al., Frontiers in Neurology 10:1126
    (2019), Methods. Writers differ in where the brainstem and the cerebellum belong; here they
    are named and change none of the three.
    """
    groups = {group_of(row.region) for row in microbleeds}
    if "" in groups:
        return "not known"
    cerebral = {
        frozenset(): "",
        frozenset({"lobar"}): "strictly lobar",
        frozenset({"deep"}): "strictly deep",
        frozenset({"deep", "lobar"}): "mixed",
    }[frozenset(groups - {"infratentorial"})]
    if "infratentorial" not in groups:
        return cerebral or "none"
    return f"{cerebral}, and infratentorial" if cerebral else "infratentorial only"


def count_regions(microbleeds: Sequence[Candidate]) -> dict[str, int]:
    """How many microbleeds each region of MARS holds, both sides together."""
    return {region: sum(row.region == region for row in microbleeds) for region in REGIONS}


def count_definite(microbleeds: Sequence[Candidate], definite: Thresholds) -> int:
    """How many microbleeds reach the thresholds `definite`."""
    return sum(
        bleed.detector_probability >= definite.detector and bleed.probability >= definite.student
        for bleed in microbleeds
    )


def write_mars(path: Path, microbleeds: Sequence[Candidate], definite: Thresholds) -> None:
    """The counts in the rows of MARS: every region on either side; last, those without a region.

    The scale calls a microbleed definite or possible by its look. Here a definite one reaches the
    thresholds `definite`, those of the operating point "precise"; the others are possible.
    """
    rows = [
        {"group": group, "region": region, "side": side}
        for group, regions in GROUPS.items()
        for region in regions
        for side in SIDES
    ]
    rows.append({"group": "", "region": "", "side": ""})
    for row in rows:
        here = [m for m in microbleeds if (m.region, m.side) == (row["region"], row["side"])]
        sure = count_definite(here, definite)
        row |= {"definite": str(sure), "possible": str(len(here) - sure)}
    write_table(path, rows, MARS_COLUMNS)
