"""Heads of smooth random texture, cheap to make, scanned twice in known poses."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from microbleeds.scan import Scan

MIDDLE = np.array([2.0, -5.0, 8.0])  # of the head, scanner mm
RADII = np.array([52.0, 64.0, 48.0])


class Head:
    """An ellipsoid of texture with dark balls, as a function of place in mm."""

    def __init__(self, seed: int) -> None:
        rng = np.random.default_rng(seed)
        fine = ndimage.gaussian_filter(rng.normal(size=(75, 90, 70)), 1.6)
        wide = ndimage.gaussian_filter(rng.normal(size=(75, 90, 70)), 6)
        self.texture = fine / fine.std() + wide / wide.std()
        self.shape = RADII * rng.uniform(0.9, 1.1, 3)

    def scan(self, matrix, balls=(), voxel=(1.5, 1.5, 3.0), cover=(0.0, 1.0), noise=0, name="scan"):
        """Scan and brain mask of the head moved by `matrix`, with balls (place in the head, mm).

        cover: first and last share of the slices that are scanned.
        """
        size = np.ceil(150 / np.array(voxel)).astype(int)
        affine = np.diag([*voxel, 1.0])
        affine[:3, 3] = -75
        first, last = (round(share * size[2]) for share in cover)
        affine[2, 3] += first * voxel[2]
        size[2] = last - first
        index = np.moveaxis(np.indices(size), 0, -1)
        world = index @ affine[:3, :3].T + affine[:3, 3]
        back = np.linalg.inv(matrix)
        own = world @ back[:3, :3].T + back[:3, 3] - MIDDLE
        brain = ((own / self.shape) ** 2).sum(-1) <= 1
        place = (own / 2 + np.array(self.texture.shape) / 2 - 0.5).reshape(-1, 3).T
        value = ndimage.map_coordinates(self.texture, place, order=1).reshape(size)
        image = np.where(brain, 600 + 40 * value, 30)
        for ball in balls:
            near = np.linalg.norm(own + MIDDLE - ball, axis=-1)
            image *= 1 - 0.7 / (1 + np.exp((near - 2.0) / 0.4))
        image += np.random.default_rng(len(balls) + 1).normal(0, 5 + noise, image.shape)
        return Scan(np.maximum(image, 0).astype(np.float32), affine, "t2star", name), brain


@pytest.fixture(scope="session")
def head():
    return Head(0)


@pytest.fixture(scope="session")
def other_head():
    return Head(1)
