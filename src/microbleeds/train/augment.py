"""Random changes of a training patch: mirrored, turned, brighter, noisier, blurred."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

Range = tuple[float, float]


@dataclass(frozen=True)
class AugmentSettings:
    """What may happen to a patch; every range is drawn from uniformly, for each patch anew.

    flip: mirror each axis with probability 1/2. transpose: swap the in-plane axes (with flips,
    all quarter turns). gain, offset, gamma: image becomes offset + gain * image^gamma.
    noise_sd: of Gaussian noise on the image. blur_voxels: in-plane sigma on the image.
    zoom: of the spacing of step 2's patches along each axis, where they have one of their own.
    turned: share of step 2's patches that are turned by any angle in the plane of the slices.
    """

    flip: bool = True
    transpose: bool = True
    gain: Range = (0.9, 1.1)
    offset: Range = (-0.03, 0.03)
    gamma: Range = (0.8, 1.25)
    noise_sd: Range = (0.0, 0.03)
    blur_voxels: Range = (0.0, 0.4)
    zoom: Range = (0.85, 1.18)
    turned: float = 0.0


#: Sundaresan et al. 2023, "Training": noise variance 0.01-0.04, blur 0.1-0.2, flips. The shift
#: of up to 15 voxels is the random place of the patch itself.
PUBLISHED_AUGMENT = AugmentSettings(
    transpose=False,
    gain=(1.0, 1.0),
    offset=(0.0, 0.0),
    gamma=(1.0, 1.0),
    noise_sd=(0.1, 0.2),
    blur_voxels=(0.1, 0.2),
    zoom=(1.0, 1.0),
)


def augment(
    channels: NDArray[np.float32],
    labels: NDArray[np.uint8],
    settings: AugmentSettings,
    rng: np.random.Generator,
    views: int = 1,
) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    """A changed copy of a patch. channels: (C, X, Y, Z), image first; labels: (X, Y, Z).

    views: how many there are one after another in the channels, each with its image first. Only
    images change their values; the channels computed from them only move along.
    """
    swap = settings.transpose and channels.shape[1] == channels.shape[2] and rng.random() < 0.5
    if swap:
        channels, labels = channels.swapaxes(1, 2), labels.swapaxes(0, 1)
    axes = [axis for axis in range(3) if settings.flip and rng.random() < 0.5]
    channels = np.flip(channels, tuple(axis + 1 for axis in axes)).copy()
    images = channels[:: len(channels) // views]
    images[:] = vary_intensity(images, settings, rng)
    return channels, np.flip(labels, tuple(axes)).copy()


def turn(stack: NDArray[np.float32], degrees: float, size: int) -> NDArray[np.float32]:
    """The middle `size` x `size` of every slice of (C, N, N, Z), turned about the middle, linear.

    Nothing from outside comes in as long as N is 1.5 times `size`.
    """
    cosine, sine = np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))
    matrix = np.eye(4)
    matrix[1:3, 1:3] = [[cosine, -sine], [sine, cosine]]
    middle, target = (np.array([0, (n - 1) / 2, (n - 1) / 2, 0]) for n in (stack.shape[1], size))
    shape = (len(stack), size, size, stack.shape[3])
    turned: NDArray[np.float32] = ndimage.affine_transform(
        stack, matrix, middle - matrix @ target, shape, order=1
    )
    return turned


def vary_intensity(
    image: NDArray[np.float32], settings: AugmentSettings, rng: np.random.Generator
) -> NDArray[np.float32]:
    """Images (..., X, Y, Z) in [0, 1] with other brightness, noise and sharpness; 0 stays 0."""
    brain = image > 0
    sigma = rng.uniform(*settings.blur_voxels)
    if sigma > 0.1:  # below, the kernel is a single voxel
        image = ndimage.gaussian_filter(image, (*[0] * (image.ndim - 3), sigma, sigma, 0))
    image = rng.uniform(*settings.offset) + rng.uniform(*settings.gain) * image ** rng.uniform(
        *settings.gamma
    )
    noise = rng.standard_normal(image.shape, np.float32) * rng.uniform(*settings.noise_sd)
    return np.where(brain, np.clip(image + noise, 0, 1), 0).astype(np.float32)
