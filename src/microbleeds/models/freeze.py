"""Layers by name, for fine-tuning that leaves some of them as they are."""

from __future__ import annotations

from collections.abc import Iterable

from torch import nn

from microbleeds.errors import UserError
from microbleeds.models.networks import Student, Teacher


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
