"""The losses of the three networks (Sundaresan et al. 2023, section "Loss functions")."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from monai.losses import DiceLoss
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor

# Pooled over the batch: most patches hold no microbleed, and their Dice would mean nothing.
_DICE = DiceLoss(
    include_background=False, to_onehot_y=True, softmax=True, batch=True, smooth_nr=1, smooth_dr=1
)


UNCERTAIN = 2  # label of voxels from which nothing is to be learnt


def segmentation_loss(logits: Tensor, labels: Tensor, weight: float = 10.0) -> Tensor:
    """Soft Dice plus voxel cross-entropy in which a microbleed's voxel counts `weight` times.

    logits: (B, 2, X, Y, Z); labels: (B, X, Y, Z), 1 in microbleeds; uncertain ones count as none.
    The weight multiplies each voxel before the mean, so that it matters where the microbleed is
    (the released code averages first).
    """
    labels = (labels == 1).long()
    weights = torch.tensor([1.0, weight], device=logits.device)
    dice: Tensor = _DICE(logits, labels[:, None])
    return dice + F.cross_entropy(logits, labels, weights)


def lesion_loss(logits: Tensor, labels: Tensor, focus: float = 2.0) -> Tensor:
    """Focal cross-entropy in which every microbleed counts the same, whatever its size.

    logits: (B, 2, X, Y, Z); labels: (B, X, Y, Z), 0, 1 or `UNCERTAIN`. focus: power with which
    voxels that are answered well already are left out (Lin et al. 2017, arXiv 1708.02002, section
    3.2). A pooled Dice is ruled by the few large bleeds, so that a detector learns to leave out
    the small ones, which are most. Here the mean is taken within each bleed (26-connected) first;
    the rest is summed and divided by the number of the bleeds' voxels, as their section 4.1 does
    with anchors, without the voxels beside a bleed, where the edge of the label is uncertain.
    """
    microbleed = labels == 1
    entropy = F.cross_entropy(logits, microbleed.long(), reduction="none")
    focal = (1 - torch.exp(-entropy)) ** focus * entropy
    share, beside = _lesion_shares(labels.cpu().numpy())
    positive = (focal * torch.from_numpy(share).to(focal)).sum()
    rest = focal * torch.from_numpy(~beside).to(focal.device)
    return positive + rest.sum() / microbleed.sum().clamp(min=1)


def _lesion_shares(labels: NDArray[np.uint8]) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Each voxel's share of the mean over lesions of the mean over a lesion's voxels.

    And what is no clear background: dilated lesions and all uncertain voxels.
    """
    share = np.zeros(labels.shape, np.float32)
    near = np.ones((3, 3, 3), bool)
    beside = np.stack([ndimage.binary_dilation(patch, near) for patch in labels > 0])
    numbered = [ndimage.label(patch == 1, near) for patch in labels]
    count = sum(number for _, number in numbered)
    for patch, (parts, _) in zip(share, numbered, strict=True):
        sizes = np.bincount(parts.ravel())
        patch[parts > 0] = 1 / (sizes[parts[parts > 0]] * count)
    return share, beside


def teacher_loss(voxels: Tensor, classes: Tensor, labels: Tensor, targets: Tensor) -> Tensor:
    """Multi-task: segmentation of the patch plus cross-entropy of its class.

    voxels: (B, 2, X, Y, Z) logits; classes: (B, 2) logits; labels: (B, X, Y, Z); targets: (B,).
    """
    return segmentation_loss(voxels, labels) + F.cross_entropy(classes, targets.long())


def distillation_loss(
    student: Tensor,
    targets: Tensor,
    teacher: Tensor | None = None,
    alpha: float = 0.6,
    temperature: float = 4.0,
) -> Tensor:
    """alpha T² KL(teacher || student) at temperature T plus (1 - alpha) cross-entropy.

    student, teacher: (B, 2) logits; targets: (B,). Without a teacher only the cross-entropy is
    left, for the ablation. T² keeps the gradients' size (Hinton et al. 2015, arXiv 1503.02531,
    section 2); the weights are those of Sundaresan et al. 2023.
    """
    truth = F.cross_entropy(student, targets.long())
    if teacher is None:
        return truth
    divergence = F.kl_div(
        F.log_softmax(student / temperature, dim=1),
        F.log_softmax(teacher / temperature, dim=1),
        reduction="batchmean",
        log_target=True,
    )
    return alpha * temperature**2 * divergence + (1 - alpha) * truth
