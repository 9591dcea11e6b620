"""The authors' layout with deterministic weights, and one small model folder for all tests."""

import json
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from microbleeds.models.card import ModelCard, Thresholds
from microbleeds.models.config import NetworkConfig
from microbleeds.models.export import write_model_folder
from microbleeds.models.initialise import initialise
from microbleeds.models.networks import Detector, Student

FIXTURES = Path(__file__).parent / "fixtures"
SMALL = NetworkConfig(3, (4, 6, 8), ((2, 2, 1), (2, 2, 2)), (8, 8, 6))

torch.set_num_threads(1)


def _tensor(key: str, shape: list[int]) -> torch.Tensor:
    """One tensor by the rules of fixtures (the reference's parity/README.md)."""
    if key.endswith("num_batches_tracked"):
        return torch.tensor(1)
    x = np.random.RandomState(zlib.crc32(key.encode()) & 0x7FFFFFFF).standard_normal(shape)
    if key.endswith("running_var"):
        x = 0.5 + np.abs(x)
    elif key.endswith("running_mean"):
        x = 0.1 * x
    elif len(shape) == 1:
        x = 1 + 0.1 * x if key.endswith("weight") else 0.05 * x
    else:
        x = x * np.sqrt(2 / np.prod(shape[1:]))
    return torch.from_numpy(x.astype(np.float32))


@pytest.fixture(scope="session")
def layouts() -> dict[str, dict[str, list[int]]]:
    """Key to shape for each published network."""
    stored = json.loads((FIXTURES / "state_dicts.json").read_text())
    return {name: {key: shape for key, (shape, _) in d.items()} for name, d in stored.items()}


@pytest.fixture(scope="session")
def published_weights(layouts) -> Callable[[str], dict[str, torch.Tensor]]:
    return lambda name: {key: _tensor(key, shape) for key, shape in layouts[name].items()}


@pytest.fixture(scope="session")
def published_outputs() -> dict[str, np.ndarray]:
    with np.load(FIXTURES / "outputs.npz") as arrays:
        return dict(arrays)


@pytest.fixture(scope="session")
def published_input() -> Callable[[int], np.ndarray]:
    def draw(n: int) -> np.ndarray:
        values = np.random.RandomState(n).uniform(0, 1, (1, 2, n, n, n))
        return np.clip(values, 0, 1).astype(np.float32)

    return draw


@pytest.fixture(scope="session")
def small_config() -> NetworkConfig:
    return SMALL


@pytest.fixture(scope="session")
def small_networks() -> dict[str, Detector | Student]:
    networks: dict[str, Detector | Student] = {
        "detector": Detector(SMALL),
        "student": Student(SMALL),
    }
    for seed, network in enumerate(networks.values()):
        initialise(network, seed)
    return networks


@pytest.fixture(scope="session")
def small_folder(tmp_path_factory, small_networks) -> Path:
    """A whole model folder; tests that change it copy it first."""
    card = ModelCard(
        name="small",
        description="for tests",
        licence="Apache-2.0",
        contrasts=("swi", "qsm"),
        operating_points={"balanced": Thresholds(0.25, 0.4)},
        networks=SMALL,
        training={"seed": 0},
    )
    folder = tmp_path_factory.mktemp("models") / "small"
    write_model_folder(folder, card, small_networks)
    return folder
