from dataclasses import replace

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
        ({"widths": (8,), "pools": (), "coarse_detector": True}, "needs two levels"),
        ({"student_widths": (8, 0, 8, 8)}, "must be > 0"),
        ({"patch_shape": (32, 32, 3)}, "smaller than the stride"),
        ({"context": (3, 3)}, "context .* three numbers above 0"),
        ({"context": (3, 3, 0)}, "context .* three numbers above 0"),
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
    assert student.config == config  # which rebuilds it
    assert student.eval()(torch.zeros(1, 2, 8, 8, 4)).shape == (1, 2)


def test_a_coarse_detector_begins_and_ends_at_the_second_level():
    config = NetworkConfig(2, (2, 3, 5), ((2, 2, 1), (2, 2, 2)), (8, 8, 4), coarse_detector=True)
    detector = Detector(config)
    assert _outputs(detector) == [3, 3, 3, 5, 5, 3, 3]
    assert list(detector.inpconv.conv.weight.shape) == [3, 2, 2, 2, 1]
    assert detector.eval()(torch.zeros(1, 2, 12, 8, 6)).shape == (1, 2, 12, 8, 6)
    assert config.detector_width == 3 / 4 and config.stride == (4, 4, 2)
    whole = Detector(replace(config, coarse_detector=False)).state_dict()
    for key, value in detector.state_dict().items():  # what both have is of one name and shape
        if key.startswith(("down", "up")):
            assert whole[key].shape == value.shape
    assert _outputs(Student(config))[:2] == [3, 2]  # as without


def test_a_student_with_context_sees_two_views_and_is_else_the_same():
    config = NetworkConfig(2, (2, 3), ((2, 2, 1),), (8, 8, 4), (4, 6), context=(3, 3, 2))
    alone = Student(replace(config, context=()))
    both = Student(config).eval()
    assert (config.patch_channels, alone.config.patch_channels) == (4, 2)
    assert _outputs(both.context) == _outputs(Student(replace(config, student_widths=())))[:5]
    changed = {k for k, v in alone.state_dict().items() if both.state_dict()[k].shape != v.shape}
    assert changed == {"classconvfirst.single_conv.0.weight"}
    initialise(both, 0)
    patches = torch.rand(1, 4, 8, 8, 4)
    other = patches.clone()
    other[:, 2:] = 0
    assert not torch.equal(both(patches), both(other))


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
        NetworkConfig(1, (2, 2, 2), ((2, 2, 1), (2, 2, 2)), (8, 8, 8), coarse_detector=True),
    ],
)
def test_halo_is_all_that_a_block_sees_and_no_more(config):
    """A block on the pooling lattice feels the last voxel of its halo, and none beyond it."""
    network = Detector(config).eval()
    initialise(network, 0)
    for parameter in network.parameters():  # positive weights: nothing cancels or is cut off
        parameter.data.abs_()
    block = [slice(32, 32 + stride) for stride in config.stride]
    base = torch.rand(1, 1, 64, 64, 64, generator=torch.Generator().manual_seed(1))

    def felt(axis, at):
        changed = base.clone()
        changed.select(2 + axis, at)[:] += 100
        return not torch.equal(network(changed)[:, :, *block], before)

    with torch.inference_mode():
        before = network(base)[:, :, *block]
        for axis, (low, high) in enumerate(zip(*config.halo, strict=True)):
            assert felt(axis, 32 - low) and not felt(axis, 32 - low - 1)
            last = 31 + config.stride[axis] + high
            assert felt(axis, last) and not felt(axis, last + 1)
