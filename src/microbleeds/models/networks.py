"""Detector, teacher, student and brain-mask networks: one encoder and one decoder in any size.

At `PUBLISHED` every network has the layout and the state-dict keys of the method's authors
(Sundaresan et al. 2023, Front. Neuroinform. 17:1204186, "Network architecture"), so that their
checkpoints load. Attribute names are theirs for that reason.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Literal

import torch
from torch import Tensor, nn

from microbleeds.errors import UserError
from microbleeds.models.config import BRAIN, PUBLISHED, NetworkConfig, Triple

__all__ = [
    "BRAIN",
    "PUBLISHED",
    "ClassifierHead",
    "Detector",
    "NetworkConfig",
    "Student",
    "Teacher",
    "TeacherNet",
    "expect_rarely",
    "freeze",
    "initialise",
    "layers",
    "train_mode",
]

_MIXED_CHANNELS = 3  # the published 1x1x1 convolution maps any input to three channels
_CLASSES = 2


class _Conv(nn.Module):
    """A bare 1x1x1 convolution."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv = nn.Conv3d(inputs, outputs, 1)

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


class _Encoder(nn.Module):
    """The shared feature extractor."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.config = config
        self.inpconv = _Conv(config.in_channels, _MIXED_CHANNELS)
        self.convfirst = _DoubleConv(_MIXED_CHANNELS, config.widths[0])
        for level, pool in enumerate(config.pools, 1):
            down = _Down(config.widths[level - 1], config.widths[level], pool)
            self.add_module(f"down{level}", down)

    def encode(self, x: Tensor) -> list[Tensor]:
        """(B, C, X, Y, Z) to the features of every level, finest first."""
        features = [self.convfirst(self.inpconv(x))]
        for level in range(1, len(self.config.widths)):
            features.append(self.get_submodule(f"down{level}")(features[-1]))
        return features


class _UNet(_Encoder):
    """The encoder with its decoder."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__(config)
        for level in range(len(config.pools), 0, -1):
            up = _Up(config.widths[level], config.widths[level - 1], config.pools[level - 1])
            self.add_module(f"up{level}", up)
        self.outconv = _Conv(config.widths[0], _CLASSES)

    def decode(self, features: list[Tensor]) -> Tensor:
        """Features of every level to logits (B, 2, X, Y, Z)."""
        x = features[-1]
        for level in range(len(features) - 1, 0, -1):
            x = self.get_submodule(f"up{level}")(x, features[level - 1])
        return self.outconv(x)  # type: ignore[no-any-return]


class Detector(_UNet):
    """Step 1, and the brain mask: (B, C, X, Y, Z) to logits (B, 2, X, Y, Z).

    Any size of at least the total stride.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Logits of background and target."""
        return self.decode(self.encode(x))


class TeacherNet(_UNet):
    """The teacher's feature extractor and voxel segmentor; published as "cdisc_teacher"."""

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Segmentation logits (B, 2, X, Y, Z) and the coarsest features."""
        features = self.encode(x)
        return self.decode(features), features[-1]


def _add_classifier(network: nn.Module, config: NetworkConfig, prefix: str) -> None:
    """Give `network` the patch classifier's layers, sized by the patch shape of `config`.

    An axis that is down to one voxel is no longer pooled, so that every patch shape fits.
    """
    width = max(config.widths[-1] // 2, _CLASSES)
    hidden = max(width // 4, _CLASSES)
    network.add_module(f"{prefix}convfirst", _SingleConv(config.widths[-1], width))
    x, y, z = (n + 2 for n in config.bottleneck_shape)
    for stage in (1, 2):
        pool = min(x, 2), min(y, 2), min(z, 2)
        network.add_module(f"{prefix}down{stage}", _Down(width, width, pool, second_kernel=3))
        x, y, z = x // pool[0], y // pool[1], z // pool[2]
    network.add_module("fc1", nn.Linear(width * x * y * z, width))
    network.add_module("fc2", nn.Linear(width, hidden))
    network.add_module("fc3", nn.Linear(hidden, _CLASSES))
    network.add_module("dropout", nn.Dropout(0.2))


def _classify(network: nn.Module, x: Tensor, prefix: str) -> Tensor:
    """Coarsest features to logits (B, 2); the published layers, linear without activations."""
    for name in ("convfirst", "down1", "down2"):
        x = network.get_submodule(prefix + name)(x)
    dropout = network.get_submodule("dropout")
    x = network.get_submodule("fc1")(dropout(x.flatten(1)))
    x = network.get_submodule("fc2")(dropout(x))
    return network.get_submodule("fc3")(x)  # type: ignore[no-any-return]


class ClassifierHead(nn.Module):
    """The teacher's patch classifier; published as "cdisc_teacher_classification_head"."""

    def __init__(self, config: NetworkConfig) -> None:
        """Layers sized by the widths and the patch shape."""
        super().__init__()
        self.config = config
        _add_classifier(self, config, prefix="")

    def forward(self, features: Tensor) -> Tensor:
        """Coarsest features of a patch to logits (B, 2); the authors end with a sigmoid of them."""
        return _classify(self, features, prefix="")


