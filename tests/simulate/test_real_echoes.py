"""The signal model and the SWI filter against a real three-echo GRE crop with veins.

Data: CLEARSWI.jl / ROMEO.jl, 7 T, 0.47 x 0.47 x 1 mm; not part of the package.
"""

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from microbleeds.simulate.scanner import susceptibility_weighted

CROP = Path(__file__).resolve().parents[3] / "shared" / "gre_crops"
INNER = np.s_[4:-4, 4:-4]  # away from where the filter wraps around

pytestmark = pytest.mark.skipif(not CROP.is_dir(), reason="the crop is not here")


@pytest.fixture(scope="module")
def echoes():
    """Complex echoes (X, Y, Z, 3)."""
    magnitude, phase = (nib.load(CROP / f"{n}.nii.gz").get_fdata() for n in ("Mag", "Phase"))
    phase *= np.pi / np.abs(phase).max()  # the file's scaling is lost; its range is one turn
    return magnitude * np.exp(1j * phase)


def test_magnitude_decays_and_phase_grows_with_echo_time(echoes):
    """As in `gradient_echo`: exp(-TE R2*), and a phase in proportion to TE."""
    first, second, third = np.moveaxis(np.abs(echoes), -1, 0)
    assert np.mean((first > second) & (second > third)) > 0.85
    steps = [np.angle(echoes[..., i + 1] * np.conj(echoes[..., i])) for i in (0, 1)]
    assert np.corrcoef(steps[0].ravel(), steps[1].ravel())[0, 1] > 0.95


def test_swi_darkens_the_voxels_of_veins(echoes):
    """They are darker than most already, and lose their signal faster.

    Which sign of phase the scanner gave to veins is not known, and not tested here.
    """
    image = echoes[..., 1]
    magnitude = np.abs(image)
    ratio = (susceptibility_weighted(image.astype(np.complex64), 0.25) / magnitude)[INNER]
    darkened = ratio <= np.quantile(ratio, 0.02)
    decay = np.log(np.abs(echoes[..., 0]) / np.abs(echoes[..., 2]))[INNER]
    inner = magnitude[INNER]
    assert np.mean(inner[darkened] < np.median(inner)) > 0.65
    assert np.median(decay[darkened]) > np.median(decay)


def test_most_tissue_keeps_its_signal_and_later_echoes_show_veins_better(echoes):
    darkest = []
    for echo in range(3):
        image = echoes[..., echo].astype(np.complex64)
        ratio = (susceptibility_weighted(image, 0.25) / np.abs(image))[INNER]
        assert np.median(ratio) > 0.97
        darkest.append(np.quantile(ratio, 0.02))
    assert darkest[0] > darkest[1] > darkest[2]
