import numpy as np
import pytest
import torch

from microbleeds.models.config import NetworkConfig
from microbleeds.models.engine import predict_volume
from microbleeds.models.initialise import initialise
from microbleeds.models.networks import Detector, Teacher
from microbleeds.prepare.grid import Grid
from microbleeds.train import inference
from microbleeds.train.cases import UNRATED, Case, prepare_case
from microbleeds.train.inference import (
    Found,
    TorchEngine,
    case_candidates,
    detector_figure,
    figure,
    patch_logits,
)

CONFIG = NetworkConfig(3, (4, 8), ((2, 2, 1),), (8, 8, 4))


def seen(name, hits, false, missed=0):
    """Candidates of the given confidences, on true microbleeds 20 mm apart or far from any."""
    truth = np.array([[20.0 * n, 0, 0] for n in range(len(hits) + missed)]).reshape(-1, 3)
    wrong = np.array([[20.0 * n, 90, 0] for n in range(len(false))]).reshape(-1, 3)
    centres = np.concatenate([truth[: len(hits)] + 1, wrong])
    return Found(name, centres, np.array([*hits, *false], float), truth)


def test_figure_is_the_mean_sensitivity_at_half_one_two_four_and_eight():
    assert figure([seen("a", [0.9, 0.8], [0.1]), seen("b", [], [])]) == 1
    # two scans: at 0.5 a scan one false positive (0.7) may be kept, at 1 two (0.6), then all
    cases = [seen("a", [0.9, 0.65], [0.7, 0.6]), seen("b", [0.5], [0.4], missed=1)]
    assert figure(cases) == pytest.approx((2 / 4 + 3 / 4 * 4) / 5)


def test_nothing_found_is_zero_and_no_truth_is_no_number():
    assert figure([seen("a", [], [], missed=2)]) == 0
    assert np.isnan(figure([seen("a", [], [0.5])]))


def test_a_detector_in_training_serves_as_engine():
    network = Detector(CONFIG)
    initialise(network, 0)
    network.eval()
    volume = np.random.default_rng(0).random((3, 9, 10, 6), np.float32)
    padded = torch.from_numpy(np.pad(volume, [(0, 0), (0, 1), (0, 0), (0, 0)]))[None]
    with torch.no_grad():
        expected = torch.softmax(network(padded), 1)[0, 1, :9].numpy()
    np.testing.assert_allclose(predict_volume(TorchEngine(network), volume), expected, atol=1e-6)


def test_patch_logits_are_the_teachers_own():
    network = Teacher(CONFIG)
    initialise(network, 0)
    network.eval()
    patches = torch.rand(2, 3, 8, 8, 4)
    torch.testing.assert_close(patch_logits(network, patches), network(patches)[1])


def test_a_raw_detector_that_marks_everything_gives_few_candidates(rows, recipe, work):
    case = prepare_case(rows[0], recipe.cases, work.cache / "images")
    network = Detector(recipe.network)
    initialise(network, 0)
    candidates = case_candidates(TorchEngine(network.eval()), case, threshold=0.0)
    assert 0 < (candidates.labels > 0).sum() <= 0.003 * case.brain.sum()


def test_what_is_found_at_unrated_microbleeds_does_not_count_against_a_detector(monkeypatch):
    """Of eight places that a detector marks half are rated and half are not, which it prefers."""
    shape = (60, 60, 12)
    labels, probability = np.zeros(shape, np.uint16), np.zeros(shape, np.float32)
    centres = []
    for place in range(8):
        i, j = 5 + 13 * (place % 4), 5 + 13 * (place // 4)
        box = np.s_[i : i + 3, j : j + 3, 4:6]
        labels[box] = UNRATED if place % 2 else place // 2 + 1
        probability[box] = 0.9 if place % 2 else 0.8
        if place % 2 == 0:
            centres.append((i + 1, j + 1, 4.5))
    arrays = {
        "channels": np.zeros((3, *shape), np.float16),
        "labels": labels,
        "brain": np.ones(shape, bool),
    }
    case = Case("a", arrays.__getitem__, np.array(centres), Grid(shape, np.eye(4)))
    monkeypatch.setattr(inference, "predict_volume", lambda engine, channels: probability)
    assert detector_figure(Detector(CONFIG), [case], threshold=0.2) == 1
