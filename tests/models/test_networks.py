import numpy as np
import pytest
import torch

from microbleeds.errors import UserError
from microbleeds.models.config import BRAIN, PUBLISHED, NetworkConfig
from microbleeds.models.freeze import freeze, layers, train_mode
from microbleeds.models.initialise import expect_rarely, initialise
from microbleeds.models.networks import ClassifierHead, Detector, Student, Teacher, TeacherNet

NETWORKS = {
    "cdet": Detector,
    "cdisc_teacher": TeacherNet,
    "cdisc_teacher_classification_head": ClassifierHead,
    "cdisc_student": Student,
}
SLIM = NetworkConfig(widths=(4, 6, 8, 8))


def load(name, published_weights):
    network = NETWORKS[name](PUBLISHED).eval()
    network.load_state_dict(published_weights(name))
    return network


@pytest.mark.parametrize("name", NETWORKS)
def test_published_layout_key_for_key(name, layouts):
    state = NETWORKS[name](PUBLISHED).state_dict()
    assert {key: list(value.shape) for key, value in state.items()} == layouts[name]


@torch.inference_mode()
def test_published_outputs(published_weights, published_input, published_outputs):
    detector = load("cdet", published_weights)
    teacher = load("cdisc_teacher", published_weights)
    head = load("cdisc_teacher_classification_head", published_weights)
    large, small = (torch.from_numpy(published_input(n)) for n in (48, 24))
    logits, features = teacher(small)
    got = {
        "cdet_logits": detector(large)[..., ::2, ::2, ::2],
        "cdet_logits_odd": detector(large[..., :45, :46, :44])[..., ::2, ::2, ::2],
        "teacher_features": features[:, ::8],
        "teacher_logits": logits[..., ::2, ::2, ::2],
        "teacher_head_output": head(features).sigmoid(),
        "cdisc_student_logits": load("cdisc_student", published_weights)(small),
    }
    assert got.keys() == published_outputs.keys()
    for name, value in got.items():
        np.testing.assert_allclose(value.numpy(), published_outputs[name], atol=1e-4, err_msg=name)


@pytest.mark.parametrize("config", [SLIM, BRAIN, NetworkConfig(2, (4,), (), (3, 3, 3))])
@pytest.mark.parametrize("shape", [(16, 24, 32), (17, 29, 19)])
@torch.inference_mode()
def test_detector_takes_any_size(config, shape):
    network = Detector(config).eval()
    assert network(torch.zeros(2, config.in_channels, *shape)).shape == (2, 2, *shape)


def test_unpooled_axis_is_not_resampled():
    """Without pooling and mixing along z, a change stays within the 3-wide kernels' reach."""
    config = NetworkConfig(1, (2, 2), ((2, 2, 1),), (8, 8, 1))
    network = Detector(config).eval()
    initialise(network, 3)
    before = torch.zeros(1, 1, 16, 16, 21)
    after = before.clone()
    after[..., 10] = 1
    with torch.inference_mode():
        moved = (network(after) - network(before)).abs().amax((0, 1, 2, 3))
    assert set(moved.nonzero().flatten().tolist()) <= set(range(10 - 3, 10 + 4))


@pytest.mark.parametrize(
    "patch", [(32, 32, 16), (24, 24, 24), (8, 16, 4), (39, 33, 21), (64, 64, 32)]
)
@pytest.mark.parametrize("widths", [(4, 6, 8, 8), (1, 1, 1, 1), (3, 5, 7, 9)])
@torch.inference_mode()
def test_classifiers_take_any_patch_and_never_merge_samples(patch, widths):
    config = NetworkConfig(widths=widths, patch_shape=patch)
    patches = torch.rand(8, 3, *patch, generator=torch.Generator().manual_seed(0))
    for network in (Student(config), Teacher(config)):
        network.eval()
        output = network(patches)
        logits = output if isinstance(output, torch.Tensor) else output[1]
        assert logits.shape == (8, 2)
        alone = network(patches[5:6])
        alone = alone if isinstance(alone, torch.Tensor) else alone[1]
        torch.testing.assert_close(logits[5:6], alone, rtol=1e-4, atol=1e-5)


