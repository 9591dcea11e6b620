"""Running an exported network with OpenVINO, on whole volumes or on slabs of them."""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray

from microbleeds.models.config import NetworkConfig, Triple
from microbleeds.models.graph import join_by_adding
from microbleeds.settings import MEMORY_GB
from microbleeds.threads import allowed_threads

# What a pass takes, measured with coarse, slim and published detectors: input and output of every
# voxel, and its features.
_BYTES_PER_VOXEL, _BYTES_PER_FEATURE = 28, 16

Window = tuple[slice, slice, slice]


class OnnxNetwork:
    """One exported network on the CPU, compiled when it is first used.

    One that takes volumes of any size is compiled for the size of the last: memory is planned then,
    which takes less of it, and less time, than a size left open.
    Always in float32, so that a result does not depend on the kind of processor.
    """

    def __init__(self, path: Path, threads: int = 0) -> None:
        """`threads` 0 takes as many as the process may use."""
        self.path = path
        self.threads = threads
        self._compiled: Any = None
        self._lock = Lock()

    def run(self, batch: NDArray[np.float32], /) -> NDArray[np.float32]:
        """(B, C, ...) to probabilities: (B, 2, X, Y, Z) of a detector, (B, 2) of a student."""
        with self._lock:
            if not self._takes(batch.shape):
                self._compiled = self._compile(batch.shape)
            result = self._compiled(np.ascontiguousarray(batch, np.float32))[0]
        return np.array(result, np.float32)

    def release(self) -> None:
        """Give back what the last pass took, some 200 bytes a voxel; the network stays compiled."""
        with self._lock:
            if self._compiled is not None:
                self._compiled.release_memory()

    def _takes(self, shape: tuple[int, ...]) -> bool:
        """Whether it is compiled, and for such a batch."""
        compiled = self._compiled
        return compiled is not None and all(
            wanted.is_dynamic or wanted.get_length() == size
            for wanted, size in zip(compiled.input(0).partial_shape, shape, strict=True)
        )

    def _compile(self, shape: tuple[int, ...]) -> Any:
        import openvino

        options = {
            "INFERENCE_PRECISION_HINT": "f32",
            "INFERENCE_NUM_THREADS": allowed_threads(self.threads),
        }
        core = openvino.Core()
        network = core.read_model(self.path)
        if network.input(0).partial_shape[-1].is_dynamic:
            network.reshape(shape)
            join_by_adding(network)
        return core.compile_model(network, "CPU", options)


class Engine(OnnxNetwork):
    """A network of the method, or of the brain mask: its configuration says how far it sees."""

    def __init__(
        self, path: Path, threads: int = 0, memory_gb: float = MEMORY_GB, *, config: NetworkConfig
    ) -> None:
        """memory_gb: about what a pass may take; larger volumes are done in pieces."""
        super().__init__(path, threads)
        self.memory_gb = memory_gb
        self.config = config


def predict_volume(
    engine: Engine, channels: NDArray[np.float32], max_voxels: int | None = None
) -> NDArray[np.float32]:
    """Probability of class 1 in every voxel: (C, X, Y, Z) to (X, Y, Z).

    A volume of more than `max_voxels` (by default what fits in the engine's memory) is done in
    pieces of one shape that overlap as far as the network sees, so that the result is that of one
    pass.
    """
    config = engine.config
    if max_voxels is None:
        per_voxel = _BYTES_PER_VOXEL + _BYTES_PER_FEATURE * config.detector_width
        max_voxels = int(1e9 * engine.memory_gb / per_voxel)
    shape = channels.shape[1:]
    room = [(0, -n % s) for n, s in zip(shape, config.stride, strict=True)]
    padded = np.pad(channels, [(0, 0), *room])
    probability = np.empty(padded.shape[1:], np.float32)
    for read, kept in _pieces(probability.shape, config, max_voxels):
        result = engine.run(padded[(None, slice(None), *read)])[0, 1]
        probability[read][kept] = result[kept]
    engine.release()
    return probability[tuple(slice(n) for n in shape)]


def _pieces(
    shape: tuple[int, ...], config: NetworkConfig, max_voxels: int
) -> Iterator[tuple[Window, Window]]:
    """Pairs of (what to read, what of it to keep) that cover a volume, on the pooling lattice.

    All are of one shape, for which the network is compiled: of those that fit, the one that reads
    least in all; the smallest when none fits.
    """
    low, high = (_round_up(side, config.stride) for side in config.halo)
    overlap = [before + after for before, after in zip(low, high, strict=True)]
    axes = [_axis_choices(*axis) for axis in zip(shape, overlap, config.stride, strict=True)]
    fitting = [c for c in product(*axes) if math.prod(size for size, _ in c) <= max_voxels]
    smallest = tuple(choices[-1] for choices in axes)
    best = min(fitting, key=lambda c: math.prod(size * n for size, n in c), default=smallest)
    starts = [
        [min(i * (size - more), length - size) for i in range(n)]
        for (size, n), length, more in zip(best, shape, overlap, strict=True)
    ]
    for start in product(*starts):
        window = list(zip(start, best, shape, low, high, strict=True))
        read = [slice(first, first + size) for first, (size, _), *_ in window]
        kept = [
            slice(before if first else 0, size if first + size == length else size - after)
            for first, (size, _), length, before, after in window
        ]
        yield (read[0], read[1], read[2]), (kept[0], kept[1], kept[2])


def _axis_choices(length: int, overlap: int, stride: int) -> list[tuple[int, int]]:
    """Ways to cover an axis with overlapping pieces: (size, number), the largest first."""
    choices = [(length, 1)]
    for number in range(2, length // stride + 1):
        size = _up_to_multiple(-(-(length - overlap) // number), stride) + overlap
        if size < choices[-1][0]:
            choices.append((size, number))
    return choices


def _round_up(sides: Triple, stride: Triple) -> Triple:
    x, y, z = (_up_to_multiple(r, s) for r, s in zip(sides, stride, strict=True))
    return x, y, z


def _up_to_multiple(value: int, step: int) -> int:
    return -(-value // step) * step
