import nibabel as nib
import numpy as np
import pytest

from microbleeds.errors import UserError
from microbleeds.simulate.label_map import read_label_map


def save(array, affine, path):
    nib.save(nib.Nifti1Image(array, affine), path)
    return path


def test_axes_and_voxel_size_come_from_the_affine(tmp_path):
    labels = np.zeros((6, 4, 8), np.int16)
    labels[4, 1, 2] = 3035
    turned = labels[::-1].transpose(2, 0, 1).copy()  # S, L, A
    affine = np.array([[0, -2, 0, 10.0], [0, 0, 2, 0], [2, 0, 0, 0], [0, 0, 0, 1]])
    doubled = read_label_map(save(turned, affine, tmp_path / "map.nii"))
    assert doubled.shape == (12, 8, 16) and doubled.dtype == np.int16
    np.testing.assert_allclose(np.argwhere(doubled == 3035).mean(0), (8.5, 2.5, 4.5), atol=0.6)
    assert set(np.unique(doubled)) == {0, 3035}


def test_numbers_stored_as_floats_are_rounded(tmp_path):
    stored = np.full((3, 3, 3), 40.9996, np.float32)
    assert (read_label_map(save(stored, np.eye(4), tmp_path / "map.nii.gz")) == 41).all()


def test_a_series_is_no_label_map(tmp_path):
    series = save(np.zeros((3, 3, 3, 2), np.int16), np.eye(4), tmp_path / "series.nii.gz")
    with pytest.raises(UserError, match="has 4 dimensions"):
        read_label_map(series)
