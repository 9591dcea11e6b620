import os
from collections import Counter, OrderedDict

import numpy as np
import pytest
import torch

from microbleeds.errors import UserError
from microbleeds.models.config import PUBLISHED
from microbleeds.models.engine import Engine
from microbleeds.models.export import load_weights, to_onnx
from microbleeds.models.networks import Teacher
from microbleeds.models.published import convert_published, published_card, read_checkpoint
from microbleeds.models.zoo import load_models


@pytest.fixture(scope="module")
def files(tmp_path_factory, published_weights):
    """The four networks, each in another container."""
    folder = tmp_path_factory.mktemp("pth")
    wrapped = {
        "model_state_dict": published_weights("cdisc_student"),
        "epoch": 7,
        "val_loss": [np.float64(0.5), np.float32(0.25)],
        "scheduler_state_dict": {"milestones": Counter([10])},
    }
    prefixed = {f"module.{k}": v for k, v in published_weights("cdisc_teacher").items()}
    head = published_weights("cdisc_teacher_classification_head")
    contents = {
        "x_cdet_model.pth": published_weights("cdet"),
        "x_cdisc_student_model_weights.pth": wrapped,
        "x_cdisc_teacher_model.pth": {"model_state_dict": OrderedDict(prefixed)},
        "x_cdisc_teacher_classification_head_model.pth": {
            f"module.{k}": v for k, v in head.items()
        },
    }
    for name, content in contents.items():
        torch.save(content, folder / name)
    return {name: folder / name for name in contents}


@pytest.fixture(scope="module")
def converted(files, tmp_path_factory):
    folder = tmp_path_factory.mktemp("converted") / "model"
    convert_published(list(files.values()), folder)
    return folder


def softmax(logits):
    exponent = np.exp(logits)
    return exponent / exponent.sum(axis=1, keepdims=True)


def test_converted_networks_in_openvino(converted, published_input, published_outputs):
    models = load_models(converted, threads=1)
    large, patch = published_input(48), published_input(24)
    got = models.detector.run(large)[..., ::2, ::2, ::2]
    np.testing.assert_allclose(got, softmax(published_outputs["cdet_logits"]), atol=1e-4)
    odd = models.detector.run(large[..., :45, :46, :44])[..., ::2, ::2, ::2]
    np.testing.assert_allclose(odd, softmax(published_outputs["cdet_logits_odd"]), atol=1e-4)
    student = softmax(published_outputs["cdisc_student_logits"])
    np.testing.assert_allclose(models.student.run(patch), student, atol=1e-4)


class Flat(torch.nn.Module):
    """All three outputs of the published teacher in one vector."""

    def __init__(self, teacher):
        super().__init__()
        self.teacher = teacher

    def forward(self, x):
        voxels, features = self.teacher.features_and_segmentor(x)
        parts = voxels, features, self.teacher.classifier(features).sigmoid()
        return torch.cat([part.flatten(1) for part in parts], dim=1)


def test_converted_teacher_in_openvino(converted, published_input, published_outputs, tmp_path):
    teacher = Teacher(PUBLISHED)
    load_weights(teacher, converted / "teacher.safetensors")
    patch = published_input(24)
    network = Flat(teacher).eval()
    to_onnx(
        network, torch.from_numpy(patch).repeat(2, 1, 1, 1, 1), tmp_path / "t.onnx", any_size=False
    )
    flat = Engine(tmp_path / "t.onnx", 1, config=PUBLISHED).run(patch)
    voxels, features, head = np.split(flat, [2 * 24**3, 2 * 24**3 + 256 * 6**3], axis=1)
    for name, value in (
        ("teacher_logits", voxels.reshape(1, 2, 24, 24, 24)[..., ::2, ::2, ::2]),
        ("teacher_features", features.reshape(1, 256, 6, 6, 6)[:, ::8]),
        ("teacher_head_output", head),
    ):
        np.testing.assert_allclose(value, published_outputs[name], atol=1e-4, err_msg=name)