class Teacher(nn.Module):
    """Step 2's teacher: feature extractor, voxel segmentor and patch classifier."""

    def __init__(self, config: NetworkConfig) -> None:
        """Both parts for one configuration."""
        super().__init__()
        self.config = config
        self.features_and_segmentor = TeacherNet(config)
        self.classifier = ClassifierHead(config)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(B, C, *patch_shape) to voxel logits (B, 2, *patch_shape) and patch logits (B, 2)."""
        voxels, features = self.features_and_segmentor(x)
        return voxels, self.classifier(features)


class Student(_Encoder):
    """Step 2: encoder and patch classifier, (B, C, *patch_shape) to logits (B, 2)."""

    def __init__(self, config: NetworkConfig) -> None:
        """Encoder and classifier for one configuration."""
        super().__init__(config)
        _add_classifier(self, config, prefix="class")

    def forward(self, x: Tensor) -> Tensor:
        """Logits of look-alike and microbleed."""
        return _classify(self, self.encode(x)[-1], prefix="class")


def initialise(network: nn.Module, seed: int, scheme: Literal["he", "published"] = "he") -> None:
    """Draw all weights anew.

    "he" keeps the variance through layers of any width (He et al. 2015, ICCV, eq. 10); "published"
    is a truncated normal with sd 0.05 (Sundaresan et al. 2023, "Training"). Biases start at 0.
    """
    generator = torch.Generator().manual_seed(seed)
    for module in network.modules():
        if not isinstance(module, nn.Conv3d | nn.ConvTranspose3d | nn.Linear):
            continue
        if scheme == "published":
            nn.init.trunc_normal_(module.weight, std=0.05, a=-0.1, b=0.1, generator=generator)
        else:
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu", generator=generator)
        if module.bias is not None:
            nn.init.zeros_(module.bias)


def expect_rarely(network: Detector, probability: float = 0.01) -> None:
    """Let a fresh detector answer `probability` for a microbleed everywhere.

    Otherwise the first steps are spent on unlearning one half, all voxels alike, which can leave
    a network that knows nothing else (Lin et al. 2017, arXiv 1708.02002, section 3.3).
    """
    odds = math.log(probability / (1 - probability))
    network.outconv.conv.bias = nn.Parameter(torch.tensor([-odds / 2, odds / 2]))


def layers(network: nn.Module) -> dict[str, list[nn.Module]]:
    """The layers that can be frozen by name; the classifier's parts count as one layer."""
    parts: list[tuple[str, nn.Module]] = list(network.named_children())
    if isinstance(network, Teacher):
        parts = list(network.features_and_segmentor.named_children())
        parts.append(("classifier", network.classifier))
    named: dict[str, list[nn.Module]] = {}
    for name, module in parts:
        if next(module.parameters(), None) is None:
            continue
        in_classifier = isinstance(network, Student) and name.startswith(("class", "fc"))
        named.setdefault("classifier" if in_classifier else name, []).append(module)
    return named


def freeze(network: nn.Module, names: Iterable[str]) -> None:
    """Exclude the named layers from training. Raises UserError on a name it does not have."""
    known = layers(network)
    for name in names:
        if name not in known:
            raise UserError(
                f"There is no layer {name!r} to freeze in this network; choose from "
                f"{', '.join(known)}."
            )
        for module in known[name]:
            module.requires_grad_(False)


def train_mode(network: nn.Module) -> None:
    """Training mode, except for frozen layers: their batch norms keep their running figures."""
    network.train()
    for module in network.modules():
        parameters = list(module.parameters())
        if parameters and not any(p.requires_grad for p in parameters):
            module.eval()
