"""Registration of a scan to the MNI152 template, and whether it can be trusted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from nibabel.affines import apply_affine
from numpy.typing import NDArray
from scipy import ndimage

from microbleeds.mni.atlas import deep_zone
from microbleeds.mni.check import brain_cm3, brain_overlap, on_grid, problem_of
from microbleeds.mni.coarse import WORK_MM, CoarseHead, coarse_template, to_itk
from microbleeds.mni.search import likely_starts
from microbleeds.threads import allowed_threads, limit_simpleitk

Kind = Literal["affine", "similarity"]
LEAST_CM3 = 50.0  # of brain; less says too little
LEAST_AFFINE_MM = 90.0  # a thinner slab does not tell all twelve parameters
LEAST_ZONE = 0.5  # share of the deep zone that must be in view to be registered by itself
ZONE_STRETCH = (0.6, 1.7)


@dataclass(frozen=True)
class Registration:
    """Where a scan lies in MNI space, all (4, 4) in mm, RAS+.

    matrix: from scanner to MNI. deep: from there on, where `deep_zone` is 1. overlap: Dice of the
    brains in the field of view. problem: why it cannot be trusted; empty when it can.
    """

    matrix: NDArray[np.float64]
    deep: NDArray[np.float64]
    overlap: float
    problem: str = ""

    def to_mni(self, places_mm: NDArray[np.float64]) -> NDArray[np.float64]:
        """MNI mm of places in scanner mm, both (N, 3)."""
        return self.settled(apply_affine(self.matrix, places_mm))

    def settled(self, places_mm: NDArray[np.float64]) -> NDArray[np.float64]:
        """Where places that `matrix` alone took to MNI space belong there, (N, 3) mm."""
        zone = deep_zone()
        share = ndimage.map_coordinates(zone.values, zone.voxels(places_mm), order=1)[:, None]
        return np.asarray(places_mm + share * (apply_affine(self.deep, places_mm) - places_mm))


def register_to_mni(head: CoarseHead, threads: int = 0) -> Registration:
    """Affine registration of a head to the MNI152 template, by what its brain mask holds.

    Among the likely starts and from there, mutual information decides (Mattes et al., IEEE Trans
    Med Imaging 22:120, 2003), so that contrast does not matter. A slab under 90 mm keeps one size
    for all axes. Thalami and basal ganglia with what is around them get a second affine of their
    own, since they give way to ventricles that grow with age.
    """
    if (volume := brain_cm3(head)) < LEAST_CM3:
        return unregistered(f"it shows {volume:.0f} cm3 of brain, less than {LEAST_CM3:g}")
    limit_simpleitk(threads)
    template = coarse_template()
    try:
        matrix = _register(head, template, threads)
        overlap = brain_overlap(matrix, head, template)
        problem = problem_of(matrix, overlap)
        deep = np.eye(4) if problem else _refine_deep(head, template, matrix, threads)
    except RuntimeError:  # ITK: nothing of the scan falls on the template any more
        return unregistered("the search left the template")
    return Registration(matrix, deep, overlap, problem)


def unregistered(problem: str) -> Registration:
    """What is left when no registration could be tried or finished."""
    return Registration(np.eye(4), np.eye(4), 0.0, problem)


def _register(head: CoarseHead, template: CoarseHead, threads: int) -> NDArray[np.float64]:
    """The matrix from scanner to MNI mm."""
    where = ndimage.binary_dilation(head.brain > 0.3, iterations=2) & head.seen
    tried = [
        _refine(head, template, start, where, "similarity", 2, threads)
        for start in likely_starts(head, template)
    ]
    best = min(tried, key=lambda pair: pair[1])[0]
    thickness = float(np.ptp(np.argwhere(head.brain > 0.5), axis=0).min()) * WORK_MM
    kind: Kind = "affine" if thickness >= LEAST_AFFINE_MM else "similarity"
    return _refine(head, template, best, where, kind, 1, threads)[0]


def _refine(
    head: CoarseHead,
    template: CoarseHead,
    start: NDArray[np.float64],
    where: NDArray[np.bool_],
    kind: Kind,
    shrink: int,
    threads: int,
) -> tuple[NDArray[np.float64], float]:
    """The matrix after refinement on the voxels `where`, and the metric there (lower: better)."""
    import SimpleITK as sitk  # noqa: N813

    centre = head.affine[:3, :3] @ ndimage.center_of_mass(where) + head.affine[:3, 3]
    step: Any = sitk.AffineTransform(3) if kind == "affine" else sitk.Similarity3DTransform()
    step.SetCenter(centre.tolist())
    method = sitk.ImageRegistrationMethod()
    method.SetNumberOfThreads(allowed_threads(threads))
    method.SetMetricAsMattesMutualInformation(32)
    method.SetMetricFixedMask(to_itk(where.astype(np.uint8), head.affine))
    method.SetInterpolator(sitk.sitkLinear)
    method.SetMovingInitialTransform(
        sitk.AffineTransform(start[:3, :3].ravel().tolist(), start[:3, 3].tolist())
    )
    method.SetInitialTransform(step, inPlace=True)
    method.SetOptimizerAsRegularStepGradientDescent(1.0 * shrink, 0.02, 60, 0.6)
    method.SetOptimizerScalesFromPhysicalShift()
    method.SetShrinkFactorsPerLevel([shrink])
    method.SetSmoothingSigmasPerLevel([shrink - 1])
    method.Execute(to_itk(head.image, head.affine), to_itk(template.image, template.affine))
    own = np.eye(4)
    own[:3, :3] = np.array(step.GetMatrix()).reshape(3, 3)
    own[:3, 3] = np.array(step.TransformPoint((0.0, 0.0, 0.0)))
    return start @ own, float(method.GetMetricValue())


def _refine_deep(
    head: CoarseHead, template: CoarseHead, matrix: NDArray[np.float64], threads: int
) -> NDArray[np.float64]:
    """Affine of the deep zone from MNI to MNI mm; the identity where little of it is in view."""
    zone = deep_zone()
    inside = on_grid(zone.values, zone.affine, matrix, head) > 0.5
    seen = inside & head.seen & (head.brain > 0.3)
    if seen.sum() < LEAST_ZONE * inside.sum():
        return np.eye(4)
    own, _ = _refine(head, template, matrix, seen, "affine", 1, threads)
    deep: NDArray[np.float64] = own @ np.linalg.inv(matrix)
    stretch = np.linalg.svd(deep[:3, :3], compute_uv=False)
    sound = ZONE_STRETCH[0] <= stretch.min() <= stretch.max() <= ZONE_STRETCH[1]
    return deep if sound else np.eye(4)
