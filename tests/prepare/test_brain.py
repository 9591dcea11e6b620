from dataclasses import replace

import nibabel as nib
import numpy as np
import pytest
from scipy import ndimage

from microbleeds.errors import UserError
from microbleeds.models.config import NetworkConfig
from microbleeds.models.zoo import load_brain
from microbleeds.prepare.brain import (
    brain_mask,
    brain_probability,
    isotropic_grid,
    unit_scale,
    without_skin,
)
from microbleeds.scan import Scan

T2STAR = {2: 50, 41: 50, 3: 60, 42: 60, 4: 110, 43: 110, 8: 58, 47: 58, 16: 48, 24: 105,
          507: 35, 515: 6}  # fmt: skip


class Bright:
    """In place of the network: everything brighter than half is brain."""

    config = NetworkConfig(1, (1, 1), ((2, 2, 2),))
    threads = 1
    memory_gb = 1.0

    def release(self):
        pass

    def run(self, batch):
        brain = (batch[:, :1] > 0.5).astype(np.float32)
        return np.concatenate([1 - brain, brain], axis=1)


def rotated(spacing, degrees=0.0):
    """An affine with this spacing, turned about R-L, off the origin."""
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    affine = np.eye(4)
    affine[:3, :3] = np.array([[1, 0, 0], [0, c, -s], [0, s, c]]) @ np.diag(spacing)
    affine[:3, 3] = (-40, 12, 90)
    return affine


def ball_scan(shape, affine, radius=45.0, value=100.0, background=10.0):
    """A bright ball in the middle; returns the scan and the distance from its centre in mm."""
    index = np.indices(shape).reshape(3, -1)
    world = (affine[:3, :3] @ (index - (np.array(shape)[:, None] - 1) / 2)).reshape(3, *shape)
    distance = np.linalg.norm(world, axis=0)
    voxels = np.where(distance <= radius, value, background).astype(np.float32)
    return Scan(voxels, affine, "t2star"), distance


def dice(a, b):
    return 2 * (a & b).sum() / (a.sum() + b.sum())


def test_probability_is_a_mean_over_views_that_lie_on_one_another():
    image = np.random.default_rng(0).random((8, 6, 4), np.float32)
    assert np.array_equal(brain_probability(image, Bright()), image > 0.5)
    views = []

    class Watched(Bright):
        def run(self, batch):
            views.append(batch[0, 0])
            return super().run(batch)

    brain_probability(image, Watched())
    assert np.array_equal(views[1], views[0][::-1])
    assert np.array_equal(views[2], np.pad(views[0], 8))


def test_scale_ignores_zeros_and_outliers():
    rng = np.random.default_rng(0)
    values = rng.uniform(100, 200, 10_000).astype(np.float32)
    values[0] = 1e6
    scaled = unit_scale(values)
    assert np.array_equal(
        unit_scale(np.append(values, np.zeros(50_000, np.float32)))[:10_000], scaled
    )
    assert scaled.max() == 1 and scaled.min() == pytest.approx(0.5, abs=0.02)
    assert unit_scale(np.zeros((3, 3), np.float32)).max() == 0


def test_scale_of_signed_values_keeps_what_is_masked_at_zero():
    values = np.random.default_rng(0).uniform(-0.1, 0.1, 9999).astype(np.float32)
    scaled = unit_scale(np.append(values, np.zeros(9999, np.float32)))
    assert not scaled[9999:].any()
    assert scaled[:9999][np.abs(values) < 1e-3] == pytest.approx(0.5, abs=0.02)
    assert np.corrcoef(values, scaled[:9999])[0, 1] > 0.999


