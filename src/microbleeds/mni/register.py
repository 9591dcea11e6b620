"""Affine registration of a scan to the MNI152 template, and whether it can be trusted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from microbleeds.mni.coarse import WORK_MM, CoarseHead, coarse_scan, coarse_template, to_itk
from microbleeds.mni.search import likely_starts
from microbleeds.scan import Scan
from microbleeds.threads import allowed_threads

Kind = Literal["affine", "similarity"]
LEAST_AFFINE_MM = 90.0  # a thinner slab does not tell all twelve parameters
LEAST_OVERLAP = 0.85
STRETCH = (0.7, 1.4)
LARGEST_TURN_DEG = 50.0


@dataclass(frozen=True)
class Registration:
    """matrix: (4, 4) scanner mm to MNI mm, both RAS+. overlap: Dice of the brains in the field of
    view. problem: why it cannot be trusted; empty when it can.
    """

    matrix: NDArray[np.float64]
    overlap: float
    problem: str = ""


def register_to_mni(scan: Scan, brain: NDArray[np.bool_], threads: int = 0) -> Registration:
    """Affine registration of a scan to the MNI152 template, by what its brain mask holds.

    Among the likely starts and from there, mutual information decides (Mattes et al., IEEE Trans
    Med Imaging 22:120, 2003), so that contrast does not matter. A slab under 90 mm keeps one size
    for all axes. brain: on the scan's grid.
    """
    if not brain.any():
        return Registration(np.eye(4), 0.0, "the brain mask is empty")
    head, template = coarse_scan(scan, brain), coarse_template()
    thinnest = float(np.ptp(np.argwhere(head.brain > 0.5), axis=0).min()) * WORK_MM
    tried = [
        _refine(head, template, start, "similarity", 2, threads)
        for start in likely_starts(head, template)
    ]
    best = min(tried, key=lambda pair: pair[1])[0]
    kind: Kind = "affine" if thinnest >= LEAST_AFFINE_MM else "similarity"
    matrix, _ = _refine(head, template, best, kind, 1, threads)
    return _checked(matrix, head, template)


def _refine(
    head: CoarseHead,
    template: CoarseHead,
    start: NDArray[np.float64],
    kind: Kind,
    shrink: int,
    threads: int,
) -> tuple[NDArray[np.float64], float]:
    """The matrix after refinement, and the metric there (lower is better)."""
    import SimpleITK as sitk  # noqa: N813

    around = ndimage.binary_dilation(head.brain > 0.3, iterations=2) & head.seen
    centre = head.affine[:3, :3] @ ndimage.center_of_mass(head.brain) + head.affine[:3, 3]
    step: Any = sitk.AffineTransform(3) if kind == "affine" else sitk.Similarity3DTransform()
    step.SetCenter(centre.tolist())
    method = sitk.ImageRegistrationMethod()
    method.SetNumberOfThreads(allowed_threads(threads))
    method.SetMetricAsMattesMutualInformation(32)
    method.SetMetricFixedMask(to_itk(around.astype(np.uint8), head.affine))
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


def _checked(matrix: NDArray[np.float64], head: CoarseHead, template: CoarseHead) -> Registration:
    """The registration with its overlap, and what speaks against it."""
    step = np.linalg.inv(template.affine) @ matrix @ head.affine
    there = ndimage.affine_transform(
        template.brain, step[:3, :3], step[:3, 3], head.brain.shape, order=1
    )
    here, there = (head.brain > 0.5) & head.seen, (there > 0.5) & head.seen
    overlap = 2 * float((here & there).sum()) / max(float(here.sum() + there.sum()), 1.0)
    u, stretch, vt = np.linalg.svd(matrix[:3, :3])
    angle = float(np.degrees(np.arccos(np.clip((np.trace(u @ vt) - 1) / 2, -1, 1))))
    problem = ""
    if not STRETCH[0] <= stretch.min() <= stretch.max() <= STRETCH[1]:
        problem = f"it would stretch the head {stretch.min():.2f} to {stretch.max():.2f} times"
    elif angle > LARGEST_TURN_DEG:
        problem = f"it would turn the head by {angle:.0f} degrees"
    elif overlap < LEAST_OVERLAP:
        problem = f"the brains overlap by {overlap:.2f} (Dice), less than {LEAST_OVERLAP:g}"
    return Registration(matrix, overlap, problem)
