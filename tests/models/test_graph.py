import numpy as np
import openvino
import pytest

from microbleeds.models.graph import join_by_adding

CORE = openvino.Core()


@pytest.mark.parametrize("shape", [(1, 3, 16, 24, 8), (2, 3, 17, 13, 11), (1, 3, 5, 4, 2)])
def test_the_result_is_that_of_the_exported_network(small_folder, shape):
    """Even and odd sizes: what the transposed convolution gives too much differs."""
    batch = np.random.default_rng(0).random(shape, np.float32)
    network = CORE.read_model(small_folder / "detector.onnx")
    exact = {"INFERENCE_PRECISION_HINT": "f32"}
    expected = CORE.compile_model(network, "CPU", exact)(batch)[0]
    network.reshape(shape)
    join_by_adding(network)
    assert not [node for node in network.get_ops() if node.get_type_name() == "Slice"]
    got = CORE.compile_model(network, "CPU", exact)(batch)[0]
    assert np.ptp(expected) > 0.01
    np.testing.assert_allclose(got, expected, atol=1e-6)
