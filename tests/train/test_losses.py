import math

import numpy as np
import pytest
import torch

from microbleeds.train.losses import (
    UNCERTAIN,
    distillation_loss,
    lesion_loss,
    segmentation_loss,
    teacher_loss,
)


def random_case(seed=0):
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(2, 2, 4, 5, 3, generator=generator)
    labels = (torch.rand(2, 4, 5, 3, generator=generator) < 0.2).to(torch.uint8)
    return logits, labels


def test_segmentation_loss_is_dice_plus_weighted_cross_entropy():
    logits, labels = random_case()
    p = torch.softmax(logits, 1)[:, 1].numpy().astype(float)
    y = labels.numpy().astype(float)
    dice = 1 - (2 * (p * y).sum() + 1) / (p.sum() + y.sum() + 1)
    weight = np.where(y == 1, 10, 1)
    entropy = -np.where(y == 1, np.log(p), np.log(1 - p))
    expected = dice + (weight * entropy).sum() / weight.sum()
    assert segmentation_loss(logits, labels).item() == pytest.approx(expected, rel=1e-5)


def test_an_error_on_the_microbleed_costs_more_than_one_elsewhere():
    labels = torch.zeros(1, 4, 4, 4)
    labels[0, 0, 0, 0] = 1
    right = torch.where(labels[:, None] == torch.tensor([0, 1]).view(1, 2, 1, 1, 1), 5.0, -5.0)
    missed, false = right.clone(), right.clone()
    missed[0, :, 0, 0, 0] = missed[0, :, 0, 0, 0].flip(0)
    false[0, :, 3, 3, 3] = false[0, :, 3, 3, 3].flip(0)
    # cross-entropy of one wrong voxel is 10: weighted 10 of 73 against 1 of 73
    gap = (segmentation_loss(missed, labels) - segmentation_loss(false, labels)).item()
    assert gap > 10 * 9 / 73


def test_no_microbleed_in_the_batch_gives_finite_gradients():
    logits, _ = random_case()
    logits.requires_grad_()
    segmentation_loss(logits, torch.zeros(2, 4, 5, 3)).backward()
    assert torch.isfinite(logits.grad).all()


def test_teacher_loss_adds_the_class():
    logits, labels = random_case()
    classes, targets = torch.tensor([[0.0, 0.0], [0.0, math.log(3.0)]]), torch.tensor([1, 1])
    added = teacher_loss(logits, classes, labels, targets) - segmentation_loss(logits, labels)
    assert added.item() == pytest.approx((math.log(2) + math.log(4 / 3)) / 2, abs=1e-6)


def test_distillation_loss_closed_form():
    student, teacher = torch.tensor([[0.0, 0.0]]), torch.tensor([[0.0, 4 * math.log(3.0)]])
    # softened by T = 4 the teacher says 1/4, 3/4 and the student 1/2, 1/2
    divergence = 0.25 * math.log(0.25 / 0.5) + 0.75 * math.log(0.75 / 0.5)
    expected = 0.6 * 16 * divergence + 0.4 * math.log(2)
    got = distillation_loss(student, torch.tensor([1]), teacher)
    assert got.item() == pytest.approx(expected, rel=1e-6)


def test_distillation_without_teacher_or_weight_is_cross_entropy():
    student, targets = torch.randn(5, 2), torch.tensor([0, 1, 1, 0, 1])
    plain = torch.nn.functional.cross_entropy(student, targets)
    assert distillation_loss(student, targets).item() == pytest.approx(plain.item())
    unheard = distillation_loss(student, targets, torch.randn(5, 2), alpha=0.0)
    assert unheard.item() == pytest.approx(plain.item(), rel=1e-6)


def test_a_student_that_agrees_with_its_teacher_pays_the_truth_only():
    logits, targets = torch.randn(6, 2), torch.tensor([0, 1, 0, 1, 0, 1])
    plain = torch.nn.functional.cross_entropy(logits, targets).item()
    assert distillation_loss(logits, targets, logits).item() == pytest.approx(0.4 * plain, rel=1e-4)


def test_every_lesion_counts_the_same_in_the_lesion_loss():
    labels = torch.zeros(1, 12, 12, 12)
    labels[0, 1:6, 1:6, 1:6] = 1  # 125 voxels
    labels[0, 9, 9, 9] = 1  # one voxel
    sure = torch.stack([-20 * (2 * labels - 1), 20 * (2 * labels - 1)], 1) / 2

    def loss_without(part):
        logits = sure.clone()
        logits[:, :, *part] = sure[:, [1, 0]][:, :, *part]
        return lesion_loss(logits, labels).item()

    large = loss_without((slice(1, 6), slice(1, 6), slice(1, 6)))
    small = loss_without((9, 9, 9))
    assert large == pytest.approx(small, rel=1e-4) == pytest.approx(10, rel=1e-3)


def test_lesion_loss_is_the_focal_loss_of_lin_et_al():
    logits = torch.randn(2, 2, 8, 8, 8, generator=torch.Generator().manual_seed(0))
    labels = torch.zeros(2, 8, 8, 8)
    right = torch.softmax(logits, 1)[:, 0]
    nothing = (-((1 - right) ** 2) * torch.log(right)).sum()  # equation 5 of the paper
    assert lesion_loss(logits, labels).item() == pytest.approx(nothing.item(), rel=1e-5)
    plain = -torch.log(right).sum()
    assert lesion_loss(logits, labels, focus=0).item() == pytest.approx(plain.item(), rel=1e-5)


def test_uncertain_voxels_teach_the_detector_nothing():
    labels = torch.zeros(1, 9, 9, 9)
    labels[0, 2, 2, 2] = 1
    labels[0, 6:8, 6, 6] = UNCERTAIN
    logits = torch.randn(1, 2, 9, 9, 9, generator=torch.Generator().manual_seed(0))
    other = logits.clone()
    other[:, 1, 6:8, 6, 6] += 5
    assert lesion_loss(other, labels).item() == pytest.approx(lesion_loss(logits, labels).item())
    assert segmentation_loss(other, labels).isfinite()


def test_lesion_loss_forgives_voxels_beside_a_bleed():
    labels = torch.zeros(1, 9, 9, 9)
    labels[0, 4, 4, 4] = 1
    sure = torch.stack([-20 * (2 * labels - 1), 20 * (2 * labels - 1)], 1) / 2
    wide = sure.clone()
    wide[:, 1, 3:6, 3:6, 3:6], wide[:, 0, 3:6, 3:6, 3:6] = 10, -10
    assert lesion_loss(wide, labels).item() == pytest.approx(lesion_loss(sure, labels).item())
