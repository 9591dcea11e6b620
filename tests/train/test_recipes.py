from dataclasses import replace

import pytest
import torch

from microbleeds.errors import UserError
from microbleeds.models.networks import TeacherNet
from microbleeds.train import recipes
from microbleeds.train.recipes import load_cases, train_detector, train_student, train_teacher
from microbleeds.train.settings import Start
from microbleeds.train.store import (
    build,
    check_same_network,
    load_network,
    read_recipe,
    save_network,
)


def weights(folder, kind):
    return load_network(kind, folder).state_dict()


def same(first, second):
    return all(torch.equal(value, second[key]) for key, value in first.items())


@pytest.fixture(scope="module")
def detector(rows, recipe, work, tmp_path_factory):
    """A detector that has learned to find the balls, and its training's outcome."""
    longer = replace(recipe.detector, steps=60, batch=4, learning_rate=1e-2, validate_every=60)
    longer = replace(longer, average=0.0)
    folder = tmp_path_factory.mktemp("detector")
    return folder, train_detector(rows, folder, replace(recipe, detector=longer), work)


def test_detector_learns_to_find_the_balls(detector):
    folder, done = detector
    assert done.finished and done.steps == 60 and done.best > 0.9
    names = {path.name for path in folder.iterdir()}
    assert names >= {"detector.safetensors", "network.json", "recipe.json", "log.tsv"}


def test_no_subject_is_learned_from_and_validated_on(rows, recipe, work):
    learn, held_out = load_cases(rows, recipe, work)
    names = [{case.name.split("_")[0] for case in cases} for cases in (learn, held_out)]
    assert len(names[0]) == 4 and len(names[1]) == 1 and not names[0] & names[1]


def test_student_learns_from_a_teacher_and_without_one(rows, recipe, work, detector, tmp_path):
    folder, _ = detector
    train_teacher(rows, tmp_path / "teacher", recipe, work, folder)
    for name, teacher in (("with", tmp_path / "teacher"), ("without", None)):
        done = train_student(rows, tmp_path / name, recipe, work, folder, teacher)
        assert done.finished and 0 <= done.best <= 1
    first, second = (weights(tmp_path / name, "student") for name in ("with", "without"))
    assert not same(first, second)
    deaf = replace(recipe, alpha=0.0)
    train_student(rows, tmp_path / "deaf", deaf, work, folder, tmp_path / "teacher")
    assert same(weights(tmp_path / "deaf", "student"), second)


def test_teacher_and_student_start_from_the_detector(
    rows, recipe, work, detector, tmp_path, monkeypatch
):
    started = {}

    def no_training(network, batch, loss, settings, folder, *rest):
        started[folder.name] = {k: v.clone() for k, v in network.state_dict().items()}

    monkeypatch.setattr(recipes, "fit", no_training)
    folder, _ = detector
    train_teacher(rows, tmp_path / "teacher", recipe, work, folder)
    train_student(rows, tmp_path / "student", recipe, work, folder, None)
    known = weights(folder, "detector")
    prefix = "features_and_segmentor."
    assert {k for k in started["teacher"] if k.startswith(prefix)} == {prefix + k for k in known}
    assert same(known, {k.removeprefix(prefix): v for k, v in started["teacher"].items()})
    shared = started["student"].keys() & known.keys()
    assert "down1.maxpool_conv.1.double_conv.0.weight" in shared and "inpconv.conv.weight" in shared
    assert all(torch.equal(started["student"][key], known[key]) for key in shared)


def test_killed_recipe_resumes_to_the_same_network(rows, recipe, work, tmp_path, monkeypatch):
    train_detector(rows, tmp_path / "whole", recipe, work)
    real, calls = recipes.segmentation_loss, iter(range(100))

    def killing(*arguments):
        if next(calls) == 3:  # a checkpoint was written after step 2
            raise KeyboardInterrupt
        return real(*arguments)

    monkeypatch.setattr(recipes, "segmentation_loss", killing)
    with pytest.raises(KeyboardInterrupt):
        train_detector(rows, tmp_path / "broken", recipe, work)
    train_detector(rows, tmp_path / "broken", recipe, work)
    assert same(weights(tmp_path / "whole", "detector"), weights(tmp_path / "broken", "detector"))


def test_fine_tuning_starts_from_given_weights_and_keeps_frozen_layers(
    rows, recipe, work, detector, tmp_path
):
    folder, _ = detector
    before = weights(folder, "detector")
    start = Start(folder, ("inpconv", "convfirst", "down1"))
    train_detector(rows, tmp_path, recipe, work, start)
    after = weights(tmp_path, "detector")
    for key, value in before.items():
        assert torch.equal(value, after[key]) == key.startswith(start.frozen), key
    with pytest.raises(UserError, match="no layer 'down9'"):
        train_detector(rows, tmp_path, recipe, work, Start(folder, ("down9",)))