def test_card_of_the_later_convention(converted):
    card = load_models(converted).card
    assert card.value_range == "unit"
    assert card.channels == ("image", "symmetry")
    assert card.prepare.paint_vessels
    assert card.prepare.symmetry_radii_voxels == (2.0, 3.0)
    assert card.prepare.symmetry_alpha == 2.0
    assert card.prepare.in_plane_mm is None and card.prepare.min_slice_mm is None
    assert card.patch_shape == (24, 24, 24) and card.patch_spacing_mm is None
    settings = card.settings()
    assert (settings.candidates.threshold, settings.discriminate.threshold) == (0.2, 0.5)
    assert "teacher.safetensors" in card.files


def test_card_of_the_earlier_convention():
    card = published_card("2023")
    assert card.value_range == "signed"
    assert not card.prepare.paint_vessels
    assert card.prepare.symmetry_alpha == 1.0
    assert card.name != published_card("2025").name


def test_detector_and_student_are_needed(files, tmp_path):
    detector, student = files["x_cdet_model.pth"], files["x_cdisc_student_model_weights.pth"]
    with pytest.raises(UserError, match=r"No file holds the student; give"):
        convert_published([detector], tmp_path / "m")
    with pytest.raises(UserError, match=r"No file holds the detector; give"):
        convert_published([student, files["x_cdisc_teacher_model.pth"]], tmp_path / "m")
    with pytest.raises(UserError, match=r"second file with the detector"):
        convert_published([detector, student, detector], tmp_path / "m")
    assert not (tmp_path / "m").exists()


def test_another_network_is_named(tmp_path, published_weights):
    state = published_weights("cdet")
    state["down3.maxpool_conv.1.double_conv.0.weight"] = torch.zeros(1)
    torch.save(state, tmp_path / "deep.pth")
    with pytest.raises(UserError, match=r"none of the published networks: down3\..* is unknown"):
        convert_published([tmp_path / "deep.pth"], tmp_path / "m")
    narrow = published_weights("cdisc_student") | {"fc3.weight": torch.zeros(3, 32)}
    torch.save(narrow, tmp_path / "narrow.pth")
    with pytest.raises(UserError, match=r"fc3.weight has shape \(3, 32\), not \(2, 32\)"):
        convert_published([tmp_path / "narrow.pth"], tmp_path / "m")


def test_half_precision_becomes_single(tmp_path):
    torch.save(
        {"module.a": torch.ones(2, dtype=torch.float16), "n": torch.tensor(1)}, tmp_path / "h"
    )
    state = read_checkpoint(tmp_path / "h")
    assert state["a"].dtype == torch.float32
    assert state["n"].dtype == torch.int64


class Malicious:
    def __init__(self, target):
        self.target = target

    def __reduce__(self):
        return os.mkdir, (str(self.target),)


@pytest.mark.parametrize("legacy", [True, False])
def test_code_in_a_checkpoint_is_not_run(tmp_path, legacy):
    target = tmp_path / "harm"
    content = {"model_state_dict": {"a": torch.zeros(1)}, "hook": Malicious(target)}
    torch.save(content, tmp_path / "bad.pth", _use_new_zipfile_serialization=not legacy)
    with pytest.raises(UserError, match="program code inside, which is not run"):
        read_checkpoint(tmp_path / "bad.pth")
    assert not target.exists()


@pytest.mark.parametrize("damage", ["empty", "text", "truncated", "zeros"])
def test_damaged_files(tmp_path, files, damage):
    whole = files["x_cdet_model.pth"].read_bytes()
    content = {"empty": b"", "text": b"<html>", "truncated": whole[:100_000], "zeros": bytes(999)}
    (tmp_path / "d.pth").write_bytes(content[damage])
    with pytest.raises(UserError, match=r"d\.pth is not a checkpoint of plain weights"):
        read_checkpoint(tmp_path / "d.pth")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([1, 2], "holds no network weights"),
        ({}, "holds no network weights"),
        ({"model_state_dict": None}, "holds no network weights"),
        ({"epoch": 3}, "holds other things"),
    ],
)
def test_files_without_weights(tmp_path, content, message):
    torch.save(content, tmp_path / "f.pth")
    with pytest.raises(UserError, match=message):
        read_checkpoint(tmp_path / "f.pth")


def test_missing_file_and_folder(tmp_path):
    for path in (tmp_path / "none.pth", tmp_path):
        with pytest.raises(UserError, match="cannot be read"):
            read_checkpoint(path)
