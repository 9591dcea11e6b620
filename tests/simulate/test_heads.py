import nibabel as nib
import numpy as np
import pytest
from scipy import ndimage

from microbleeds.errors import UserError
from microbleeds.simulate.heads import AIR, CAVITY, brain_of, make_head, read_head


def save(numbers, path, spacing=1.0):
    nib.save(nib.Nifti1Image(numbers, np.diag([spacing] * 3 + [1.0])), path)
    return path


def test_mask_holds_the_brain_and_about_a_millimetre_more(head_numbers):
    mask = brain_of(head_numbers)
    tissue = np.isin(head_numbers, (2, 41, 3, 42, 4, 43, 8, 47))
    assert mask[tissue].all()
    upper = np.arange(mask.shape[2]) > 50  # away from the stem
    distance = ndimage.distance_transform_edt(~tissue)
    assert distance[mask & upper].max() <= 1


def test_sulci_are_closed_but_wide_gaps_are_not():
    numbers = np.zeros((60, 60, 60), np.int16)
    numbers[10:50, 10:50, 10:50] = 3
    numbers[20:23, 30:, :] = 24  # a sulcus 3 mm wide
    numbers[35:47, 30:, :] = 24  # a gap of 12 mm
    mask = brain_of(numbers)
    assert mask[21, 40, 30] and not mask[41, 45, 30]


def test_stem_ends_a_centimetre_below_the_cerebellum(head_numbers):
    lowest = np.flatnonzero(np.isin(head_numbers, (8, 47)).any(axis=(0, 1)))[0]
    bottom = np.flatnonzero(brain_of(head_numbers).any(axis=(0, 1)))[0]
    assert bottom == lowest - 10 - 1  # and the millimetre of fluid


def test_ventricles_and_holes_are_inside(head_numbers):
    numbers = head_numbers.copy()
    numbers[28:38, 60:70, 66:76] = 24  # a cyst in the white matter
    assert brain_of(numbers)[28:38, 60:70, 66:76].all()


def test_air_inside_the_head_differs_from_air_around_it(head_numbers):
    numbers = np.pad(head_numbers, 5)
    bubble = np.s_[32:36, 50:54, 80:84]
    numbers[bubble] = 0  # a bubble
    numbers[0:3, 0:3, 0:3] = 24  # a speck outside the head
    head = make_head(numbers)
    box = ndimage.find_objects(ndimage.label(numbers > 0)[0])[1]  # the head, not the speck
    inside = tuple(
        slice(a.start - b.start, a.stop - b.start) for a, b in zip(bubble, box, strict=True)
    )
    assert (head.labels[inside] == CAVITY).all()
    assert head.labels[0, 0, -1] == AIR
    assert head.labels.shape == head.mask.shape == tuple(s.stop - s.start for s in box)


def test_labels_keep_their_tissue(head_numbers):
    head = make_head(head_numbers)
    kinds = np.array(head.tissues)[head.labels]
    solid = head_numbers[tuple(ndimage.find_objects((head_numbers > 0).astype(int))[0])]
    for number, kind in ((2, "white"), (47, "grey"), (24, "csf"), (515, "bone"), (507, "soft")):
        assert (kinds[solid == number] == kind).all()
        assert len(np.unique(head.labels[solid == number])) == 1


def test_unknown_labels_become_soft_tissue(head_numbers):
    numbers = head_numbers.copy()
    numbers[40, 49, 92] = 999
    head = make_head(numbers)
    kinds = np.array(head.tissues)
    assert set(kinds[np.unique(head.labels)]) >= {"soft", "white"}


def test_orientation_comes_from_the_affine(head_numbers, tmp_path):
    straight = read_head(save(head_numbers, tmp_path / "ras.nii.gz"))
    turned = np.ascontiguousarray(head_numbers[::-1].transpose(0, 2, 1))
    affine = np.array([[-1, 0, 0, 0], [0, 0, 1, 0], [0, 1, 0, 0], [0, 0, 0, 1.0]])
    nib.save(nib.Nifti1Image(turned, affine), tmp_path / "las.nii.gz")
    same = read_head(tmp_path / "las.nii.gz")
    assert np.array_equal(same.labels, straight.labels)
    assert np.array_equal(same.mask, straight.mask)


def test_what_is_no_anatomy_is_refused(head_numbers, tmp_path):
    with pytest.raises(UserError, match="no brain"):
        read_head(save(np.where(head_numbers > 100, head_numbers, 0), tmp_path / "skull.nii.gz"))
    with pytest.raises(UserError, match="no file"):
        read_head(tmp_path / "absent.nii.gz")


def test_coarse_maps_are_brought_to_a_millimetre(head_numbers, tmp_path):
    head = read_head(save(head_numbers, tmp_path / "fine.nii.gz"))
    coarse = read_head(save(head_numbers[::2, ::2, ::2], tmp_path / "coarse.nii.gz", spacing=2.0))
    assert coarse.mask.sum() == pytest.approx(head.mask.sum(), rel=0.1)
