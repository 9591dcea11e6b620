"""Registration finds known poses, and says when it finds none."""

import numpy as np
import pytest
from scipy import ndimage

from microbleeds.mni.atlas import load_template
from microbleeds.mni.coarse import coarse_scan
from microbleeds.mni.register import register_to_mni
from microbleeds.scan import Scan


def misplaced_mm(registration, to_scanner, inside):
    """Distances in MNI mm between where brain voxels are and where they are put."""
    template = load_template()
    voxels = np.argwhere(inside)[::97]
    true = voxels @ template.affine[:3, :3].T + template.affine[:3, 3]
    scanner = true @ to_scanner[:3, :3].T + to_scanner[:3, 3]
    put = registration.to_mni(scanner)
    return np.linalg.norm(put - true, axis=1)


@pytest.mark.parametrize(
    ("scale", "angles", "shift"),
    [
        (1.0, (0, 0, 0), (0, 0, 0)),
        (1.08, (-14, -6, 12), (-60, 10, 90)),
    ],
    ids=["as it is", "oblique, far off"],
)
def test_a_known_pose_is_found_in_another_contrast(template_scan, posed, scale, angles, shift):
    to_scanner = posed(scale, angles, shift)
    found = register_to_mni(coarse_scan(*template_scan(to_scanner)))
    assert not found.problem
    assert found.overlap > 0.95
    apart = misplaced_mm(found, to_scanner, load_template().values > 0)
    assert np.median(apart) < 2 and apart.max() < 8


def test_a_slab_finds_its_level(template_scan, posed):
    to_scanner = posed(1.0, (6, 0, 4), (0, 40, -70))
    slab = template_scan(to_scanner, slice(16, 32))  # 64 mm, no vertex, no skull base
    found = register_to_mni(coarse_scan(*slab))
    assert not found.problem
    inside = load_template().values > 0
    inside[:, :, :16] = inside[:, :, 32:] = False
    assert np.median(misplaced_mm(found, to_scanner, inside)) < 5


def test_axis_order_and_direction_do_not_matter(template_scan, posed):
    to_scanner = posed()
    scan, brain = template_scan(to_scanner)
    straight = register_to_mni(coarse_scan(scan, brain))
    turn = np.zeros((4, 4))
    turn[[2, 0, 1, 3], [0, 1, 2, 3]] = -1, 1, 1, 1
    turn[2, 3] = scan.voxels.shape[2] - 1
    voxels, mask = (np.transpose(a, (2, 0, 1))[::-1] for a in (scan.voxels, brain))
    there = Scan(voxels.copy(), scan.affine @ turn, "t2star")
    turned = register_to_mni(coarse_scan(there, mask.copy()))
    assert np.abs(turned.matrix - straight.matrix)[:3, :3].max() < 0.03
    assert np.abs(turned.matrix - straight.matrix)[:3, 3].max() < 2


@pytest.mark.parametrize("kind", ["rod", "crumb", "empty", "flat"])
def test_what_is_no_head_is_refused_with_a_reason(kind):
    voxels = np.random.default_rng(0).normal(100, 10, (60, 60, 60)).astype(np.float32)
    brain = np.zeros(voxels.shape, bool)
    if kind == "rod":
        brain[27:33, 27:33, :] = True
    elif kind == "crumb":
        brain[30, 30, 30] = True
    elif kind == "flat":
        brain[:, :, 30] = True
    scan = Scan(voxels, np.diag([4.0, 4, 4, 1]), "t2star")
    found = register_to_mni(coarse_scan(scan, brain))
    assert 15 < len(found.problem) < 120


def test_a_constant_image_ends_without_an_exception(template_scan):
    scan, brain = template_scan(np.eye(4))
    flat = Scan(np.ones_like(scan.voxels), scan.affine, "t2star")
    found = register_to_mni(coarse_scan(flat, brain))
    assert found.problem or found.overlap > 0.85


def test_ventricles_may_be_wide(template_scan):
    """The second affine follows deep structures that were pushed outward."""
    template = load_template()
    centre = np.linalg.solve(template.affine, [0, -15, 8, 1])[:3]
    index = np.indices(template.values.shape).reshape(3, -1).T - centre
    push = 1 - 0.25 * np.exp(-(index**2).sum(1) * 16 / (2 * 25**2))
    source = (index * push[:, None] + centre).T
    values = ndimage.map_coordinates(template.values.astype(np.float32), source, order=1)
    values = values.reshape(template.values.shape)
    scan = Scan(np.where(values > 20, 300 - values, 0), template.affine, "t2star")
    found = register_to_mni(coarse_scan(scan, values > 20))
    zone = np.linalg.norm(index * 4, axis=1) < 20
    places = (index[zone] + centre) @ template.affine[:3, :3].T + template.affine[:3, 3]
    true = source.T[zone] @ template.affine[:3, :3].T + template.affine[:3, 3]
    alone = places @ found.matrix[:3, :3].T + found.matrix[:3, 3]
    both = found.to_mni(places)
    errors = [np.linalg.norm(put - true, axis=1).mean() for put in (alone, both)]
    assert errors[1] < 0.75 * errors[0]