@torch.inference_mode()
def test_classifier_refuses_another_patch_shape():
    student = Student(NetworkConfig(widths=(4, 6, 8, 8), patch_shape=(32, 32, 16))).eval()
    with pytest.raises(RuntimeError):
        student(torch.zeros(8, 3, 64, 64, 32))


def test_published_initialisation():
    network = Detector(PUBLISHED)
    initialise(network, 0, "published")
    weight = network.get_submodule("down2").maxpool_conv[1].double_conv[0].weight
    assert weight.abs().max() <= 0.1
    # A normal of sd 0.05 cut at two sd has sd 0.05 x 0.8796 (closed form).
    assert weight.std().item() == pytest.approx(0.05 * 0.8796, rel=0.01)


def test_he_initialisation_and_seed():
    first, again, other = (Student(PUBLISHED) for _ in range(3))
    for network, seed in ((first, 1), (again, 1), (other, 2)):
        initialise(network, seed)
    weight = first.get_submodule("down2").maxpool_conv[1].double_conv[0].weight
    assert weight.std().item() == pytest.approx(np.sqrt(2 / (128 * 27)), rel=0.01)
    states = [network.state_dict() for network in (first, again, other)]
    assert all(torch.equal(states[0][key], states[1][key]) for key in states[0])
    assert not torch.equal(states[0]["fc1.weight"], states[2]["fc1.weight"])


def test_layer_names():
    assert list(layers(Detector(PUBLISHED))) == [
        "inpconv", "convfirst", "down1", "down2", "up2", "up1", "outconv",
    ]  # fmt: skip
    assert list(layers(Student(PUBLISHED))) == [
        "inpconv", "convfirst", "down1", "down2", "classifier",
    ]  # fmt: skip
    assert list(layers(Teacher(PUBLISHED)))[-2:] == ["outconv", "classifier"]


@pytest.mark.parametrize("kind", [Student, Teacher])
def test_frozen_layers_stay_as_they_are(kind):
    torch.manual_seed(0)  # some random classifiers answer nothing but 0, and pass no gradient on
    network = kind(SLIM)
    freeze(network, ["down1", "classifier"])
    train_mode(network)
    before = {key: value.clone() for key, value in network.state_dict().items()}
    optimiser = torch.optim.SGD([p for p in network.parameters() if p.requires_grad], lr=0.1)
    output = network(torch.rand(4, 3, *SLIM.patch_shape))
    sum(o.square().sum() for o in (output if isinstance(output, tuple) else (output,))).backward()
    optimiser.step()
    changed = {k for k, v in network.state_dict().items() if not torch.equal(v, before[k])}
    frozen = [k for k in before if ".down1." in f".{k}" or "class" in k]
    frozen += [k for k in before if k.startswith("fc")]
    assert frozen and not changed & set(frozen)
    assert any("convfirst.double_conv.1.running_mean" in key for key in changed)
    assert any("down2" in key and key.endswith("weight") for key in changed)


def test_freezing_an_unknown_layer():
    with pytest.raises(UserError, match=r"no layer 'up7'.*inpconv, convfirst, down1"):
        freeze(Detector(SLIM), ["down1", "up7"])


def test_a_fresh_detector_can_be_made_to_expect_microbleeds_rarely():
    network = Detector(NetworkConfig(3, (4, 8), ((2, 2, 1),), (16, 16, 4)))
    initialise(network, 0)
    torch.nn.init.zeros_(network.outconv.conv.weight)
    expect_rarely(network, 0.03)
    answer = network.eval()(torch.rand(1, 3, 8, 8, 4)).softmax(1)[:, 1]
    assert answer.detach().numpy() == pytest.approx(0.03, rel=1e-5)
