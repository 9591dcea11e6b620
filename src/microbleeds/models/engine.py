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
from microbleeds.settings import MEMORY_GB
from microbleeds.threads import allowed_threads

_BYTES_PER_VOXEL_AND_WIDTH = 26  # measured with slim and published detectors

Window = tuple[slice, slice, slice]


class Engine:
    """One exported network on the CPU, compiled when it is first used.

    Always in float32, so that a result does not depend on the kind of processor.
    """

    def __init__(
        self, path: Path, threads: int = 0, memory_gb: float = MEMORY_GB, *, config: NetworkConfig
    ) -> None:
        """`threads` 0 takes as many as the process may use; `config` is that of the network.

        memory_gb: about what a pass may take; larger volumes are done in pieces.
        """
        self.path = path
        self.threads = threads
        self.memory_gb = memory_gb
        self.config = config
        self._compiled: Any = None
        self._lock = Lock()

    def run(self, batch: NDArray[np.float32], /) -> NDArray[np.float32]:
        """(B, C, ...) to probabilities: (B, 2, X, Y, Z) of a detector, (B, 2) of a student."""
        with self._lock:
            if self._compiled is None:
                self._compiled = self._compile()
            result = self._compiled(np.ascontiguousarray(batch, np.float32))[0]
        return np.array(result, np.float32)

    def release(self) -> None:
        """Give back what the last pass took, some 200 bytes a voxel; the network stays compiled."""
        with self._lock:
            if self._compiled is not None:
                self._compiled.release_memory()

    def _compile(self) -> Any:
        import openvino

        options = {
            "INFERENCE_PRECISION_HINT": "f32",
            "INFERENCE_NUM_THREADS": allowed_threads(self.threads),
        }
        core = openvino.Core()
        return core.compile_model(core.read_model(self.path), "CPU", options)


def predict_volume(
    engine: Engine, channels: NDArray[np.float32], max_voxels: int | None = None
) -> NDArray[np.float32]:
    """Probability of class 1 in every voxel: (C, X, Y, Z) to (X, Y, Z).

    A volume of more than `max_voxels` (by default what fits in the engine's memory) is done in
    pieces that overlap by the network's receptive field, so that the result is that of one pass.
    """
    config = engine.config
    if max_voxels is None:
        max_voxels = int(1e9 * engine.memory_gb / (_BYTES_PER_VOXEL_AND_WIDTH * config.widths[0]))
    shape = channels.shape[1:]
    room = [(0, -n % s) for n, s in zip(shape, config.stride, strict=True)]
    padded = np.pad(channels, [(0, 0), *room])
    probability = np.empty(padded.shape[1:], np.float32)
    for core, read in _pieces(probability.shape, config, max_voxels):
        result = engine.run(padded[(None, slice(None), *read)])[0, 1]
        inside = tuple(
            slice(c.start - r.start, c.stop - r.start) for c, r in zip(core, read, strict=True)
        )
        probability[core] = result[inside]
    engine.release()
    return probability[tuple(slice(n) for n in shape)]


def _pieces(
    shape: tuple[int, ...], config: NetworkConfig, max_voxels: int
) -> Iterator[tuple[Window, Window]]:
    """Pairs of (what to keep, what to read) that cover a volume, all on the pooling lattice."""
    halo = _round_up(config.receptive_radius, config.stride)
    core = _core_shape(shape, halo, config.stride, max_voxels)
    for start in product(*(range(0, n, c) for n, c in zip(shape, core, strict=True))):
        stop = [min(s + c, n) for s, c, n in zip(start, core, shape, strict=True)]
        kept = [slice(a, b) for a, b in zip(start, stop, strict=True)]
        read = [
            slice(max(a - h, 0), min(b + h, n))
            for a, b, h, n in zip(start, stop, halo, shape, strict=True)
        ]
        yield (kept[0], kept[1], kept[2]), (read[0], read[1], read[2])


def _core_shape(
    shape: tuple[int, ...], halo: Triple, stride: Triple, max_voxels: int
) -> tuple[int, ...]:
    """Size of the pieces without halo: of those that fit, the one that reads least in all.

    Pieces of a single pooling stride when none fits.
    """
    axes = [_axis_choices(*a) for a in zip(shape, halo, stride, strict=True)]
    choices = [tuple(zip(*choice, strict=True)) for choice in product(*axes)]
    fitting = [c for c in choices if math.prod(c[1]) <= max_voxels]
    best = min(fitting, key=lambda c: math.prod(c[2])) if fitting else choices[-1]
    return best[0]


def _axis_choices(length: int, halo: int, stride: int) -> list[tuple[int, int, int]]:
    """Ways to cut an axis into equal pieces: (piece, most read at once, read in all)."""
    pieces = {_up_to_multiple(-(-length // n), stride) for n in range(1, length // stride + 1)}
    choices = []
    for piece in sorted(pieces, reverse=True):
        reads = [min(a + piece + halo, length) - max(a - halo, 0) for a in range(0, length, piece)]
        choices.append((piece, max(reads), sum(reads)))
    return choices


def _round_up(radius: Triple, stride: Triple) -> Triple:
    x, y, z = (_up_to_multiple(r, s) for r, s in zip(radius, stride, strict=True))
    return x, y, z


def _up_to_multiple(value: int, step: int) -> int:
    return -(-value // step) * step
