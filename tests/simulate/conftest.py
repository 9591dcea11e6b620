"""A small head of ellipsoids and a way to simulate it fast."""

import numpy as np
import pytest

from microbleeds.simulate import HeadSettings, head
from microbleeds.simulate import anatomy as an
from microbleeds.simulate.deform import AnatomyRanges
from microbleeds.simulate.lesions import LesionRanges
from microbleeds.simulate.scanner import Protocol

SIZE, MIDDLE = 60, 29.5


def inside(centre, radii):
    axes = np.ogrid[:SIZE, :SIZE, :SIZE]
    return sum(((a - c) / r) ** 2 for a, c, r in zip(axes, centre, radii, strict=True)) <= 1


@pytest.fixture(scope="session")
def small_labels():
    """FreeSurfer numbers of a head 56 mm across, (60, 60, 60), 1 mm, RAS."""
    labels = np.zeros((SIZE, SIZE, SIZE), np.int16)
    x = np.arange(SIZE)[:, None, None]
    for radius, number in ((28, 511), (26.5, 515), (24.5, 24)):
        labels[inside([MIDDLE] * 3, [radius] * 3)] = number
    for side, sign in enumerate((-1, 1)):
        half = np.broadcast_to(x < MIDDLE - 1 if sign < 0 else x > MIDDLE + 1, labels.shape)
        for number, (out, front, up), radii in (
            (an.CORTEX[side], (0, 0, 0), (23, 23, 23)),
            (an.WHITE[side], (0, 0, 0), (20, 20, 20)),
            (an.LATERAL_VENTRICLES[side], (6, -2, 7), (3, 13, 3)),
            ((11, 50)[side], (12, 5, 2), (4, 6, 5)),
            (an.PALLIDUM[side], (9, 3, 0), (2, 3, 3)),
            (an.THALAMUS[side], (6, -1, 0), (5, 6, 4)),
            (an.VENTRAL_DC[side], (8, 0, -6), (7, 8, 4)),
            (an.CEREBELLUM_CORTEX[side], (9, -9, -13), (7, 7, 5)),
            (an.CEREBELLUM_WHITE[side], (9, -9, -13), (5, 5, 3)),
        ):
            centre = MIDDLE + np.array([sign * out, front, up])
            labels[half & inside(centre, radii)] = number
    labels[inside(MIDDLE + np.array([0, -3, -15]), (3, 3, 7))] = an.BRAINSTEM[0]
    return labels


@pytest.fixture(scope="session")
def small_head(small_labels):
    """The same as an Anatomy, small structures drawn."""
    return an.Anatomy(an.add_small_structures(small_labels), "ball")


@pytest.fixture(scope="session")
def small_field():
    """Simulate a field of view of 60 mm instead of a life-size one."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(head, "HEAD_MM", (SIZE,) * 3)
        patch.setattr(head, "BRAIN_MM", (SIZE,) * 3)
        yield


@pytest.fixture(scope="session")
def simulate(small_head, small_field):
    """simulate_head on the small head: a coarse scan unless told otherwise, nothing deformed."""

    def run(seed=0, contrasts=("t2star",), count=4, whole_head=False, **protocol):
        return head.simulate_head(
            small_head,
            Protocol(**{"acquired_mm": 0.9, "pixel_mm": 0.9, "slice_mm": 2.0, **protocol}),
            contrasts,
            HeadSettings(
                anatomy=AnatomyRanges(0, 0, 0, 24, 0, 0),
                lesions=LesionRanges(
                    (count, count), 0.8, 0.0, susceptibility_ppm=(2.0, 2.5), cluster_chance=0
                ),
                whole_head=whole_head,
            ),
            np.random.default_rng(seed),
        )

    return run
