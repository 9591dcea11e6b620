"""Trained networks to files: ONNX for detection, safetensors for training; both checked."""

from __future__ import annotations

import copy
import logging
import warnings
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor, nn

from microbleeds.errors import UserError
from microbleeds.files import make_folder, sha256, whole_file
from microbleeds.models.card import ModelCard, write_card
from microbleeds.models.engine import Engine
from microbleeds.models.networks import Detector, Student, Teacher

TOLERANCE = 1e-4  # largest difference allowed between torch and OpenVINO


class _Probabilities(nn.Module):
    """A network with its softmax."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> Tensor:
        return torch.softmax(self.network(x), dim=1)


def export_onnx(network: Detector | Student, path: Path) -> None:
    """Write a network as ONNX that returns probabilities, and compare it with torch.

    Batch size is free, and so is the volume's size for a detector. Raises RuntimeError when
    OpenVINO's output differs from torch's by more than `TOLERANCE`.
    """
    probabilities = _Probabilities(copy.deepcopy(network)).cpu().float().eval()
    examples = _examples(network)
    with whole_file(path) as temporary:
        to_onnx(probabilities, examples[0], temporary, any_size=isinstance(network, Detector))
        engine = Engine(temporary, config=network.config)
        for example in examples:
            with torch.inference_mode():
                expected = probabilities(example).numpy()
            worst = float(np.abs(engine.run(example.numpy()) - expected).max())
            if not worst <= TOLERANCE:
                raise RuntimeError(f"{path.name} differs from torch by {worst:.2g} after export")


def to_onnx(network: nn.Module, example: Tensor, path: Path, *, any_size: bool) -> None:
    """Write a network of one input (B, C, X, Y, Z) as ONNX; `any_size` frees X, Y and Z.

    By the dynamo exporter: the older one gets the cropping in the up-path wrong by a voxel. What
    it notes of each operator (stack trace, paths on this machine) is left out, so that the same
    weights give the same file anywhere.
    """
    free = range(2, 5) if any_size else ()
    dynamic = dict.fromkeys((0, *free), torch.export.Dim.DYNAMIC)
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)  # it lists operators we do not use
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        program = torch.onnx.export(
            network,
            (example,),
            dynamo=True,
            dynamic_shapes=(dynamic,),
            input_names=["channels"],
            verbose=False,
        )
    assert program is not None  # as it always is with dynamo
    for node in program.model.graph.all_nodes():
        node.metadata_props.clear()
    program.save(path, external_data=False)


def _examples(network: Detector | Student) -> list[Tensor]:
    """Two batches of different size; of a detector, one of them not a multiple of the stride."""
    generator = torch.Generator().manual_seed(0)
    config = network.config
    shapes, channels = [config.patch_shape, config.patch_shape], config.patch_channels
    if isinstance(network, Detector):
        x, y, z = config.stride
        channels = config.in_channels
        shapes = [(4 * x + 1, 3 * y + 1, 5 * z + 1), (2 * x, 4 * y, 3 * z)]
    batches = zip((2, 3), shapes, strict=True)
    return [torch.rand(n, channels, *shape, generator=generator) for n, shape in batches]


def save_weights(network: nn.Module, path: Path) -> None:
    """Write a network's state dict as safetensors."""
    tensors = {
        key: value.detach().cpu().contiguous() for key, value in network.state_dict().items()
    }
    with whole_file(path) as temporary:
        temporary.write_bytes(save(tensors))  # save_file would hide it from other users


def load_weights(network: nn.Module, path: Path) -> None:
    """Fill a network from safetensors. Raises UserError when the file does not fit it."""
    try:
        tensors = load_file(path)
    except (OSError, SafetensorError) as error:
        raise UserError(f"{path} cannot be read as a safetensors file: {error}.") from error
    if problem := mismatch(network, tensors):
        raise UserError(f"The weights in {path} are of another network: {problem}.")
    network.load_state_dict(tensors)


def mismatch(network: nn.Module, tensors: Mapping[str, Tensor]) -> str:
    """The first way in which tensors do not fit a network; empty when they do."""
    expected = network.state_dict()
    for key, value in expected.items():
        if key not in tensors:
            return f"{key} is missing"
        if tensors[key].shape != value.shape:
            return f"{key} has shape {tuple(tensors[key].shape)}, not {tuple(value.shape)}"
    unknown = sorted(tensors.keys() - expected.keys())
    return f"{unknown[0]} is unknown" if unknown else ""


def write_model_folder(
    folder: Path, card: ModelCard, networks: Mapping[str, Detector | Student | Teacher]
) -> ModelCard:
    """Write a model folder from trained networks; returns the card with its checksums.

    networks: "detector" and "student", perhaps "teacher"; or "brain" alone. Each becomes
    `<name>.safetensors`, and all but the teacher, which detection does not need, `<name>.onnx`.
    Raises UserError when the folder cannot be made.
    """
    make_folder(folder)
    names: list[str] = []
    for name, network in networks.items():
        save_weights(network, folder / f"{name}.safetensors")
        names.append(f"{name}.safetensors")
        if not isinstance(network, Teacher):
            export_onnx(network, folder / f"{name}.onnx")
            names.append(f"{name}.onnx")
    card = replace(card, files={name: sha256(folder / name) for name in sorted(names)})
    write_card(card, folder)
    return card
