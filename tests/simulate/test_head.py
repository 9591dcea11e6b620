import numpy as np
import pytest
from scipy import ndimage

from microbleeds.simulate import anatomy as an

CONTRASTS = ("t2star", "swi", "qsm")


@pytest.fixture(scope="module")
def bled(simulate):
    """Four bleeds in every contrast, slices tilted against the field and the scanner's axes."""
    return simulate(1, CONTRASTS, count=4, tilt_deg=(10.0, -5.0))


@pytest.fixture(scope="module")
def healthy(simulate):
    return simulate(2, count=0)


def voxel_of(head, bleed):
    inverse = np.linalg.inv(head.affine)
    return inverse[:3, :3] @ bleed.xyz_mm + inverse[:3, 3]


def shell(head, bleed):
    """Brain 4 to 7 mm away from a bleed."""
    spacing = np.linalg.norm(head.affine[:3, :3], axis=0)
    voxels = np.moveaxis(np.indices(head.brain.shape), 0, -1)
    distance = np.linalg.norm((voxels - voxel_of(head, bleed)) * spacing, axis=-1)
    return (distance > 4) & (distance < 7) & head.brain


def test_images_labels_and_mask_share_a_grid(bled):
    assert tuple(bled.images) == tuple(bled.labels) == CONTRASTS
    for contrast, image in bled.images.items():
        assert image.shape == bled.labels[contrast].shape == bled.brain.shape
        assert image.dtype == np.float32 and np.isfinite(image).all()
    spacing = np.linalg.norm(bled.affine[:3, :3], axis=0)
    assert spacing == pytest.approx([0.9, 0.9, 2.0], rel=0.02)
    extent = spacing * bled.brain.shape
    assert np.all((extent > 46) & (extent < 62))  # the brain of 46 mm with its margin


def test_magnitudes_are_a_scanners_integers_and_the_map_is_signed(bled):
    for contrast in ("t2star", "swi"):
        image = bled.images[contrast]
        assert image.min() >= 0 and np.array_equal(image, np.rint(image))
        assert 300 <= np.percentile(image, 99.9) <= 3500
    qsm = bled.images["qsm"]
    assert qsm.min() < 0 < qsm.max() and not qsm[~bled.brain].any()


def test_bleeds_are_dark_on_magnitudes_and_bright_on_qsm(bled):
    assert len(bled.truth) == 4
    for bleed in bled.truth:
        place = tuple(np.rint(voxel_of(bled, bleed)).astype(int))
        around = shell(bled, bleed)
        for contrast in ("t2star", "swi"):
            image = bled.images[contrast]
            assert image[place] < 0.5 * np.median(image[around])
        qsm = bled.images["qsm"]
        assert qsm[place] > np.median(qsm[around]) + 0.2  # ppm; the deposits hold 2 to 2.5


def test_labels_lie_where_the_truth_says(bled):
    """To a fraction of a voxel, through the tilted affine; each in one piece."""
    for bleed in bled.truth:
        assert bled.brain[tuple(np.rint(voxel_of(bled, bleed)).astype(int))]
        for labels in bled.labels.values():
            voxels = np.argwhere(labels == bleed.index)
            assert len(voxels) and np.abs(voxels.mean(0) - voxel_of(bled, bleed)).max() < 0.8
            assert ndimage.label(labels == bleed.index, np.ones((3, 3, 3)))[1] == 1


def test_the_volumes_of_the_truth_are_those_of_the_labels(bled):
    voxel = abs(np.linalg.det(bled.affine[:3, :3]))
    for contrast, labels in bled.labels.items():
        assert set(np.unique(labels)) == {0, 1, 2, 3, 4}
        for bleed in bled.truth:
            volume = (labels == bleed.index).sum() * voxel
            assert bleed.volume_mm3[contrast] == pytest.approx(volume)
    for bleed in bled.truth:
        deposit = np.pi / 6 * bleed.source_diameter_mm**3
        assert bleed.volume_mm3["t2star"] > 2 * deposit  # blooming
        assert bleed.volume_mm3["swi"] > bleed.volume_mm3["qsm"]


def test_veins_are_dark_and_not_labelled(healthy):
    assert healthy.truth == () and not healthy.labels["t2star"].any()
    image = healthy.images["t2star"][healthy.brain]
    assert image.min() < 0.3 * np.median(image)


def test_apparent_volume_grows_with_echo_time(simulate):
    volumes = []
    for te in (10.0, 20.0, 40.0):
        head = simulate(1, te_ms=te, snr=200.0)
        assert len(head.truth) == 4
        volumes.append([bleed.volume_mm3["t2star"] for bleed in head.truth])
    short, middle, long = np.array(volumes)
    assert np.all(short < middle) and np.all(middle < long)


def test_the_seed_decides_every_byte(simulate, bled, healthy):
    again = simulate(1, CONTRASTS, count=4, tilt_deg=(10.0, -5.0))
    for contrast in CONTRASTS:
        assert again.images[contrast].tobytes() == bled.images[contrast].tobytes()
        assert again.labels[contrast].tobytes() == bled.labels[contrast].tobytes()
    assert again.truth == bled.truth and np.array_equal(again.affine, bled.affine)
    assert not np.array_equal(healthy.images["t2star"], bled.images["t2star"])


def test_a_whole_head_has_skull_and_skin_around_its_brain(simulate, bled, small_labels):
    # At a longer echo time, skin as thin as here is lost beside the air.
    whole = simulate(3, whole_head=True, te_ms=5.0)
    assert all(b < w for b, w in zip(bled.brain.shape, whole.brain.shape, strict=True))
    tissue = an.select(small_labels, (*an.TISSUE, *an.VENTRICLES)).sum()
    for head in (bled, whole):
        volume = head.brain.sum() * abs(np.linalg.det(head.affine[:3, :3]))
        assert 0.95 < volume / tissue < 1.25
    voxels = np.moveaxis(np.indices(whole.brain.shape), 0, -1)
    place = voxels @ whole.affine[:3, :3].T + whole.affine[:3, 3]
    place -= place[whole.brain].mean(0)
    radius = np.linalg.norm(place, axis=-1)
    central = np.abs(place[..., 2]) < 8  # where slices do not graze the skin
    image = whole.images["t2star"]
    bone, skin, air = (
        np.median(image[central & (radius > low) & (radius < high)])
        for low, high in ((25.2, 25.9), (26.9, 27.6), (30, 40))
    )
    assert air < 0.5 * skin and bone < 0.5 * skin
