"""The regions of one head: the atlas laid over it, and a network that corrects it by the image.

After an affine registration ventricles, capsules and lobes still lie some millimetres beside those
of the template. The network sees the head and the atlas on the template's grid (4 mm) and says
anew what each voxel is (`benchmarks/build_regions.py` trains it on simulated heads).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Protocol

import numpy as np
from nibabel.affines import apply_affine
from numpy.typing import NDArray
from scipy import ndimage

from microbleeds.mni.atlas import REGIONS, SIDES, MniImage, load_atlas, load_template
from microbleeds.mni.coarse import GREY, CoarseHead
from microbleeds.mni.register import Registration

BLUR_MM = 2.0  # of the atlas, whose borders are not sharp


class RegionNetwork(Protocol):
    """Anything that turns channels (1, C, X, Y, Z) into probabilities: an `OnnxNetwork`."""

    def run(self, batch: NDArray[np.float32], /) -> NDArray[np.float32]:
        """Of each region in `REGIONS`, (1, R, X, Y, Z)."""


@dataclass(frozen=True)
class HeadRegions:
    """What each place of a head is, as far as the atlas reaches.

    probabilities: (R, X, Y, Z) of each region in `REGIONS`, on the template's grid; None of a head
    that could not be registered. registration: of the head.
    """

    probabilities: MniImage | None
    registration: Registration

    def at(self, places_mm: NDArray[np.float64]) -> list[tuple[str, str]]:
        """The most probable region, and the side, of places (N, 3) in scanner mm.

        Both empty where the atlas ends, and everywhere without a registration.
        """
        if self.probabilities is None:
            return [("", "")] * len(places_mm)
        settled = self.registration.to_mni(places_mm)
        voxels = self.probabilities.voxels(apply_affine(self.registration.matrix, places_mm))
        shares = [
            ndimage.map_coordinates(share, voxels, order=1, mode="nearest")
            for share in self.probabilities.values
        ]
        found = zip(np.argmax(shares, axis=0), settled, atlas_numbers(settled), strict=True)
        return [
            (REGIONS[region], SIDES[int(place[0] > 0)]) if number else ("", "")
            for region, place, number in found
        ]


def head_regions(
    head: CoarseHead, registration: Registration, network: RegionNetwork
) -> HeadRegions:
    """The regions of a head; the network is asked only where the registration can be trusted."""
    if registration.problem:
        return HeadRegions(None, registration)
    channels = np.concatenate(
        [image_channels(head, registration.matrix), atlas_channels(registration)]
    )
    probabilities = network.run(channels[None])[0]
    return HeadRegions(MniImage(probabilities, load_template().affine), registration)


def image_channels(head: CoarseHead, matrix: NDArray[np.float64]) -> NDArray[np.float32]:
    """Grey values, up to 1, and brain of a head on the template's grid, (2, X, Y, Z).

    matrix: (4, 4) from scanner to MNI mm.
    """
    template = load_template()
    step = np.linalg.inv(matrix @ head.affine) @ template.affine
    shape = template.values.shape
    return np.stack(
        [
            ndimage.affine_transform(array, step[:3, :3], step[:3, 3], shape, order=1)
            for array in (head.image / np.float32(GREY[1]), head.brain)
        ]
    )


def atlas_channels(registration: Registration) -> NDArray[np.float32]:
    """How far the atlas has none and each of the regions at a voxel, (1 + R, X, Y, Z).

    On the template's grid, the deep regions moved to where the registration found them.
    """
    template, shares = load_template(), atlas_shares()
    grid = np.indices(template.values.shape).reshape(3, -1).T
    places = registration.settled(apply_affine(template.affine, grid))
    voxels = shares.voxels(places)
    moved = [ndimage.map_coordinates(share, voxels, order=1) for share in shares.values]
    return np.stack(moved).reshape(len(moved), *template.values.shape)


@cache
def atlas_shares() -> MniImage:
    """How far each voxel of the atlas, blurred, is none and each of the regions, (1 + R, ...)."""
    atlas = load_atlas()
    sigma = BLUR_MM / atlas.affine[0, 0]
    values = [
        ndimage.gaussian_filter((atlas.values == number).astype(np.float32), sigma)
        for number in range(len(REGIONS) + 1)
    ]
    return MniImage(np.stack(values), atlas.affine)


def atlas_numbers(mni_mm: NDArray[np.float64]) -> NDArray[np.int_]:
    """The numbers of the regions of places (N, 3) in MNI space, (N,); 0 where the atlas ends."""
    atlas = load_atlas()
    voxels = np.rint(atlas.voxels(mni_mm)).astype(int)
    size = np.array(atlas.values.shape)[:, None]
    within = np.all((voxels >= 0) & (voxels < size), axis=0)
    return np.where(within, atlas.values[tuple(np.clip(voxels, 0, size - 1))], 0)
