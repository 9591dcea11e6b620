import math
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from microbleeds.errors import UserError
from microbleeds.models.config import NetworkConfig
from microbleeds.models.freeze import freeze, layers
from microbleeds.models.initialise import initialise
from microbleeds.models.networks import Student
from microbleeds.train.loop import Fit, TrainSettings, fit, learning_rate

CONFIG = NetworkConfig(1, (4, 8), ((2, 2, 1),), (8, 8, 4))
SETTINGS = TrainSettings(
    steps=12, batch=4, warmup=2, save_every=5, validate_every=4, average=0.9, threads=1
)


def next_batch(rng):
    x = torch.from_numpy(rng.normal(size=(4, 1, 8, 8, 4)).astype("float32"))
    return {"x": x, "y": (x.mean(dim=(1, 2, 3, 4)) > 0).long()}


def loss_fn(network, batch):
    return nn.functional.cross_entropy(network(batch["x"]), batch["y"])


def student():
    network = Student(CONFIG)
    initialise(network, 1)
    return network


class KilledError(Exception):
    pass


def killed_at(step):
    calls = iter(range(10**6))

    def batch(rng):
        if next(calls) == step:
            raise KilledError
        return next_batch(rng)

    return batch


def weights(network):
    return {key: value.clone() for key, value in network.state_dict().items()}


def validate(network):
    return -float(next(network.parameters()).abs().sum())


@pytest.mark.parametrize(
    ("average", "precision"), [(0.0, "32-true"), (0.9, "32-true"), (0.9, "bf16-mixed")]
)
def test_killed_and_resumed_gives_the_very_same_weights(tmp_path, average, precision):
    settings = replace(SETTINGS, average=average, precision=precision)
    whole, broken = student(), student()
    fit(whole, next_batch, loss_fn, settings, tmp_path / "whole", validate)
    for kill in (3, 7):  # before the first checkpoint, and between two
        with pytest.raises(KilledError):
            fit(broken, killed_at(kill), loss_fn, settings, tmp_path / "broken", validate)
        broken = student()  # a new process knows nothing
    result = fit(broken, next_batch, loss_fn, settings, tmp_path / "broken", validate)
    assert result.finished and result.steps == 12
    for key, value in weights(whole).items():
        assert torch.equal(value, broken.state_dict()[key]), key
    rows = [
        [line.split("\t")[:3] for line in (tmp_path / n / "log.tsv").read_text().splitlines()]
        for n in ("whole", "broken")
    ]
    assert rows[0] == rows[1]
    assert [row[0] for row in rows[0][1:]] == [str(step) for step in range(1, 13)]


def test_a_finished_training_is_not_repeated(tmp_path):
    network = student()
    fit(network, next_batch, loss_fn, SETTINGS, tmp_path)
    again = student()
    assert fit(again, killed_at(0), loss_fn, SETTINGS, tmp_path).finished
    assert all(torch.equal(v, again.state_dict()[k]) for k, v in weights(network).items())


def test_time_limit_leaves_a_checkpoint_to_continue_from(tmp_path):
    result = fit(student(), next_batch, loss_fn, SETTINGS, tmp_path, time_limit_s=0.0)
    assert not result.finished and math.isnan(result.best)
    assert fit(student(), next_batch, loss_fn, SETTINGS, tmp_path).steps == 12


def test_best_weights_are_kept_and_patience_stops(tmp_path):
    figures = iter([0.2, 0.7, 0.5, 0.6, 0.9])
    seen = []

    def figure(network):
        seen.append(weights(network))
        return next(figures)

    settings = replace(SETTINGS, steps=100, validate_every=3, patience=2)
    network = student()
    result = fit(network, next_batch, loss_fn, settings, tmp_path, figure)
    assert (result.steps, result.best, result.finished) == (12, 0.7, True)
    assert all(torch.equal(v, network.state_dict()[k]) for k, v in seen[1].items())


def test_loss_falls_and_frozen_layers_stay(tmp_path):
    network = student()
    freeze(network, ["inpconv", "convfirst"])
    before = weights(network)
    settings = replace(SETTINGS, steps=60, average=0.0, learning_rate=1e-2)
    fit(network, next_batch, loss_fn, settings, tmp_path)
    rows = (tmp_path / "log.tsv").read_text().splitlines()[1:]
    losses = np.array([float(row.split("\t")[1]) for row in rows])
    assert losses[-10:].mean() < 0.8 * losses[:10].mean()
    after = network.state_dict()
    for key, value in before.items():
        same = torch.equal(value, after[key])
        assert same == key.startswith(("inpconv", "convfirst")), key


def test_mixed_precision_computes_in_half_and_keeps_weights_in_full(tmp_path):
    losses = {}
    for precision in ("32-true", "bf16-mixed"):
        network, seen, folder = student(), [], tmp_path / precision
        network.dropout.p = 0.0  # its draws depend on the precision
        network.fc1.register_forward_hook(lambda *call, seen=seen: seen.append(call[2].dtype))
        fit(network, next_batch, loss_fn, replace(SETTINGS, precision=precision), folder)
        assert set(seen) == {torch.bfloat16 if precision == "bf16-mixed" else torch.float32}
        assert all(v.dtype != torch.bfloat16 for v in network.state_dict().values())
        rows = (folder / "log.tsv").read_text().splitlines()[1:]
        losses[precision] = [float(row.split("\t")[1]) for row in rows]
    assert losses["bf16-mixed"] != losses["32-true"]
    assert losses["bf16-mixed"][0] == pytest.approx(losses["32-true"][0], rel=0.03)