@pytest.mark.parametrize("axes", ["RAS", "LPS", "SAR", "AIL"])
def test_grid_covers_the_scan_in_any_orientation(axes):
    shape = (40, 61, 13)
    affine = nib.orientations.inv_ornt_aff(
        nib.orientations.axcodes2ornt(axes), shape
    ) @ np.diag([0.9, 0.9, 4, 1])  # fmt: skip
    grid = isotropic_grid(shape, affine, (16, 16, 16))
    assert all(n % 16 == 0 for n in grid.shape)
    assert nib.aff2axcodes(grid.affine) == ("R", "A", "S")
    assert np.allclose(grid.spacing, grid.spacing[0])
    corners = np.array(
        [[i, j, k, 1] for i in (-0.5, 39.5) for j in (-0.5, 60.5) for k in (-0.5, 12.5)]
    )
    inside = (np.linalg.inv(grid.affine) @ affine @ corners.T)[:3].T
    assert (inside >= -0.5001).all() and (inside <= np.array(grid.shape) - 0.4999).all()


@pytest.mark.parametrize(
    ("spacing", "degrees"), [((1, 1, 3), 0), ((0.5, 0.5, 4), 25), ((2, 2, 2), -40), ((3, 1, 1), 10)]
)
def test_mask_lies_where_the_bright_ball_lies(spacing, degrees):
    shape = tuple(int(120 / s) for s in spacing)
    scan, distance = ball_scan(shape, rotated(spacing, degrees))
    assert dice(brain_mask(scan, Bright()), distance <= 45) > 0.97


def test_what_the_skull_parts_from_the_brain_is_no_brain():
    distance = np.linalg.norm(np.indices((40, 40, 40)) - 19.5, axis=0)
    image = np.where((distance < 13) | (distance > 15), 0.5, 0.02).astype(np.float32)
    image[18:22, 18:22, 18:22] = 0.02  # a bleed or a void within
    seen = np.where(distance < 18, 0.9, 0.1).astype(np.float32)
    kept = without_skin(seen, image) > 0.5
    assert kept[distance < 13].all() and not kept[distance > 15.5].any()
    nothing = np.full_like(seen, 0.1)
    assert np.array_equal(without_skin(nothing, image), nothing)
    thin = np.where(distance < 1.5, 0.9, 0.1).astype(np.float32)  # gone when opened: left alone
    assert np.array_equal(without_skin(thin, image), thin)


def test_smaller_parts_go_and_holes_are_filled():
    scan, distance = ball_scan((60, 60, 60), rotated((2, 2, 2)))
    voxels = scan.voxels.copy()
    voxels[distance < 10] = 10  # a hole
    voxels[2:8, 2:8, 2:8] = 100  # an eye
    mask = brain_mask(replace(scan, voxels=voxels), Bright())
    assert mask[distance < 10].all() and not mask[2:8, 2:8, 2:8].any()
    assert ndimage.label(mask)[1] == 1


def test_zeros_around_are_outside_and_zeros_within_stay_inside():
    scan, distance = ball_scan((80, 80, 40), rotated((1.5, 1.5, 3)), background=0.0)
    voxels = scan.voxels.copy()
    voxels[distance < 4] = 0  # a bleed without any signal
    mask = brain_mask(replace(scan, voxels=voxels), Bright())
    assert mask[distance < 4].all()
    assert not mask[distance > 45].any() and dice(mask, distance <= 45) > 0.97


def test_scan_without_a_brain_is_refused_in_one_sentence():
    scan, _ = ball_scan((60, 60, 60), rotated((2, 2, 2)), radius=20.0)
    with pytest.raises(UserError, match=r"no brain in it.*3\d cm³.*--mask"):
        brain_mask(scan, Bright())
    with pytest.raises(UserError, match="no brain"):
        brain_mask(replace(scan, voxels=np.zeros_like(scan.voxels)), Bright())


def test_a_slab_may_hold_little_brain():
    scan, distance = ball_scan((60, 60, 6), rotated((2, 2, 3)), radius=40.0)
    mask = brain_mask(scan, Bright())
    assert mask.sum() * 12 / 1000 < 200 and dice(mask, distance <= 40) > 0.95


