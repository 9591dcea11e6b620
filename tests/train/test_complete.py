from dataclasses import replace

import numpy as np
import pytest
import torch

from microbleeds.errors import UserError
from microbleeds.models.zoo import load_models
from microbleeds.train.complete import fine_tune, train_all
from microbleeds.train.store import load_network


@pytest.fixture(scope="module")
def model(crossed):
    return crossed[0] / "fold-1" / "model"


def test_the_model_folder_can_be_used(model, recipe):
    models = load_models(model)
    card = models.card
    assert card.name == "fold-1"
    assert card.contrasts == ("t2star",) and card.networks == recipe.network
    assert card.prepare == recipe.prepare and card.patch_spacing_mm == recipe.patch_spacing_mm
    assert set(card.operating_points) == {"sensitive", "balanced", "precise"}
    assert "teacher.safetensors" in card.files
    patch = np.zeros((1, 3, *recipe.network.patch_shape), np.float32)
    np.testing.assert_allclose(models.student.run(patch).sum(), 1, rtol=1e-5)
    np.testing.assert_allclose(models.detector.run(patch).sum(axis=1), 1, rtol=1e-5)


def test_fine_tuning_takes_over_the_models_networks_and_weights(
    rows, recipe, work, model, tmp_path
):
    other = replace(recipe, network=replace(recipe.network, widths=(2, 4)))
    stop = replace(work, time_limit_s=0.0)
    assert fine_tune(rows, tmp_path, other, stop, model, ("inpconv", "classifier")) is None
    before, after = (
        load_network("detector", folder).state_dict() for folder in (model, tmp_path / "detector")
    )
    assert all(torch.equal(value, after[key]) for key, value in before.items())
    with pytest.raises(UserError, match="no layer 'up7'"):
        fine_tune(rows, tmp_path / "b", recipe, work, model, ("up7",))


def test_time_limit_stops_before_the_next_network(rows, recipe, work, tmp_path):
    assert train_all(rows, tmp_path, recipe, replace(work, time_limit_s=0.0)) is None
    assert (tmp_path / "detector" / "checkpoint.pt").exists()
    assert not (tmp_path / "teacher").exists()
