"""One head scanned again: same anatomy, tissue and vessels; another pose, protocol and noise."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np

from microbleeds.settings import Contrast
from microbleeds.simulate import HeadSettings, SimulatedHead, head, lesions
from microbleeds.simulate.anatomy import Anatomy
from microbleeds.simulate.deform import deform
from microbleeds.simulate.echoes import record_echoes
from microbleeds.simulate.images import scan_images
from microbleeds.simulate.pose import Pose
from microbleeds.simulate.scanner import Protocol
from microbleeds.simulate.tissue import bleed_free_tissue, excited, fine_grid


@dataclass(frozen=True)
class Visit:
    """How a head is scanned once. new: microbleeds that it has got since the visit before."""

    protocol: Protocol
    pose: Pose = field(default_factory=Pose)
    new: int = 0


def simulate_visits(
    anatomy: Anatomy,
    visits: tuple[Visit, ...],
    contrasts: tuple[Contrast, ...],
    settings: HeadSettings,
    seed: tuple[int, ...],
) -> tuple[SimulatedHead, ...]:
    """The same head at every visit, in order; bleeds keep their number, new ones come after.

    The first visit has bleeds by `settings.lesions` and `new` more. Everything that belongs to the
    head is drawn from one seed, everything that belongs to a scan from the visit's own.
    """
    rng = np.random.default_rng([*seed, 0])
    labels = deform(anatomy, head.field_of_view(settings), settings.anatomy, rng)
    bleeds = lesions.place_bleeds(labels, settings.lesions, rng)
    scans = []
    for number, visit in enumerate(visits, start=1):
        own = np.random.default_rng([*seed, 1, number])
        more = replace(settings.lesions, count=(visit.new, visit.new))
        bleeds = lesions.place_bleeds(labels, more, own, before=bleeds)
        same = np.random.default_rng([*seed, 2])
        protocol, pose = visit.protocol, visit.pose
        maps = excited(labels, protocol, same)
        lying = pose.image(labels, order=0)
        grid = fine_grid(lying, protocol, settings.whole_head, pose)
        tissue = bleed_free_tissue(labels, maps, grid, protocol, same)
        moved = tuple(pose.bleed(bleed, labels.shape) for bleed in bleeds)
        echoes = record_echoes(tissue, moved, grid, protocol, "qsm" in contrasts)
        scans.append(scan_images(echoes, lying, moved, grid, protocol, contrasts, settings, own))
    return tuple(scans)


def random_return(protocol: Protocol, new: int, rng: np.random.Generator) -> Visit:
    """A later visit at the same scanner: the head lies otherwise and half the time slices differ.

    Echo time, field and resolution in plane stay, as they do in a trial.
    """
    thickness = rng.uniform(0.7, 1.4) if rng.random() < 0.5 else 1.0
    return Visit(
        replace(
            protocol,
            slice_mm=float(np.clip(protocol.slice_mm * thickness, 0.8, 5.0)),
            snr=protocol.snr * float(rng.uniform(0.7, 1.4)),
            motion_mm=float(
                rng.choice([0.0, rng.uniform(0, 0.5) * protocol.acquired_mm], p=[0.7, 0.3])
            ),
            tilt_deg=(float(rng.normal(0, 8)), float(rng.normal(0, 4))),
        ),
        Pose(_three(rng.normal(0, 4, 3)), _three(rng.uniform(-8, 8, 3))),
        new,
    )


def _three(values: np.ndarray) -> tuple[float, float, float]:
    x, y, z = (float(value) for value in values)
    return x, y, z
