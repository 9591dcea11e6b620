from dataclasses import replace

import nibabel as nib
import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from microbleeds.errors import UserError
from microbleeds.models.card import read_card
from microbleeds.models.config import NetworkConfig
from microbleeds.models.engine import Engine
from microbleeds.models.export import save_weights
from microbleeds.train import brain
from microbleeds.train.brain import (
    BRAIN_TRAINING,
    brain_network,
    dice,
    draw_batch,
    split_rows,
    train_brain,
)
from microbleeds.train.heads import BrainRow, load_source

SHORT = replace(
    BRAIN_TRAINING, steps=4, warmup=1, validate_every=2, save_every=2, average=0.5, threads=1
)


@pytest.fixture
def row(head_numbers, tmp_path, monkeypatch):
    """A head, and network and fields of view small enough for a test."""
    path = tmp_path / "head.nii.gz"
    nib.save(nib.Nifti1Image(head_numbers, np.eye(4)), path)
    monkeypatch.setattr(brain, "_FIELDS", (((32, 32, 32), 0.5, 1), ((32, 48, 32), 0.5, 2)))
    monkeypatch.setattr(brain, "BRAIN", NetworkConfig(1, (4, 8), ((2, 2, 2),)))
    monkeypatch.setattr(brain, "_HELD_OUT_DRAWS", 3)
    return BrainRow("head", anatomy=path)


def test_training_after_a_kill_gives_the_same_network(row, tmp_path, monkeypatch):
    whole = train_brain([row], [row], tmp_path / "whole", SHORT)
    assert whole.finished and whole.steps == 4 and 0 <= whole.best <= 1
    networks = []
    monkeypatch.setattr(brain, "write_model_folder", lambda *given: networks.append(given[2]))
    cut = train_brain([row], [row], tmp_path / "halves", SHORT, time_limit_s=0.01)
    assert not cut.finished
    assert train_brain([row], [row], tmp_path / "halves", SHORT) == whole
    kept = load_file(tmp_path / "whole" / "brain.safetensors")
    for name, tensor in networks[-1]["brain"].state_dict().items():
        assert torch.equal(tensor, kept[name])
    card = read_card(tmp_path / "whole")
    assert card.training["held_out_dice"] == round(whole.best, 4)
    engine = Engine(tmp_path / "whole" / "brain.onnx", 1, config=card.networks)
    assert engine.run(np.zeros((1, 1, 16, 32, 16), np.float32)).shape == (1, 2, 16, 32, 16)


def test_another_training_does_not_go_on(row, tmp_path, monkeypatch):
    monkeypatch.setattr(brain, "write_model_folder", lambda *given: None)
    train_brain([row], [row], tmp_path / "out", SHORT, time_limit_s=0.01)
    (tmp_path / "start").mkdir()
    save_weights(brain_network(3), tmp_path / "start" / "brain.safetensors")
    for learn, settings, start in (
        ([row, row], SHORT, None),
        ([row], replace(SHORT, seed=1), None),
        ([row], SHORT, tmp_path / "start"),
    ):
        with pytest.raises(UserError, match="belongs to"):
            train_brain(learn, [row], tmp_path / "out", settings, start=start)
    longer = replace(SHORT, steps=5)
    assert train_brain([row], [row], tmp_path / "out", longer).steps == 5


def test_it_learns(row):
    """A few steps on one example lower its loss a good deal."""
    torch.manual_seed(0)
    network = brain_network(0)
    batch = draw_batch([load_source(row)], 2, np.random.default_rng(8))
    optimiser = torch.optim.Adam(network.parameters(), 3e-3)
    losses = []
    for _ in range(25):
        loss = brain.segmentation_loss(network(batch["image"]), batch["mask"], 1.0)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.7 * losses[0]


def test_network_is_the_same_in_training_and_in_use(row):
    """Its batch norms have no say, so a batch's other heads cannot change a result."""
    network = brain_network(1)
    norms = [m for m in network.modules() if isinstance(m, nn.BatchNorm3d)]
    assert norms and not any(p.requires_grad for norm in norms for p in norm.parameters())
    assert {float(norm.running_var.unique()) for norm in norms} == {1.0}


def test_batches_hold_fewer_heads_when_these_are_large(row):
    sources = [load_source(row)]
    shapes = {
        tuple(draw_batch(sources, 2, np.random.default_rng(s))["mask"].shape) for s in range(9)
    }
    assert shapes == {(2, 32, 32, 32), (1, 32, 48, 32)}


def test_a_fifth_of_the_subjects_is_held_out():
    rows = [BrainRow(f"s{number % 10}") for number in range(20)]  # two heads each
    learn, held_out = split_rows(rows, 0)
    assert len(learn) == 16 and len(held_out) == 4
    assert not {row.subject for row in learn} & {row.subject for row in held_out}
    assert split_rows(rows, 0) == (learn, held_out) != split_rows(rows, 1)
    with pytest.raises(UserError, match="one subject"):
        split_rows([BrainRow("s"), BrainRow("s")], 0)


def test_dice_of_known_masks():
    a, b = np.zeros((2, 10), bool)
    assert dice(a, b) == 1
    a[:4], b[2:8] = True, True
    assert dice(a, b) == pytest.approx(2 * 2 / (4 + 6))
