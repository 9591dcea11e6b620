"""Label maps as NIfTI files: what simulated heads and the brain mask's heads start from."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from microbleeds.errors import UserError
from microbleeds.scan import nibabel_silent

_SAME_MM = 0.02


def read_label_map(path: Path) -> NDArray[np.int16]:
    """The numbers of a 3D label map at 1 mm, (X, Y, Z) towards R, A and S.

    Any orientation and voxel size; other than 1 mm is resampled, nearest neighbour. Raises
    UserError when the file is missing or no 3D NIfTI image.
    """
    if not path.is_file():
        raise UserError(f"There is no file {path}; give a label map as NIfTI.")
    try:
        with nibabel_silent():
            image = nib.as_closest_canonical(nib.load(path))
        values = np.asanyarray(image.dataobj)
    except Exception as error:  # nibabel raises many kinds for a file that is none
        raise UserError(f"{path} is no readable NIfTI file; give a .nii or .nii.gz.") from error
    if values.ndim != 3:
        raise UserError(f"{path} has {values.ndim} dimensions; a label map must be 3D.")
    labels: NDArray[np.int16] = np.rint(values).astype(np.int16)
    zoom = np.array(image.header.get_zooms()[:3])
    if np.any(np.abs(zoom - 1) > _SAME_MM):
        labels = ndimage.zoom(labels, zoom, order=0)
    return labels
