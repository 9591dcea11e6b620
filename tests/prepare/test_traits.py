"""Traits of scans whose traits are known."""

from dataclasses import replace

import numpy as np
import pytest

from microbleeds.prepare.grid import Grid
from microbleeds.prepare.prepare import prepare_image
from microbleeds.prepare.traits import measure_traits
from microbleeds.scan import Scan
from microbleeds.settings import PrepareSettings

SETTINGS = PrepareSettings(in_plane_mm=1.0)
SHAPE = (100, 110, 25)


@pytest.fixture(scope="module")
def brain() -> np.ndarray:
    place = (np.indices(SHAPE).transpose(1, 2, 3, 0) - [50, 55, 12]) / [40, 45, 9]
    return (place**2).sum(-1) <= 1


@pytest.fixture(scope="module")
def scan(brain) -> Scan:
    """Tissue 100 with noise of 5, in voxels of 1 x 1 x 4 mm."""
    noise = np.random.default_rng(0).normal(0, 5, SHAPE)
    return Scan(((100 + noise) * brain).astype(np.float32), np.diag([1.0, 1, 4, 1]), "t2star")


def traits(scan: Scan, brain: np.ndarray):
    return measure_traits(scan, brain, *prepare_image(scan, brain, SETTINGS, 1))


def test_lengths_volume_and_noise(scan, brain):
    found = traits(scan, brain)
    assert (found.in_plane_mm, found.slice_mm, found.cut) == (1.0, 4.0, 0.0)
    assert found.brain_cm3 == pytest.approx(brain.sum() * 4 / 1000)
    assert found.noise == pytest.approx(0.05, rel=0.08)
    assert found.dark == found.bright == 0
    assert found.rim == pytest.approx(0, abs=0.01)


def test_axes_and_scale_of_the_file_do_not_matter(scan, brain):
    turned = Scan(
        np.ascontiguousarray(scan.voxels.transpose(2, 0, 1)) * 7,
        scan.affine[:, [2, 0, 1, 3]],
        "t2star",
    )
    expected, found = traits(scan, brain), traits(turned, brain.transpose(2, 0, 1))
    for name, value in vars(expected).items():
        assert vars(found)[name] == pytest.approx(value, rel=0.02, abs=0.005), name


def test_dark_and_bright_parts(scan, brain):
    voxels = scan.voxels.copy()
    inner = np.zeros(SHAPE, bool)
    inner[40:60, 45:65, 8:16] = True
    voxels[inner] = 30
    share = inner.sum() / brain.sum()
    found = traits(replace(scan, voxels=voxels), brain)
    assert found.dark == pytest.approx(share, rel=0.15) and found.bright == 0
    voxels[inner] = 180
    found = traits(replace(scan, voxels=voxels), brain)
    assert found.bright == pytest.approx(share, rel=0.15) and found.dark == 0


def test_a_dark_rim(scan, brain):
    from scipy.ndimage import distance_transform_edt

    rim = brain & (distance_transform_edt(brain, (1, 1, 4)) <= 6)
    voxels = np.where(rim, scan.voxels * 0.8, scan.voxels).astype(np.float32)
    assert traits(replace(scan, voxels=voxels), brain).rim > 0.04  # N4 takes some of it for shading


def test_how_much_the_image_cuts_off(scan, brain):
    cut = replace(scan, voxels=np.ascontiguousarray(scan.voxels[..., 12:]))
    assert traits(cut, brain[..., 12:]).cut == 1.0
    areas = brain.sum(axis=(0, 1))
    cut = replace(scan, voxels=np.ascontiguousarray(scan.voxels[..., 7:]))
    assert traits(cut, brain[..., 7:]).cut == pytest.approx(areas[7] / areas.max())


def test_qsm_is_measured_by_its_own_spread(scan, brain):
    values = np.random.default_rng(1).normal(0.01, 0.02, SHAPE) * brain
    qsm = Scan(values.astype(np.float32), scan.affine, "qsm")
    found = traits(qsm, brain)
    assert found.noise == pytest.approx(1, rel=0.05)  # all of its spread is noise
    assert found.dark + found.bright < 0.001
    ppb = traits(replace(qsm, voxels=qsm.voxels * 1000), brain)
    assert ppb.noise == pytest.approx(found.noise, rel=0.001)


def test_a_constant_tissue_has_no_noise(scan, brain):
    assert traits(replace(scan, voxels=100 * brain.astype(np.float32)), brain).noise == 0


def slab(length: int, darker_mm: float) -> tuple[Scan, np.ndarray, np.ndarray]:
    """A cylinder of so many slices of 3 mm, cut at both ends, prepared: its rim is brighter."""
    x, y, _ = np.indices((160, 180, length))
    place = np.hypot((x - 80) / 70, (y - 90) / 80)
    brain = place < 1
    image = np.where(brain, 0.5, 0).astype(np.float32)
    image[brain & (place > 1 - darker_mm / 75)] = 0.7
    noise = np.random.default_rng(0).normal(0, 3, brain.shape)
    scan = Scan((100 + noise).astype(np.float32), np.diag([1.0, 1, 3, 1]), "t2star")
    return scan, brain, image


@pytest.mark.parametrize("length", [9, 20])
def test_the_ends_of_a_slab_are_no_rim(length):
    for darker_mm, rim in ((0, 0.0), (8, 0.2)):
        scan, brain, image = slab(length, darker_mm)
        found = measure_traits(scan, brain, image, brain, Grid(brain.shape, scan.affine))
        assert found.rim == pytest.approx(rim, abs=1e-6)


def test_where_nothing_is_deep_or_no_edge_is_seen_there_is_no_rim():
    scan, brain, image = slab(9, 8)
    thin, everywhere = brain.copy(), np.ones_like(brain)
    thin[:, 100:] = thin[:, :80] = False  # 20 mm
    for mask in (thin, everywhere):
        found = measure_traits(scan, mask, image, mask, Grid(mask.shape, scan.affine))
        assert found.rim == 0.0
