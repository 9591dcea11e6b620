"""The weights that a network starts from."""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import nn

from microbleeds.models.networks import Detector


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
