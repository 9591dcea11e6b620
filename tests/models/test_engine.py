import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from microbleeds.models.config import NetworkConfig
from microbleeds.models.engine import Engine, predict_volume
from microbleeds.models.export import export_onnx
from microbleeds.models.initialise import initialise
from microbleeds.models.networks import Detector


class Counting(Engine):
    """Remembers how many voxels each call had."""

    def __init__(self, *arguments, **options):
        super().__init__(*arguments, **options)
        self.sizes = []

    @property
    def calls(self):
        return len(self.sizes)

    def run(self, batch, /):
        self.sizes.append(np.prod(batch.shape[2:]))
        return super().run(batch)


@pytest.fixture
def engine(small_folder, small_config):
    return Counting(small_folder / "detector.onnx", 1, config=small_config)


@pytest.mark.parametrize(
    ("shape", "limit", "several"),
    [((96, 80, 24), 60_000, True), ((61, 130, 19), 90_000, True), ((3, 5, 1), 64, False)],
)
def test_pieces_equal_one_pass(engine, shape, limit, several):
    channels = np.random.default_rng(0).random((3, *shape), np.float32)
    whole = predict_volume(engine, channels)
    assert engine.calls == 1
    pieces = predict_volume(engine, channels, max_voxels=limit)
    assert (engine.calls > 2) == several
    assert len(set(engine.sizes[1:])) == 1  # for which it is compiled once
    assert engine.sizes[1] <= limit
    assert whole.shape == shape
    assert np.ptp(whole) > 0.01
    np.testing.assert_allclose(pieces, whole, atol=1e-5)


def test_less_memory_means_more_and_smaller_pieces(engine):
    channels = np.random.default_rng(0).random((3, 192, 40, 24), np.float32)
    whole = predict_volume(engine, channels)
    engine.memory_gb = engine.sizes[0] / 2 * (28 + 16 * engine.config.widths[0]) / 1e9  # half of it
    np.testing.assert_allclose(predict_volume(engine, channels), whole, atol=1e-5)
    assert engine.calls > 2 and max(engine.sizes[1:]) <= engine.sizes[0] / 2


def test_smallest_tiles_along_every_axis_under_an_impossible_limit(engine):
    """They are the halo, 11 + 15 in the plane and 6 + 7 across, and a stride, on the lattice."""
    channels = np.random.default_rng(1).random((3, 40, 36, 18), np.float32)
    whole = predict_volume(engine, channels)
    np.testing.assert_allclose(predict_volume(engine, channels, max_voxels=1), whole, atol=1e-5)
    assert set(engine.sizes[1:]) == {32 * 32 * 16}
    assert engine.calls == 1 + 3 * 2 * 2


def test_whole_volume_equals_torch(engine, small_networks):
    """Padded at the end to multiples of the stride (4, 4, 2), class 1 of the softmax."""
    channels = np.random.default_rng(2).random((3, 18, 12, 7), np.float32)
    padded = torch.from_numpy(np.pad(channels, ((0, 0), (0, 2), (0, 0), (0, 1))))
    network = small_networks["detector"].eval()
    with torch.inference_mode():
        expected = network(padded[None]).softmax(1)[0, 1, :18, :12, :7]
    got = predict_volume(engine, channels)
    assert got.dtype == np.float32
    np.testing.assert_allclose(got, expected.numpy(), atol=1e-4)


def test_a_coarse_detector_in_pieces_equals_torch_in_one(tmp_path):
    config = NetworkConfig(3, (4, 6, 8), ((2, 2, 1), (2, 2, 2)), (16, 16, 4), coarse_detector=True)
    network = Detector(config).eval()
    initialise(network, 0)
    export_onnx(network, tmp_path / "detector.onnx")
    engine = Counting(tmp_path / "detector.onnx", 1, config=config)
    channels = np.random.default_rng(4).random((3, 62, 57, 21), np.float32)
    padded = torch.from_numpy(np.pad(channels, ((0, 0), (0, 2), (0, 3), (0, 1))))
    with torch.inference_mode():
        expected = network(padded[None]).softmax(1)[0, 1, :62, :57, :21].numpy()
    np.testing.assert_allclose(predict_volume(engine, channels), expected, atol=1e-4)
    pieces = predict_volume(engine, channels, max_voxels=40_000)
    assert engine.calls > 3
    np.testing.assert_allclose(pieces, expected, atol=1e-4)


def resident_mb() -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line.split()[1] for line in lines if line.startswith("VmRSS"))) / 1024


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_what_a_pass_took_is_given_back_and_the_network_stays(engine, monkeypatch):
    channels = np.random.default_rng(0).random((3, 160, 160, 64), np.float32)  # 0.2 GB in one pass
    monkeypatch.setattr(Engine, "release", lambda self: None)
    first = predict_volume(engine, channels)
    held = resident_mb()
    monkeypatch.undo()
    compiled = engine._compiled
    engine.release()
    assert resident_mb() < held - 50
    np.testing.assert_array_equal(predict_volume(engine, channels), first)
    assert engine._compiled is compiled


def test_run_accepts_views_and_other_dtypes(engine):
    batch = np.random.default_rng(3).random((1, 3, 8, 8, 4))
    expected = engine.run(batch.astype(np.float32))
    turned = np.asfortranarray(batch)
    np.testing.assert_allclose(engine.run(turned), expected, atol=1e-6)
    np.testing.assert_allclose(expected.sum(axis=1), 1, atol=1e-5)


def test_result_is_kept_after_the_next_run(engine):
    first = engine.run(np.zeros((1, 3, 8, 8, 4), np.float32))
    kept = first.copy()
    engine.run(np.ones((1, 3, 8, 8, 4), np.float32))
    np.testing.assert_array_equal(first, kept)


@pytest.mark.parametrize("threads", [0, 1, 2])
def test_threads_setting_reaches_openvino(small_folder, small_config, threads):
    engine = Engine(small_folder / "student.onnx", threads, config=small_config)
    compiled = engine._compile((1, 3, 32, 32, 8))
    set_threads = compiled.get_property("INFERENCE_NUM_THREADS")
    assert set_threads == threads if threads else set_threads > 0
    assert compiled.get_property("INFERENCE_PRECISION_HINT").to_string() == "f32"
