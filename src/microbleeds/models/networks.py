"""Detector, teacher, student and brain-mask networks: one encoder and one decoder in any size.

At `PUBLISHED` every network has the layout and the state-dict keys of the method's authors
(Sundaresan et al. 2023, Front. Neuroinform. 17:1204186, "Network architecture"), so that their
checkpoints load. Attribute names are theirs for that reason.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor, nn

from microbleeds.models.blocks import Encoder, UNet, add_classifier, classify
from microbleeds.models.config import NetworkConfig


class Detector(UNet):
    """Step 1, and the brain mask: (B, C, X, Y, Z) to logits (B, 2, X, Y, Z).

    Any size of at least the total stride; a coarse one takes multiples of its first pool alone.
    """

    def __init__(self, config: NetworkConfig) -> None:
        """Without the finest level where the configuration says so."""
        super().__init__(config, config.finest_level)

    def forward(self, x: Tensor) -> Tensor:
        """Logits of background and target."""
        return self.decode(self.encode(x))


class TeacherNet(UNet):
    """The teacher's feature extractor and voxel segmentor; published as "cdisc_teacher"."""

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Segmentation logits (B, 2, X, Y, Z) and the coarsest features."""
        features = self.encode(x)
        return self.decode(features), features[-1]


class ClassifierHead(nn.Module):
    """The teacher's patch classifier; published as "cdisc_teacher_classification_head"."""

    def __init__(self, config: NetworkConfig) -> None:
        """Layers sized by the widths and the patch shape."""
        super().__init__()
        self.config = config
        add_classifier(self, config, prefix="")

    def forward(self, features: Tensor) -> Tensor:
        """Coarsest features of a patch to logits (B, 2); the authors end with a sigmoid of them."""
        return classify(self, features, prefix="")


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


class Student(Encoder):
    """Step 2: encoder and patch classifier, (B, C, *patch_shape) to logits (B, 2).

    With context, the channels of a second view follow those of the first, and an encoder of its own
    sees it; the classifier takes the coarsest features of both.
    """

    def __init__(self, config: NetworkConfig) -> None:
        """Encoders and classifier for one configuration."""
        super().__init__(config.student)
        self.config = config  # what rebuilds both encoders
        surroundings = replace(config, student_widths=(), context=())
        self.context = Encoder(surroundings) if config.context else None
        more = config.widths[-1] if config.context else 0
        add_classifier(self, config.student, prefix="class", more=more)

    def forward(self, x: Tensor) -> Tensor:
        """Logits of look-alike and microbleed."""
        near = self.config.in_channels
        features = self.encode(x[:, :near])[-1]
        if self.context is not None:
            features = torch.cat([features, self.context.encode(x[:, near:])[-1]], dim=1)
        return classify(self, features, prefix="class")
