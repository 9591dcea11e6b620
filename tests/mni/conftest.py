"""The template as a scan: another contrast, another pose, thick oblique slices."""

import numpy as np
import pytest

from microbleeds.mni.atlas import load_template
from microbleeds.scan import Scan
from microbleeds.simulate.deform import rotation


def make_pose(scale=0.95, angles=(10.0, 5.0, -8.0), shift=(12.0, -30.0, 25.0)):
    """From MNI mm to scanner mm."""
    matrix = np.eye(4)
    matrix[:3, :3] = rotation(np.deg2rad(angles)) * np.array([scale, scale * 1.05, scale])
    matrix[:3, 3] = shift
    return matrix


@pytest.fixture(scope="session")
def posed():
    return make_pose


@pytest.fixture(scope="session")
def template_scan():
    """A function of (to_scanner, slices): the template with inverted greys, every 2nd slice."""

    def make(to_scanner, slices=slice(None, None, 2)):
        template = load_template()
        inside = template.values > 0
        voxels = np.where(inside, 300.0 - template.values, 0).astype(np.float32)[:, :, slices]
        first, _, step = slices.indices(template.values.shape[2])
        cut = np.diag([1.0, 1, step, 1])
        cut[2, 3] = first
        return Scan(voxels, to_scanner @ template.affine @ cut, "t2star"), inside[:, :, slices]

    return make
