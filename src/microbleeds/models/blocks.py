"""The layers that the networks share: encoder, decoder and patch classifier, in any size.

At the published size the attribute names are those of the authors, so that their keys fit.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from microbleeds.models.config import NetworkConfig, Triple

_MIXED_CHANNELS = 3  # the published 1x1x1 convolution maps any input to three channels
_CLASSES = 2


class _Conv(nn.Module):
    """A bare 1x1x1 convolution, or one that makes a voxel of every block of `joined`."""

    def __init__(self, inputs: int, outputs: int, joined: Triple = (1, 1, 1)) -> None:
        super().__init__()
        self.conv = nn.Conv3d(inputs, outputs, joined, stride=joined)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x)  # type: ignore[no-any-return]


class _Apart(nn.Module):
    """The reverse of joining: every voxel becomes a block of `joined` again."""

    def __init__(self, inputs: int, outputs: int, joined: Triple) -> None:
        super().__init__()
        self.conv = nn.ConvTranspose3d(inputs, outputs, joined, stride=joined)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x)  # type: ignore[no-any-return]


def _conv_norm_relu(inputs: int, outputs: int, kernel: int, padding: int) -> list[nn.Module]:
    conv = nn.Conv3d(inputs, outputs, kernel, padding=padding)
    return [conv, nn.BatchNorm3d(outputs), nn.ReLU(inplace=True)]


class _SingleConv(nn.Module):
    """1x1x1 convolution with a border of one voxel, as the published classifier begins."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.single_conv = nn.Sequential(*_conv_norm_relu(inputs, outputs, 1, padding=1))

    def forward(self, x: Tensor) -> Tensor:
        return self.single_conv(x)  # type: ignore[no-any-return]


class _DoubleConv(nn.Module):
    """3x3x3 convolution, then one with `second_kernel`; both with batch norm and ReLU."""

    def __init__(self, inputs: int, outputs: int, second_kernel: int = 1) -> None:
        super().__init__()
        self.double_conv = nn.Sequential(
            *_conv_norm_relu(inputs, outputs, 3, padding=1),
            *_conv_norm_relu(outputs, outputs, second_kernel, padding=second_kernel // 2),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.double_conv(x)  # type: ignore[no-any-return]


class _Down(nn.Module):
    """Max pooling, then a double convolution."""

    def __init__(self, inputs: int, outputs: int, pool: Triple, second_kernel: int = 1) -> None:
        super().__init__()
        block = _DoubleConv(inputs, outputs, second_kernel)
        self.maxpool_conv = nn.Sequential(nn.MaxPool3d(pool), block)

    def forward(self, x: Tensor) -> Tensor:
        return self.maxpool_conv(x)  # type: ignore[no-any-return]


class _Up(nn.Module):
    """Transposed convolution to the size of the skip connection, then a double convolution."""

    def __init__(self, inputs: int, outputs: int, pool: Triple) -> None:
        super().__init__()
        x, y, z = (3 if p > 1 else 1 for p in pool)
        self.up = nn.ConvTranspose3d(inputs, outputs, (x, y, z), stride=pool)
        self.conv = _DoubleConv(2 * outputs, outputs)
        self.pooled_axes = [axis for axis, p in enumerate(pool, start=2) if p > 1]

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        x = self.up(x)
        for (
            axis
        ) in self.pooled_axes:  # n voxels return as n (odd) or n + 1 (even), the first surplus
            x = x.narrow(axis, x.shape[axis] - skip.shape[axis], skip.shape[axis])
        return self.conv(torch.cat([skip, x], dim=1))  # type: ignore[no-any-return]


class Encoder(nn.Module):
    """The shared feature extractor."""

    def __init__(self, config: NetworkConfig, finest: int = 0) -> None:
        """Blocks of the configuration's widths and pools from the level `finest` on, 0 or 1."""
        super().__init__()
        self.config = config
        self.finest = finest
        width = config.widths[finest]
        mixed = width if finest else _MIXED_CHANNELS
        self.inpconv = _Conv(config.in_channels, mixed, config.strides[finest])
        self.convfirst = _DoubleConv(mixed, width)
        for level, pool in enumerate(config.pools[finest:], finest + 1):
            down = _Down(config.widths[level - 1], config.widths[level], pool)
            self.add_module(f"down{level}", down)

    def encode(self, x: Tensor) -> list[Tensor]:
        """(B, C, X, Y, Z) to the features of every level, finest first."""
        features = [self.convfirst(self.inpconv(x))]
        for level in range(self.finest + 1, len(self.config.widths)):
            features.append(self.get_submodule(f"down{level}")(features[-1]))
        return features


class UNet(Encoder):
    """The encoder with its decoder."""

    def __init__(self, config: NetworkConfig, finest: int = 0) -> None:
        """Both halves for one configuration."""
        super().__init__(config, finest)
        for level in range(len(config.pools), finest, -1):
            up = _Up(config.widths[level], config.widths[level - 1], config.pools[level - 1])
            self.add_module(f"up{level}", up)
        width = config.widths[finest]
        self.outconv = (
            _Apart(width, _CLASSES, config.strides[finest]) if finest else _Conv(width, _CLASSES)
        )

    def decode(self, features: list[Tensor]) -> Tensor:
        """Features of every level to logits (B, 2, X, Y, Z)."""
        x = features[-1]
        for level, skip in reversed(list(enumerate(features[:-1], self.finest + 1))):
            x = self.get_submodule(f"up{level}")(x, skip)
        return self.outconv(x)  # type: ignore[no-any-return]


def add_classifier(network: nn.Module, config: NetworkConfig, prefix: str, more: int = 0) -> None:
    """Give `network` the patch classifier's layers, sized by the patch shape of `config`.

    more: channels that it takes besides the coarsest features of `config`.
    An axis that is down to one voxel is no longer pooled, so that every patch shape fits.
    """
    width = max(config.widths[-1] // 2, _CLASSES)
    hidden = max(width // 4, _CLASSES)
    network.add_module(f"{prefix}convfirst", _SingleConv(config.widths[-1] + more, width))
    x, y, z = (n + 2 for n in config.bottleneck_shape)
    for stage in (1, 2):
        pool = min(x, 2), min(y, 2), min(z, 2)
        network.add_module(f"{prefix}down{stage}", _Down(width, width, pool, second_kernel=3))
        x, y, z = x // pool[0], y // pool[1], z // pool[2]
    network.add_module("fc1", nn.Linear(width * x * y * z, width))
    network.add_module("fc2", nn.Linear(width, hidden))
    network.add_module("fc3", nn.Linear(hidden, _CLASSES))
    network.add_module("dropout", nn.Dropout(0.2))


def classify(network: nn.Module, x: Tensor, prefix: str) -> Tensor:
    """Coarsest features to logits (B, 2); the published layers, linear without activations."""
    for name in ("convfirst", "down1", "down2"):
        x = network.get_submodule(prefix + name)(x)
    dropout = network.get_submodule("dropout")
    x = network.get_submodule("fc1")(dropout(x.flatten(1)))
    x = network.get_submodule("fc2")(dropout(x))
    return network.get_submodule("fc3")(x)  # type: ignore[no-any-return]
