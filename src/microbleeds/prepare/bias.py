"""Bias-field correction of magnitude images (N4)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from microbleeds.threads import allowed_threads

FIT_MM = 12.0  # the field is smooth: it is fitted on a coarse copy
ITERATIONS = (10, 10, 8)  # at 1, 2 and 4 spline spans across the brain
LOWEST = 0.05  # of the brain's median; darker voxels (voids, stripped zeros) do not count


def correct_bias(
    voxels: NDArray[np.float32],
    brain: NDArray[np.bool_],
    spacing: NDArray[np.float64],
    threads: int = 0,
) -> NDArray[np.float32]:
    """A magnitude image divided by its bias field.

    N4 (Tustison et al., IEEE Trans Med Imaging 29:1310, 2010) of SimpleITK, fitted inside the
    brain at about 12 mm. Nothing is done to a single slice or a brain without signal to fit.

    voxels, brain: (X, Y, Z). spacing: (3,) in mm. threads: 0 takes as many as the process may use.
    """
    import SimpleITK as sitk  # noqa: N813

    lowest = LOWEST * float(np.median(voxels[brain])) if brain.any() else 0.0
    if lowest <= 0 or min(voxels.shape) < 2:
        return voxels

    def to_itk(array: NDArray[np.float32]) -> sitk.Image:
        image = sitk.GetImageFromArray(array)  # its axes are NumPy's in reverse
        image.SetSpacing([float(size) for size in spacing[::-1]])
        return image

    fitted = (brain & (voxels > lowest)).astype(np.float32)
    shrink = [
        max(1, min(round(FIT_MM / size), length // 2))
        for size, length in zip(spacing[::-1], voxels.shape[::-1], strict=True)
    ]
    weight = sitk.BinShrink(to_itk(fitted), shrink)
    mean = sitk.BinShrink(to_itk(voxels * fitted), shrink) / sitk.Maximum(weight, 1e-3)
    inside = sitk.Cast(weight > 0.5, sitk.sitkUInt8)
    if not sitk.GetArrayViewFromImage(inside).any():
        return voxels
    n4 = sitk.N4BiasFieldCorrectionImageFilter()
    n4.SetNumberOfThreads(allowed_threads(threads))
    n4.SetMaximumNumberOfIterations(ITERATIONS)
    n4.Execute(sitk.Maximum(mean, lowest), inside)
    field = sitk.Resample(
        sitk.Cast(n4.GetLogBiasFieldAsImage(mean), sitk.sitkFloat32),
        to_itk(voxels),
        useNearestNeighborExtrapolator=True,  # block shrinking leaves a rim
    )
    return np.asarray(voxels * np.exp(-sitk.GetArrayFromImage(field)))
