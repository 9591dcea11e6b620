import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from microbleeds.errors import UserError
from microbleeds.models import zoo
from microbleeds.models.card import ModelCard
from microbleeds.models.config import NetworkConfig
from microbleeds.models.export import write_model_folder
from microbleeds.models.networks import Detector


@pytest.fixture
def shipped(tmp_path, monkeypatch, small_folder) -> Path:
    """A weights folder with one detection model and something that is none."""
    shutil.copytree(small_folder, tmp_path / "small")
    (tmp_path / "notes").mkdir()
    monkeypatch.setattr(zoo, "WEIGHTS", tmp_path)
    return tmp_path


def test_load_by_name_and_by_folder(shipped, small_folder, small_config):
    assert zoo.list_models() == ("small",)
    for where in ("small", small_folder, str(small_folder)):
        models = zoo.load_models(where, threads=1)
        assert models.card.name == "small"
        assert models.folder in (shipped / "small", small_folder)
        assert models.detector.run(np.zeros((1, 3, 8, 8, 4), np.float32)).shape == (1, 2, 8, 8, 4)
        patches = np.zeros((2, 3, *small_config.patch_shape), np.float32)
        assert models.student.run(patches).shape == (2, 2)
        assert models.student.threads == 1


def test_unknown_model_lists_the_shipped_ones(shipped):
    with pytest.raises(UserError, match=r"no model 'large'.*shipped models: small\."):
        zoo.load_models("large")


def test_folder_without_card(shipped):
    with pytest.raises(UserError, match="no model folder"):
        zoo.load_models(shipped / "notes")


@pytest.mark.parametrize("name", ["detector.onnx", "student.onnx"])
def test_missing_changed_and_unlisted_files(shipped, name):
    path = shipped / "small" / name
    content = path.read_bytes()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(UserError, match=f"{name} is not the file that its card describes"):
        zoo.load_models("small")
    path.unlink()
    with pytest.raises(UserError, match=f"{name} is missing"):
        zoo.load_models("small")
    card_path = shipped / "small" / "card.json"
    card = json.loads(card_path.read_text())
    del card["files"][name]
    card_path.write_text(json.dumps(card))
    with pytest.raises(UserError, match=f"does not list {name}"):
        zoo.load_models("small")


def test_brain_network_is_shipped_beside_the_models(shipped):
    config = NetworkConfig(1, (2, 3), ((2, 2, 2),))
    card = ModelCard("brain", "mask", "Apache-2.0", channels=("image",), networks=config)
    write_model_folder(shipped / "brain", card, {"brain": Detector(config)})
    assert zoo.list_models() == ("small",)
    engine = zoo.load_brain(threads=1)
    assert engine.config == config
    assert engine.run(np.zeros((1, 1, 32, 16, 48), np.float32)).shape == (1, 2, 32, 16, 48)


def test_the_network_of_the_regions_is_checked_too(shipped, monkeypatch):
    shutil.copytree(Path(zoo.__file__).parent.parent / "weights" / "regions", shipped / "regions")
    assert zoo.list_models() == ("small",)
    assert zoo.load_regions(threads=1).threads == 1
    path = shipped / "regions" / "regions.onnx"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(UserError, match=r"regions\.onnx is not the file that its card describes"):
        zoo.load_regions()


def test_loading_and_running_needs_no_torch(small_folder):
    code = f"""
import sys
sys.modules["torch"] = sys.modules["onnx"] = sys.modules["safetensors"] = None
import numpy as np
from microbleeds.models.engine import predict_volume
from microbleeds.models.zoo import load_models
models = load_models({str(small_folder)!r}, threads=1)
print(predict_volume(models.detector, np.zeros((3, 9, 8, 4), np.float32)).shape)
"""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=False
    )
    assert result.stdout.strip() == "(9, 8, 4)", result.stderr
