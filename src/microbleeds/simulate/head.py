"""One simulated head: anatomy, susceptibility, field, signal, scanner, images with their truth."""

from __future__ import annotations

import numpy as np

from microbleeds.settings import Contrast
from microbleeds.simulate import HeadSettings, SimulatedHead, lesions
from microbleeds.simulate.anatomy import Anatomy
from microbleeds.simulate.deform import deform
from microbleeds.simulate.echoes import record_echoes
from microbleeds.simulate.images import scan_images
from microbleeds.simulate.scanner import Protocol
from microbleeds.simulate.tissue import bleed_free_tissue, excited, fine_grid

HEAD_MM, BRAIN_MM = (190, 230, 190), (160, 196, 150)


def simulate_head(
    anatomy: Anatomy,
    protocol: Protocol,
    contrasts: tuple[Contrast, ...],
    settings: HeadSettings,
    rng: np.random.Generator,
) -> SimulatedHead:
    """Simulate one head in one or more contrasts.

    The field of everything that does not bleed is computed once. Images with and without bleeds
    share everything else, so their difference is the truth.
    """
    labels = deform(anatomy, field_of_view(settings), settings.anatomy, rng)
    maps = excited(labels, protocol, rng)
    bleeds = lesions.place_bleeds(labels, settings.lesions, rng)
    grid = fine_grid(labels, protocol, settings.whole_head)
    tissue = bleed_free_tissue(labels, maps, grid, protocol, rng)
    echoes = record_echoes(tissue, bleeds, grid, protocol, "qsm" in contrasts)
    return scan_images(echoes, labels, bleeds, grid, protocol, contrasts, settings, rng)


def field_of_view(settings: HeadSettings) -> tuple[int, int, int]:
    """Size in mm of the anatomy grid."""
    return HEAD_MM if settings.whole_head else BRAIN_MM
