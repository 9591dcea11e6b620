import time

from microbleeds.models.card import read_card
from microbleeds.models.networks import Detector
from microbleeds.models.zoo import WEIGHTS
from microbleeds.train.settings import PUBLISHED_RECIPE, SLIM_RECIPE, Work, recipe_of


def test_the_published_recipe_is_the_published_network():
    network = Detector(recipe_of("published").network)
    assert sum(p.numel() for p in network.parameters()) == 3_433_611  # METHOD.md
    training = PUBLISHED_RECIPE.detector
    assert (training.learning_rate, training.epsilon, training.batch) == (1e-3, 1e-4, 8)
    assert (PUBLISHED_RECIPE.alpha, PUBLISHED_RECIPE.temperature) == (0.6, 4.0)


def test_the_slim_recipe_makes_models_like_the_shipped_one():
    card = read_card(WEIGHTS / "slim")
    assert card.networks == SLIM_RECIPE.network and card.prepare == SLIM_RECIPE.prepare
    assert card.patch_spacing_mm == SLIM_RECIPE.patch_spacing_mm
    assert card.detector_weight == SLIM_RECIPE.detector_weight
    assert card.mirrored == SLIM_RECIPE.mirrored


def test_steps_and_seed_reach_every_network():
    recipe = recipe_of("slim", steps=50, seed=3, precision="bf16-mixed")
    for training in (recipe.detector, recipe.teacher, recipe.student):
        assert (training.steps, training.seed, training.warmup) == (50, 3, 5)
        assert training.precision == "bf16-mixed"
    assert recipe.split_seed == 3 and recipe.network == SLIM_RECIPE.network


def test_time_runs_from_the_making_of_the_work(tmp_path):
    assert Work(tmp_path).seconds_left is None
    work = Work(tmp_path, time_limit_s=100.0)
    first = work.seconds_left
    time.sleep(0.01)
    assert work.seconds_left < first <= 100.0