def test_a_network_with_all_layers_frozen_is_only_validated(tmp_path):
    network = student()
    freeze(network, layers(network))
    before = weights(network)
    result = fit(network, next_batch, loss_fn, SETTINGS, tmp_path, validate)
    assert result == Fit(0, validate(network), True)
    assert all(torch.equal(v, network.state_dict()[k]) for k, v in before.items())
    assert not network.training


def test_checkpoint_of_another_network_is_refused(tmp_path):
    fit(student(), next_batch, loss_fn, SETTINGS, tmp_path)
    other = Student(replace(CONFIG, widths=(2, 4)))
    with pytest.raises(UserError, match="another shape"):
        fit(other, next_batch, loss_fn, SETTINGS, tmp_path)


def test_checkpoint_of_another_training_is_refused(tmp_path):
    fit(student(), next_batch, loss_fn, SETTINGS, tmp_path, identity="one")
    longer = replace(SETTINGS, steps=14)
    assert fit(student(), next_batch, loss_fn, longer, tmp_path, identity="one").steps == 14
    with pytest.raises(UserError, match="to other data or to other training settings"):
        fit(student(), next_batch, loss_fn, longer, tmp_path, identity="two")


def test_a_damaged_checkpoint_is_named(tmp_path):
    for content in (b"", b"no checkpoint at all"):
        (tmp_path / "checkpoint.pt").write_bytes(content)
        with pytest.raises(UserError, match="is damaged"):
            fit(student(), next_batch, loss_fn, SETTINGS, tmp_path)


def test_a_loss_that_is_no_number_ends_it(tmp_path):
    with pytest.raises(UserError, match="loss is nan at step 0"):
        fit(student(), next_batch, lambda n, b: loss_fn(n, b) * math.nan, SETTINGS, tmp_path)


def test_learning_rates():
    cosine = TrainSettings(steps=110, warmup=10, learning_rate=1.0)
    assert learning_rate(0, cosine) == pytest.approx(0.1)
    assert learning_rate(10, cosine) == 1.0
    assert learning_rate(60, cosine) == pytest.approx(0.5)
    assert learning_rate(110, cosine) == pytest.approx(0.0)
    published = TrainSettings(learning_rate=1e-3, schedule="step", warmup=0, decay_every=2)
    rates = [learning_rate(step, published) for step in (0, 1, 2, 4, 6, 99)]
    assert rates == pytest.approx([1e-3, 1e-3, 1e-4, 1e-5, 1e-6, 1e-6])


def test_curves_for_tensorboard_are_those_of_the_table(tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    broken = student()
    with pytest.raises(KilledError):
        fit(broken, killed_at(7), loss_fn, SETTINGS, tmp_path, validate)
    fit(student(), next_batch, loss_fn, SETTINGS, tmp_path, validate)
    table = [line.split("\t") for line in (tmp_path / "log.tsv").read_text().splitlines()[1:]]
    curves = EventAccumulator(str(tmp_path / "curves")).Reload()
    losses = [(event.step, event.value) for event in curves.Scalars("loss")]
    assert losses == [(int(row[0]), pytest.approx(float(row[1]), rel=1e-4)) for row in table]
    assert [event.step for event in curves.Scalars("validation")] == [4, 8, 12]


def test_the_average_is_the_formula(tmp_path):
    from microbleeds.train.state import moving_average

    line = nn.Linear(1, 1, bias=False)
    average, expected = moving_average(line, 0.5), 0.0
    for count, value in enumerate((3.0, 5.0, -1.0, 7.0)):
        nn.init.constant_(line.weight, value)
        average.update_parameters(line)
        kept = min(0.5, (1 + count) / (10 + count)) if count else 0.0
        expected = kept * expected + (1 - kept) * value
    assert average.module.weight.item() == pytest.approx(expected)


def test_two_processes_share_gradients_and_write_once(tmp_path):
    """What several GPUs do, done by two processes on the CPU."""
    script = tmp_path / "script.py"
    script.write_text(TWO_PROCESSES)
    done = subprocess.run([sys.executable, script, tmp_path], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    first, second = (torch.load(tmp_path / f"{n}.pt", weights_only=True) for n in (0, 1))
    assert first["seen"] != second["seen"]  # batches of their own
    for key, value in first["weights"].items():
        assert torch.allclose(value, second["weights"][key]), key
    assert len((tmp_path / "out" / "log.tsv").read_text().splitlines()) == 1 + 4


TWO_PROCESSES = """
import sys
from pathlib import Path

import torch
from lightning_fabric import Fabric
from torch import nn

from microbleeds.train import loop

folder = Path(sys.argv[1])
fabric = Fabric(accelerator="cpu", devices=2, strategy="ddp")
fabric.launch()
loop._fabric = lambda precision: fabric
torch.manual_seed(0)
network, seen = nn.Linear(3, 1), []


def next_batch(rng):
    batch = {"x": torch.from_numpy(rng.normal(size=(4, 3)).astype("float32"))}
    seen.append(float(batch["x"].sum()))
    return batch


settings = loop.TrainSettings(steps=4, batch=4, warmup=0, validate_every=2, average=0.5, threads=1)
done = loop.fit(
    network, next_batch, lambda net, batch: net(batch["x"]).square().mean(), settings,
    folder / "out", lambda net: 1.0,
)
assert done.finished and done.best == 1.0
state = {"weights": network.state_dict(), "seen": seen}
torch.save(state, folder / f"{fabric.global_rank}.pt")
"""