@pytest.fixture(scope="module")
def phantom(head_numbers):
    """A T2*-like scan of the head of ellipsoids, and its brain."""
    lookup = np.zeros(1000, np.float32)
    lookup[list(T2STAR)] = list(T2STAR.values())
    noise = np.random.default_rng(0).normal(0, 3, (2, *head_numbers.shape))
    voxels = np.hypot(lookup[head_numbers] + noise[0], noise[1]).astype(np.float32)
    brain = np.isin(head_numbers, (2, 41, 3, 42, 4, 43, 8, 47))
    return Scan(voxels, np.diag([2.0, 2, 2, 1]), "t2star"), brain


def test_shipped_network_finds_the_brain_of_a_phantom(phantom):
    scan, brain = phantom
    assert dice(brain_mask(scan, load_brain(threads=1)), brain) > 0.88


def test_shipped_network_does_not_care_how_axes_are_stored(phantom):
    scan, _ = phantom
    engine = load_brain(threads=1)
    straight = brain_mask(scan, engine)
    image = nib.Nifti1Image(scan.voxels, scan.affine)
    other = image.as_reoriented(nib.orientations.axcodes2ornt("LSP"))
    turned = Scan(np.asarray(other.dataobj, np.float32), other.affine, "t2star")
    back = nib.Nifti1Image(brain_mask(turned, engine).astype(np.uint8), other.affine)
    assert dice(nib.as_closest_canonical(back).get_fdata() > 0, straight) > 0.999


def test_shipped_network_accepts_a_stripped_head(phantom):
    scan, brain = phantom
    stripped = replace(scan, voxels=np.where(brain, scan.voxels, 0))
    assert dice(brain_mask(stripped, load_brain(threads=1)), brain) > 0.93


def test_shipped_network_finds_no_brain_in_noise(phantom):
    scan, _ = phantom
    noise = np.abs(np.random.default_rng(0).normal(0, 5, scan.voxels.shape)).astype(np.float32)
    with pytest.raises(UserError, match="no brain"):
        brain_mask(replace(scan, voxels=noise), load_brain(threads=1))


class Unsure(Bright):
    """In place of the network: sure of what is brightest, half sure of what is less bright."""

    def run(self, batch):
        image = batch[:, :1]
        brain = np.where(image > 0.8, 0.95, np.where(image > 0.3, 0.55, 0.0)).astype(np.float32)
        return np.concatenate([1 - brain, brain], axis=1)


@pytest.mark.parametrize(("rim_mm", "kept"), [(70.0, 70.0), (82.0, 60.0)])
def test_a_mask_larger_than_any_brain_is_cut_at_a_higher_probability(rim_mm, kept):
    # balls of 70 and 82 mm hold 1437 and 2310 cm3
    scan, distance = ball_scan((90, 90, 90), rotated((2.5, 2.5, 2.5)), radius=60.0)
    voxels = np.where((distance > 60) & (distance <= rim_mm), 55, scan.voxels).astype(np.float32)
    mask = brain_mask(replace(scan, voxels=voxels), Unsure())
    radius = np.cbrt(mask.sum() * 2.5**3 * 3 / (4 * np.pi))
    assert radius == pytest.approx(kept, abs=1.5)


def test_a_susceptibility_map_is_masked_by_where_it_was_made():
    x, y, z = np.indices((80, 90, 70)) - np.array([40, 45, 35])[:, None, None, None]
    ball = (x / 30) ** 2 + (y / 38) ** 2 + (z / 28) ** 2 < 1
    noise = np.random.default_rng(0).normal(0, 0.1, ball.shape).astype(np.float32)
    voxels = np.where(ball, noise, 0).astype(np.float32)
    voxels[40:42, 45, 35] = 0  # as a reference region is
    voxels[2, 2, 2] = 0.1  # a speck that the reconstruction left
    scan = Scan(voxels, np.diag([2.0, 2.0, 2.0, 1.0]), "qsm")
    assert np.array_equal(brain_mask(scan, load_brain()), ball)
    with pytest.raises(UserError, match="no brain"):  # the same as a magnitude is noise
        brain_mask(replace(scan, contrast="t2star"), load_brain())
