"""Trained networks on disk: weights, and beside them what rebuilds the network."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Literal

import torch
from torch import nn

from microbleeds.errors import UserError
from microbleeds.models.card import CARD, read_card
from microbleeds.models.config import NetworkConfig
from microbleeds.models.decode import decode
from microbleeds.models.export import load_weights, save_weights
from microbleeds.models.networks import Detector, Student, Teacher
from microbleeds.report.files import write_json
from microbleeds.train.settings import Recipe

Kind = Literal["detector", "teacher", "student"]
KINDS: tuple[Kind, ...] = ("detector", "teacher", "student")
NETWORK = "network.json"
RECIPE = "recipe.json"
Network = Detector | Teacher | Student
_CLASSES: dict[Kind, type[Network]] = {
    "detector": Detector,
    "teacher": Teacher,
    "student": Student,
}
# What the two that others learn from consist of; the rest of a configuration is not theirs.
_PARTS: dict[Kind, tuple[str, ...]] = {
    "detector": ("in_channels", "widths", "pools", "coarse_detector"),
    "teacher": ("in_channels", "widths", "pools", "patch_shape"),
}


def build(kind: Kind, config: NetworkConfig) -> Network:
    """The untrained network of a step."""
    return _CLASSES[kind](config)


def save_network(network: Network, kind: Kind, folder: Path) -> None:
    """Write `<kind>.safetensors` and, to rebuild the network, `network.json`."""
    write_json(folder / NETWORK, network.config)
    save_weights(network, folder / f"{kind}.safetensors")


def read_config(folder: Path) -> NetworkConfig:
    """What a folder's networks look like; a training's output folder or a model folder.

    Raises UserError when it is neither.
    """
    if (folder / CARD).is_file():
        return read_card(folder).networks
    try:
        content = json.loads((folder / NETWORK).read_text())
        config: NetworkConfig = decode(NetworkConfig, content, "network")
    except (OSError, ValueError) as error:
        raise UserError(
            f"The folder {folder} holds no trained network ({error}); give the output folder of "
            "a finished training or a model folder."
        ) from error
    return config


def check_same_network(
    kind: Literal["detector", "teacher"], folder: Path, wanted: NetworkConfig
) -> None:
    """Raise UserError when the folder's network is not the one of `wanted`.

    Only what a network of that kind consists of is compared.
    """
    found = read_config(folder)
    for part in _PARTS[kind]:
        has, needed = getattr(found, part), getattr(wanted, part)
        if has != needed:
            raise UserError(
                f"The {kind} in {folder} has {part} {has}, but the other networks need {needed}; "
                f"give a {kind} trained with the same --size and version of microbleeds."
            )


def read_recipe(folder: Path) -> Recipe:
    """What a network was trained with. Raises UserError when the folder does not say."""
    path = folder / RECIPE
    try:
        recipe: Recipe = decode(Recipe, json.loads(path.read_text(encoding="utf-8")), "recipe")
    except (OSError, ValueError) as error:
        raise UserError(
            f"{path} cannot be read as the recipe of a training ({error}); give the folder that "
            "`microbleeds train student` wrote."
        ) from error
    return recipe


def load_network(kind: Kind, folder: Path) -> Network:
    """A trained network in evaluation mode. Raises UserError when the folder has none."""
    network = build(kind, read_config(folder))
    load_weights(network, folder / f"{kind}.safetensors")
    return network.eval()


def transfer(source: nn.Module, target: nn.Module) -> int:
    """Copy every weight whose name and shape both networks share; returns how many.

    A layer that takes more channels than the source's gets its weights for the first ones and 0 for
    the others, so that a student which gains a second view begins as it was.
    """
    wanted = target.state_dict()
    shared = {}
    for name, value in source.state_dict().items():
        if name not in wanted:
            continue
        room = wanted[name].shape
        more = room[1] - value.shape[1] if value.ndim == len(room) > 1 else 0
        if more > 0 and room[:1] + room[2:] == value.shape[:1] + value.shape[2:]:
            value = torch.cat([value, value.new_zeros(room[0], more, *room[2:])], dim=1)
        if value.shape == room:
            shared[name] = value
    target.load_state_dict(shared, strict=False)
    return len(shared)
