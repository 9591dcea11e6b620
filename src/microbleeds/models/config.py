"""The few numbers that determine every network; free of torch, since detection needs them too."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

Triple = tuple[int, int, int]


@dataclass(frozen=True)
class NetworkConfig:
    """Enough to rebuild the detector, the teacher and the student.

    in_channels: input channels. widths: feature channels per level, finest first.
    pools: pooling between consecutive levels per axis, each 1 or 2; one fewer than widths.
    patch_shape: voxels of the candidate patch that the classifier sees.
    student_widths: of the student, where it is wider or slimmer than the other two; it sees few
    small patches instead of a whole brain. Empty: the same.
    coarse_detector: the detector does without the finest level, where most of the work is. Its
    first layer joins as many voxels as the first pool would, its last tells them apart again.
    context: how many times farther, along each axis, a second view of the student reaches, which
    an encoder of `widths` sees; empty: there is none.
    Raises ValueError when the numbers do not describe a network.
    """

    in_channels: int = 3
    widths: tuple[int, ...] = (16, 32, 64, 64)
    pools: tuple[Triple, ...] = ((2, 2, 1), (2, 2, 2), (2, 2, 2))
    patch_shape: Triple = (32, 32, 16)
    student_widths: tuple[int, ...] = ()
    coarse_detector: bool = False
    context: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        """Check the numbers, so that a bad card fails here and not inside a network."""
        if self.in_channels < 1 or not self.widths or min(self.widths) < 1:
            raise ValueError(f"in_channels {self.in_channels} and widths {self.widths} must be > 0")
        if len(self.pools) != len(self.widths) - 1:
            raise ValueError(f"{len(self.widths)} widths need {len(self.widths) - 1} pools")
        if self.coarse_detector and not self.pools:
            raise ValueError("a coarse detector needs two levels or more")
        if any(len(pool) != 3 or not set(pool) <= {1, 2} for pool in self.pools):
            raise ValueError(f"pools {self.pools} must be three numbers each, 1 or 2")
        if len(self.context) not in (0, 3) or any(times < 1 for times in self.context):
            raise ValueError(f"context {self.context} must be empty or three numbers above 0")
        if self.student_widths:
            self.student  # noqa: B018  its widths are checked by making it
        if len(self.patch_shape) != 3 or min(self.bottleneck_shape) < 1:
            raise ValueError(f"patch {self.patch_shape} is smaller than the stride {self.stride}")

    @property
    def student(self) -> NetworkConfig:
        """The numbers of the student alone."""
        return replace(self, widths=self.student_widths or self.widths, student_widths=())

    @property
    def patch_channels(self) -> int:
        """Channels of a student's patch, those of both views."""
        return self.in_channels * (2 if self.context else 1)

    @property
    def strides(self) -> tuple[Triple, ...]:
        """Voxels of the input per voxel of each level, finest first."""
        strides = [(1, 1, 1)]
        for pool in self.pools:
            x, y, z = strides[-1]
            strides.append((x * pool[0], y * pool[1], z * pool[2]))
        return tuple(strides)

    @property
    def stride(self) -> Triple:
        """Total pooling stride; inference pads volumes to multiples of it."""
        return self.strides[-1]

    @property
    def bottleneck_shape(self) -> Triple:
        """Voxels of a patch at the coarsest level."""
        x, y, z = (n // s for n, s in zip(self.patch_shape, self.stride, strict=True))
        return x, y, z

    @property
    def halo(self) -> tuple[Triple, Triple]:
        """What the detector must see before and after a block on the pooling lattice, in voxels.

        Read with that much around it, the block's output is that of the whole volume.
        """
        first = self.finest_level
        pooled = (tuple(pool[axis] for pool in self.pools[first:]) for axis in range(3))
        steps = self.strides[first]
        x, y, z = (
            (step * low, step * high)
            for step, (low, high) in zip(steps, map(_halo, pooled), strict=True)
        )
        return (x[0], y[0], z[0]), (x[1], y[1], z[1])

    @property
    def detector_width(self) -> float:
        """Feature channels of the detector's finest level for each voxel of its input."""
        return self.widths[self.finest_level] / math.prod(self.strides[self.finest_level])

    @property
    def finest_level(self) -> int:
        """Of the detector: 1 for a coarse one, else 0."""
        return int(self.coarse_detector)


def _halo(pools: tuple[int, ...]) -> tuple[int, int]:
    """`NetworkConfig.halo` along one axis: from the output back to the input, layer by layer."""
    stride = math.prod(pools)
    first, last = 0, stride - 1  # voxels of the block
    for pool in pools:
        first, last = first - 1, last + 1  # a 3-wide convolution, here and below
        if pool > 1:  # a transposed one of stride 2 whose first voxel is cut off
            first, last = first // 2, (last + 1) // 2
    first, last = first - 1, last + 1
    for pool in reversed(pools):
        first, last = pool * first - 1, pool * last + pool
    return -first, last - stride + 1


PUBLISHED = NetworkConfig(2, (64, 128, 256), ((2, 2, 2), (2, 2, 2)), (24, 24, 24))
BRAIN = NetworkConfig(1, (8, 16, 32, 64, 64), ((2, 2, 2),) * 4)
