from dataclasses import replace

import numpy as np
import onnx
import pytest
import torch

from microbleeds.errors import UserError
from microbleeds.models import export
from microbleeds.models.card import read_card
from microbleeds.models.config import NetworkConfig
from microbleeds.models.engine import Engine
from microbleeds.models.initialise import initialise
from microbleeds.models.networks import Detector, Student


@pytest.mark.parametrize("shape", [(2, 3, 16, 12, 8), (1, 3, 13, 15, 5)])
def test_detector_in_openvino_equals_torch(small_folder, small_networks, small_config, shape):
    batch = np.random.default_rng(0).random(shape, np.float32)
    got = Engine(small_folder / "detector.onnx", 1, config=small_config).run(batch)
    with torch.inference_mode():
        expected = small_networks["detector"].eval()(torch.from_numpy(batch)).softmax(1)
    np.testing.assert_allclose(got, expected.numpy(), atol=1e-4)


@pytest.mark.parametrize("count", [1, 7])
def test_student_in_openvino_equals_torch(small_folder, small_networks, small_config, count):
    batch = np.random.default_rng(0).random((count, 3, *small_config.patch_shape), np.float32)
    got = Engine(small_folder / "student.onnx", 1, config=small_config).run(batch)
    with torch.inference_mode():
        expected = small_networks["student"].eval()(torch.from_numpy(batch)).softmax(1)
    np.testing.assert_allclose(got, expected.numpy(), atol=1e-4)


def test_a_student_with_context_takes_both_views(tmp_path, small_config):
    config = replace(small_config, context=(3, 3, 2))
    network = Student(config)
    initialise(network, 0)
    export.export_onnx(network, tmp_path / "student.onnx")
    batch = np.random.default_rng(0).random((5, 6, *config.patch_shape), np.float32)
    got = Engine(tmp_path / "student.onnx", 1, config=config).run(batch)
    with torch.inference_mode():
        expected = network.eval()(torch.from_numpy(batch)).softmax(1)
    np.testing.assert_allclose(got, expected.numpy(), atol=1e-4)


def test_graph_is_valid_with_batch_norm_folded_and_weights_inside(small_folder):
    path = small_folder / "detector.onnx"
    onnx.checker.check_model(path, full_check=True)
    operators = {node.op_type for node in onnx.load(path).graph.node}
    assert "BatchNormalization" not in operators
    assert "Softmax" in operators
    assert not list(small_folder.glob("*.data")) and not list(small_folder.glob(".*"))


def test_a_graph_says_nothing_of_the_machine_that_wrote_it(small_folder):
    content = (small_folder / "detector.onnx").read_bytes()
    assert b".py" not in content and b"microbleeds" not in content


def test_a_graph_that_differs_from_torch_is_not_written(tmp_path, monkeypatch, small_config):
    def other_weights(network, example, path, *, any_size):
        torch.save({}, path)

    network = Student(small_config)
    monkeypatch.setattr(export, "to_onnx", other_weights)
    monkeypatch.setattr(Engine, "run", lambda self, batch: np.full((len(batch), 2), 0.5 + 1e-3))
    for parameter in network.parameters():
        torch.nn.init.zeros_(parameter)
    with pytest.raises(RuntimeError, match=r"differs from torch by 0\.001"):
        export.export_onnx(network, tmp_path / "student.onnx")
    assert not list(tmp_path.iterdir())


def test_weights_roundtrip(tmp_path, small_config):
    first, second = Student(small_config), Student(small_config)
    initialise(first, 5)
    export.save_weights(first, tmp_path / "s.safetensors")
    export.load_weights(second, tmp_path / "s.safetensors")
    for key, value in first.state_dict().items():
        assert torch.equal(value, second.state_dict()[key])
    assert [path.name for path in tmp_path.iterdir()] == ["s.safetensors"]


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (lambda c: Detector(c), "is missing"),
        (lambda c: Student(NetworkConfig(3, (4, 6, 10), c.pools, c.patch_shape)), "has shape"),
        (lambda c: Detector(NetworkConfig(3, (4, 6), c.pools[:1], c.patch_shape)), "is "),
    ],
)
def test_weights_of_another_network(tmp_path, small_config, other, message):
    export.save_weights(Student(small_config), tmp_path / "s.safetensors")
    with pytest.raises(UserError, match=f"another network: .*{message}"):
        export.load_weights(other(small_config), tmp_path / "s.safetensors")


def test_surplus_weights_are_refused(tmp_path, small_config):
    one_level_less = NetworkConfig(3, (4,), (), small_config.patch_shape)
    deep = Detector(NetworkConfig(3, (4, 4), ((2, 2, 1),), small_config.patch_shape))
    export.save_weights(deep, tmp_path / "d.safetensors")
    with pytest.raises(UserError, match=r"down1\..* is unknown"):
        export.load_weights(Detector(one_level_less), tmp_path / "d.safetensors")


@pytest.mark.parametrize("content", [None, b"", b"\x80\x04not safetensors"])
def test_unreadable_weights(tmp_path, small_config, content):
    path = tmp_path / "s.safetensors"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UserError, match="cannot be read"):
        export.load_weights(Student(small_config), path)


def test_model_folder_holds_what_its_card_says(small_folder):
    assert sorted(path.name for path in small_folder.iterdir()) == [
        "card.json",
        "detector.onnx",
        "detector.safetensors",
        "student.onnx",
        "student.safetensors",
    ]
    assert sorted(read_card(small_folder).files) == sorted(
        path.name for path in small_folder.iterdir() if path.name != "card.json"
    )


def test_model_folder_that_cannot_be_made(tmp_path, small_folder, small_networks):
    (tmp_path / "taken").write_text("a file")
    with pytest.raises(UserError, match="cannot be made"):
        export.write_model_folder(tmp_path / "taken", read_card(small_folder), small_networks)