def test_a_refused_training_leaves_the_recipe_of_the_kept_network(rows, recipe, work, tmp_path):
    train_detector(rows, tmp_path, recipe, work)
    before = (tmp_path / "recipe.json").read_text()
    faster = replace(recipe, detector=replace(recipe.detector, learning_rate=0.5))
    with pytest.raises(UserError, match="belongs to"):
        train_detector(rows, tmp_path, faster, work)
    assert (tmp_path / "recipe.json").read_text() == before
    student = tmp_path / "student"
    train_student(rows, student, recipe, work, tmp_path, None)
    with pytest.raises(UserError, match="belongs to"):
        train_student(rows, student, replace(recipe, alpha=0.1), work, tmp_path, None)
    assert read_recipe(student).alpha == recipe.alpha


def test_networks_of_another_size_are_refused_before_any_work(rows, recipe, work, tmp_path):
    folders = {}
    for name, change in {
        "same": {"student_widths": (2, 4)},
        "wider": {"widths": (8, 8)},
        "coarse": {"coarse_detector": True},
        "patch": {"patch_shape": (16, 16, 4)},
    }.items():
        folders[name] = tmp_path / name
        save_network(
            build("detector", replace(recipe.network, **change)), "detector", folders[name]
        )
    for name, sentence in (
        ("wider", r"widths \(8, 8\).*\(4, 8\)"),
        ("coarse", "coarse_detector True"),
    ):
        with pytest.raises(UserError, match=f"The detector in .* has {sentence}.*--size"):
            train_teacher(rows, tmp_path / "out", recipe, work, folders[name])
        with pytest.raises(UserError, match="The detector in"):
            train_student(rows, tmp_path / "out", recipe, work, folders[name], None)
    for name in ("wider", "patch"):
        with pytest.raises(UserError, match="The teacher in"):
            train_student(rows, tmp_path / "out", recipe, work, folders["same"], folders[name])
    assert not (tmp_path / "out").exists()
    for kind, name in (("detector", "patch"), ("teacher", "coarse"), ("teacher", "same")):
        check_same_network(kind, folders[name], recipe.network)


def test_each_detector_loss_can_be_chosen(rows, recipe, work, tmp_path, monkeypatch):
    used = []
    for name in ("lesion_loss", "segmentation_loss"):
        real = getattr(recipes, name)
        monkeypatch.setattr(
            recipes, name, lambda *a, name=name, real=real: used.append(name) or real(*a)
        )
    for loss in ("lesion", "published"):
        train_detector(rows, tmp_path / loss, replace(recipe, detector_loss=loss), work)
    assert used == ["lesion_loss"] * 4 + ["segmentation_loss"] * 4


def test_mined_false_positives_reach_the_sampler(
    rows, recipe, work, detector, tmp_path, monkeypatch
):
    given = []
    real = recipes.DetectorSampler
    monkeypatch.setattr(recipes, "DetectorSampler", lambda *a: given.append(a[-1]) or real(*a))
    train_detector(rows, tmp_path, recipe, work, mined=detector[0])
    assert [places.shape[1] for places in given[0]] == [3] * 4


def test_the_doubts_of_an_earlier_student_reach_the_sampler(
    rows, recipe, work, detector, tmp_path, monkeypatch
):
    given = []
    real = recipes.PatchSampler
    monkeypatch.setattr(
        recipes, "PatchSampler", lambda *a, doubts, **k: given.append((a[1], doubts)) or real(*a)
    )
    folder, _ = detector
    train_student(rows, tmp_path / "first", recipe, work, folder, None)
    train_student(rows, tmp_path / "second", recipe, work, folder, None, mined=tmp_path / "first")
    (_, none), (places, doubts) = given
    assert none == ()
    assert [len(d) for d in doubts] == [len(p.negative) for p in places]
    assert all(((d > 0) & (d < 1)).all() for d in doubts)


def test_doubts_are_of_the_patches_that_the_recipe_takes(recipe, tmp_path):
    save_network(build("student", recipe.network), "student", tmp_path)
    changes = (
        {},
        {"patch_spacing_mm": None},
        {"network": replace(recipe.network, patch_shape=(12, 12, 6))},
    )
    names = [recipes._doubts_name(tmp_path, replace(recipe, **change)) for change in changes]
    assert len(set(names)) == len(changes)
    assert recipes._doubts_name(tmp_path, replace(recipe, alpha=0.1)) == names[0]


def test_loading_what_is_not_there(tmp_path, recipe):
    with pytest.raises(UserError, match="holds no trained network"):
        load_network("student", tmp_path)
    save_network(recipes.build("teacher", recipe.network), "teacher", tmp_path)
    assert isinstance(load_network("teacher", tmp_path).features_and_segmentor, TeacherNet)
    with pytest.raises(UserError, match=r"student\.safetensors"):
        load_network("student", tmp_path)
