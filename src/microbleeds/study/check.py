"""Whether two visits can be compared at all, and what to say when that is in doubt."""

from __future__ import annotations

import numpy as np

from microbleeds.errors import UserError
from microbleeds.study.registration import Registration
from microbleeds.study.visit import Visit

# Simulated pairs (docs/visits.md): similarity is 0.7 and more for one head, 0.3 and less for two.
REFUSED_SIMILARITY, DOUBTED_SIMILARITY = 0.35, 0.6
DOUBTED_OVERLAP = 0.95
REFUSED_COMMON, DOUBTED_COMMON = 0.25, 0.9
SLICE_RATIO = 1.5


def check_visits(baseline: Visit, follow_up: Visit) -> list[str]:
    """What the user should know of two scans before they are registered.

    Raises UserError when they are one image, or one is a QSM and the other is not.
    """
    one, two = baseline.scan, follow_up.scan
    if one.voxels.shape == two.voxels.shape and np.array_equal(one.voxels, two.voxels):
        raise UserError(
            f"{one.name} and {two.name} hold the same image, voxel by voxel; give the scans of two "
            "visits."
        )
    if (one.contrast == "qsm") != (two.contrast == "qsm"):
        raise UserError(
            f"The baseline is {one.contrast} and the follow-up {two.contrast}: a QSM can be "
            "compared with a QSM only; give two scans of one contrast."
        )
    notes = []
    if one.contrast != two.contrast:
        notes.append(
            f"the baseline is {one.contrast} and the follow-up {two.contrast}, which show bleeds "
            "unequally: what is new may only be newly seen"
        )
    thick = sorted(float(scan.spacing.max()) for scan in (one, two))
    if thick[1] > SLICE_RATIO * thick[0]:
        notes.append(
            f"voxels are up to {thick[1]:.1f} mm long at one visit and {thick[0]:.1f} mm at the "
            "other: what is new or gone may be a matter of slices"
        )
    return notes


def check_registration(found: Registration, baseline: str, follow_up: str) -> list[str]:
    """What the user should know of the registration.

    Raises UserError when there is none to go by: too little in common, or another head.
    """
    if found.common < REFUSED_COMMON:
        raise UserError(
            f"{baseline} and {follow_up} have {found.common:.0%} of the brain in common, which is "
            "too little to compare; give two scans that cover the same part of the head."
        )
    if found.similarity < REFUSED_SIMILARITY:
        raise UserError(
            f"{baseline} and {follow_up} do not show the same brain, or could not be registered "
            f"(correlation of details {found.similarity:.2f}, {REFUSED_SIMILARITY} is the least; "
            f"overlap of the brains {found.overlap:.2f}); check that both are of one person."
        )
    notes = []
    if found.similarity < DOUBTED_SIMILARITY or found.overlap < DOUBTED_OVERLAP:
        notes.append(
            f"the registration is in doubt (correlation of details {found.similarity:.2f}, overlap "
            f"of the brains {found.overlap:.2f}): look at the pictures, and whether both scans are "
            "of one person"
        )
    if found.common < DOUBTED_COMMON:
        notes.append(
            f"only {found.common:.0%} of the smaller brain is in both scans; nothing is said of "
            "the rest"
        )
    return notes
