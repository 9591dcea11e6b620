"""Raw scan to network input."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from microbleeds.prepare import Prepared
from microbleeds.prepare.bias import correct_bias
from microbleeds.prepare.grid import Grid, to_grid, working_grid
from microbleeds.prepare.intensity import bright
from microbleeds.prepare.symmetry import radial_symmetry
from microbleeds.prepare.vessels import paint_vessels, vesselness
from microbleeds.scan import Scan
from microbleeds.settings import PrepareSettings
from microbleeds.threads import limit_simpleitk


def prepare(
    scan: Scan, brain_mask: NDArray[np.bool_], settings: PrepareSettings, threads: int = 0
) -> Prepared:
    """Network input of a scan, on the working grid.

    brain_mask: bool, the scan's shape. threads: 0 takes as many as the process may use.
    Raises UserError when the mask is empty or has no signal.
    """
    image, brain, grid = prepare_image(scan, brain_mask, settings, threads)
    vessels = vesselness(image, brain, grid.spacing, settings.vessel_scales_mm)
    if settings.paint_vessels:
        image = paint_vessels(image, brain, vessels)
    radii_mm: tuple[float, ...] = settings.symmetry_radii_mm
    if settings.symmetry_radii_voxels is not None:
        radii_mm = tuple(grid.spacing[0] * radius for radius in settings.symmetry_radii_voxels)
    symmetry = radial_symmetry(image, brain, grid.spacing, radii_mm, settings.symmetry_alpha)
    return Prepared(image=image, brain=brain, symmetry=symmetry, vessels=vessels, grid=grid)


def prepare_image(
    scan: Scan, brain_mask: NDArray[np.bool_], settings: PrepareSettings, threads: int = 0
) -> tuple[NDArray[np.float32], NDArray[np.bool_], Grid]:
    """The image of `prepare` alone, the brain in it, and their grid; the rest is made of these."""
    limit_simpleitk(threads)
    grid = working_grid(scan, brain_mask, settings)
    voxels = to_grid(scan.voxels, scan.affine, grid, order=1)
    brain = _with_signal(to_grid(brain_mask, scan.affine, grid, order=1) >= 0.5, voxels)
    if scan.contrast != "qsm":
        voxels = correct_bias(voxels, brain, grid.spacing, threads)
    return bright(voxels, brain, scan.contrast), brain, grid


def _with_signal(brain: NDArray[np.bool_], voxels: NDArray[np.float32]) -> NDArray[np.bool_]:
    """The mask without the exact zeros that continue from outside it.

    A scan that was stripped before is zero around the brain; a mask a little too wide would make
    that a bright rim. Zeros closed in by brain are signal voids and stay.
    """
    empty, _ = ndimage.label(np.pad(voxels == 0, 1, constant_values=True))
    from_outside = np.unique(empty[~np.pad(brain, 1)])
    inner = empty[1:-1, 1:-1, 1:-1]
    return brain & ~np.isin(inner, from_outside[from_outside > 0])
