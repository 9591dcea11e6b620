import pytest
import torch
from torch import nn

from microbleeds.models.config import PUBLISHED, NetworkConfig
from microbleeds.models.initialise import initialise
from microbleeds.models.networks import Detector, Student


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"widths": ()}, "must be > 0"),
        ({"in_channels": 0}, "must be > 0"),
        ({"widths": (8, 0, 8, 8)}, "must be > 0"),
        ({"widths": (8, 16)}, "2 widths need 1 pools"),
        ({"pools": ((2, 2, 1), (3, 2, 2), (2, 2, 2))}, "1 or 2"),
        ({"pools": ((2, 2), (2, 2), (2, 2))}, "1 or 2"),
        ({"student_widths": (8, 16)}, "2 widths need 1 pools"),
        ({"student_widths": (8, 0, 8, 8)}, "must be > 0"),
        ({"patch_shape": (32, 32, 3)}, "smaller than the stride"),
    ],
)
def test_impossible_networks_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        NetworkConfig(**arguments)


def test_the_student_may_be_wider_than_the_detector():
    config = NetworkConfig(2, (2, 3), ((2, 2, 1),), (8, 8, 4), student_widths=(4, 6))
    assert _outputs(Detector(config))[:2] == [3, 2]  # the 1x1x1 convolution at the start, level 1
    student = Student(config)
    assert _outputs(student)[:2] == [3, 4]
    assert student.config == NetworkConfig(2, (4, 6), ((2, 2, 1),), (8, 8, 4))
    assert student.eval()(torch.zeros(1, 2, 8, 8, 4)).shape == (1, 2)


def _outputs(network):
    return [layer.out_channels for layer in network.modules() if isinstance(layer, nn.Conv3d)]


def test_strides():
    assert NetworkConfig().strides == ((1, 1, 1), (2, 2, 1), (4, 4, 2), (8, 8, 4))
    assert NetworkConfig().bottleneck_shape == (4, 4, 4)
    assert PUBLISHED.stride == (4, 4, 4)


@pytest.mark.parametrize(
    "config",
    [
        NetworkConfig(1, (2, 2, 2), ((2, 2, 1), (2, 2, 2)), (8, 8, 8)),
        NetworkConfig(1, (2, 3), ((2, 1, 2),), (8, 8, 8)),
        NetworkConfig(1, (2,), (), (8, 8, 8)),
    ],
)
def test_receptive_radius_bounds_what_an_input_voxel_changes(config):
    """A change at any phase of the pooling lattice is felt within the radius, nearly to it."""
    network = Detector(config).eval()
    initialise(network, 0)
    for parameter in network.parameters():  # positive weights: nothing cancels or is cut off
        parameter.data.abs_()
    size, reach = 64, [0, 0, 0]
    base = torch.rand(1, 1, size, size, size, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        before = network(base)
        for phase in range(4):
            changed = base.clone()
            changed[0, 0, 30 + phase, 30 + phase, 30 + phase] += 100
            moved = (network(changed) - before).abs().sum((0, 1)).nonzero() - 30 - phase
            reach = [max(r, int(moved[:, axis].abs().max())) for axis, r in enumerate(reach)]
    for measured, radius, stride in zip(reach, config.receptive_radius, config.stride, strict=True):
        assert radius - stride <= measured <= radius
