"""What the released code of Sundaresan et al. 2023 does, stated again to be timed beside ours.

Written from a description of its behaviour (version 1.0.1), not from its text: per-slice Frangi,
structure tensor, 2-means and filling; radial symmetry in a double Python loop; a width-64 U-Net on
tiles of 48^3; five passes of the student a candidate; shape and border rules in voxels. Weights are
random, as its published ones may not be shipped, and the threshold passes 100 candidates: what it
finds means nothing, what it costs is real.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import product

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from scipy.cluster.vq import kmeans2
from skimage.feature import structure_tensor, structure_tensor_eigenvalues
from skimage.filters import frangi
from skimage.measure import label, regionprops

from microbleeds.models.config import PUBLISHED
from microbleeds.models.initialise import initialise
from microbleeds.models.networks import Detector, Student

Image = NDArray[np.float32]
Clock = Callable[[str], None]

TILE, PATCH = 48, 24
RADII = (2, 3)
CANDIDATES = 100
PASSES = 5


def released(image: Image, brain: NDArray[np.bool_], clock: Clock) -> NDArray[np.bool_]:
    """From the brain-extracted, bias-corrected image (X, Y, Z) to its final mask.

    clock: called with the name of each step when it is over.
    """
    filled = fill_vessels(image * brain, brain)
    clock("vessels and filling")
    symmetry = radial_symmetry(filled)
    clock("radial symmetry")
    channels = np.stack([(1 - filled / filled.max()) * brain, symmetry * brain]).astype(np.float32)
    box = ndimage.find_objects(brain.astype(np.uint8))[0]
    channels = channels[(slice(None), *box)]
    with torch.inference_mode():
        components = candidates(channels)
        clock("step 1")
        kept = discriminate(channels, components)
        clock("step 2")
    mask = np.zeros(image.shape, bool)
    mask[box] = clean_up(kept, brain[box])
    clock("step 3")
    return mask


def fill_vessels(image: Image, brain: NDArray[np.bool_]) -> Image:
    """Vessels of every slice, as 2-means sees them, filled from 26 neighbours."""
    vessels = np.zeros(image.shape, bool)
    for z in range(image.shape[2]):
        if np.ptp(image[:, :, z]) > 0:
            vessels[:, :, z] = _vessels_of_slice(image[:, :, z], brain[:, :, z])
    result, unknown = image.copy(), vessels
    neighbours = np.ones((3, 3, 3), np.float32)
    while unknown.any():
        known = (~unknown).astype(np.float32)
        count = ndimage.convolve(known, neighbours, mode="constant")
        total = ndimage.convolve(result * known, neighbours, mode="constant")
        layer = unknown & (count > 0)
        result[layer] = total[layer] / count[layer]
        unknown = unknown & ~layer
    return result


def _vessels_of_slice(image: Image, brain: NDArray[np.bool_]) -> NDArray[np.bool_]:
    ridge = frangi(image, sigmas=(0.5, 1.2, 0.2), alpha=0.9, beta=20) * brain
    first, second = structure_tensor_eigenvalues(structure_tensor(image, sigma=1))
    linear = np.abs(first - second) / 2 * brain
    linear = (linear - linear.min()) / max(float(np.ptp(linear)), 1e-12)
    features = np.stack([ridge.ravel(), linear.ravel()], axis=1)
    _, groups = kmeans2(features, 2, rng=np.random.default_rng(42), minit="++", missing="warn")
    smaller = int(np.argmin(np.bincount(groups, minlength=2)))
    vessels = (groups == smaller).reshape(image.shape)
    parts = label(vessels, connectivity=2)
    for part in regionprops(parts):
        if part.eccentricity < 0.9 and part.solidity > 0.5:
            vessels[parts == part.label] = False
    return np.asarray(vessels)


def radial_symmetry(image: Image) -> Image:
    """Dark symmetry of every slice, pixel by pixel, scaled to [0, 1].

    Gradients are not cut to integers here, which in the released code leaves no votes at all.
    """
    result = np.zeros(image.shape, np.float32)
    for z, radius in product(range(image.shape[2]), RADII):
        gradient_x, gradient_y = (np.asarray(g) for g in np.gradient(image[:, :, z]))
        votes = np.zeros(image.shape[:2], np.float32)
        strength = np.zeros_like(votes)
        for x in range(image.shape[0]):
            for y in range(image.shape[1]):
                size = np.hypot(gradient_x[x, y], gradient_y[x, y])
                if size == 0:
                    continue
                to_x = x - round(gradient_x[x, y] / size * radius)
                to_y = y - round(gradient_y[x, y] / size * radius)
                if 0 <= to_x < image.shape[0] and 0 <= to_y < image.shape[1]:
                    votes[to_x, to_y] -= 1
                    strength[to_x, to_y] -= size
        votes, strength = (_by_largest(m) for m in (votes, strength))
        result[:, :, z] += ndimage.gaussian_filter(votes**2 * strength, 0.1 * radius)
    return np.asarray((result - result.min()) / max(float(np.ptp(result)), 1e-12), np.float32)


def _by_largest(values: Image) -> Image:
    size = np.abs(values)
    return np.asarray(size / max(float(size.max()), 1e-12), np.float32)


def candidates(channels: Image) -> NDArray[np.int32]:
    """The 100 most probable of the components that the U-Net marks, tile by tile."""
    network = Detector(PUBLISHED).eval()
    initialise(network, 0)
    probability = np.zeros(channels.shape[1:], np.float32)
    for tile in _tiles(channels.shape[1:]):
        patch = channels[(slice(None), *tile)]
        room = [(0, 0), *((0, TILE - n) for n in patch.shape[1:])]
        logits = network(torch.from_numpy(np.pad(patch, room))[None])[0]
        answer = logits.softmax(0)[1].numpy()
        probability[tile] = answer[tuple(slice(n) for n in patch.shape[1:])]
    level = np.quantile(probability, 0.999)
    components, count = ndimage.label(probability > level, np.ones((3, 3, 3)))
    peaks = ndimage.maximum(probability, components, range(1, count + 1))
    rank = np.full(count + 1, -1)
    rank[1 + np.argsort(peaks)[::-1]] = np.arange(count)
    number = np.where((rank >= 0) & (rank < CANDIDATES), rank + 1, 0).astype(np.int32)
    return np.asarray(number[components])


def _tiles(shape: tuple[int, ...]) -> Iterator[tuple[slice, ...]]:
    """Tiles of 48^3, the last of an axis shifted back to end at its border."""
    starts = [sorted({min(first, max(n - TILE, 0)) for first in range(0, n, TILE)}) for n in shape]
    for corner in product(*starts):
        yield tuple(slice(first, first + TILE) for first in corner)


def discriminate(channels: Image, components: NDArray[np.int32]) -> NDArray[np.int32]:
    """The components that the student takes for microbleeds; four of its five passes are unused.

    Random weights answer alike everywhere: every second component is kept.
    """
    network = Student(PUBLISHED).eval()
    initialise(network, 1)
    count = int(components.max())
    centres = ndimage.center_of_mass(components > 0, components, range(1, count + 1))
    for centre in centres:
        start = [max(round(c) - PATCH // 2, 0) for c in centre]
        patch = channels[(slice(None), *(slice(first, first + PATCH) for first in start))]
        room = [(0, 0), *((0, PATCH - n) for n in patch.shape[1:])]
        batch = torch.from_numpy(np.pad(patch, room))[None]
        for _ in range(PASSES):
            network(batch)
    return np.where(components % 2 == 1, components, 0)


def clean_up(components: NDArray[np.int32], brain: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Components with an odd slice, of one voxel, or near the border are dropped."""
    result = components.copy()
    for part, box in enumerate(ndimage.find_objects(components), start=1):
        if box is None:
            continue
        where = components[box] == part
        slices = [regionprops(where[:, :, z].astype(np.uint8)) for z in range(where.shape[2])]
        odd = any(p.eccentricity > 0.4 and p.solidity < 0.5 for s in slices for p in s)
        if odd or where.sum() < 2:
            result[box][where] = 0
    inside = ndimage.distance_transform_edt(np.pad(brain, 1))[1:-1, 1:-1, 1:-1]
    return np.asarray((result > 0) & (inside > 8))
