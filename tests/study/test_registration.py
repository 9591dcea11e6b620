import numpy as np
import pytest
from nibabel.affines import apply_affine

from microbleeds.errors import UserError
from microbleeds.simulate.deform import rotation
from microbleeds.study.registration import register


def rigid(turn_deg, shift_mm):
    matrix = np.eye(4)
    matrix[:3, :3] = rotation(np.deg2rad(turn_deg))
    matrix[:3, 3] = shift_mm
    return matrix


def worst(found, follow_up, truth):
    """Largest error in mm over the brain of the follow-up."""
    scan, brain = follow_up
    there = apply_affine(scan.affine, np.argwhere(brain)[::499])
    here = apply_affine(np.linalg.inv(truth), there)
    return np.linalg.norm(found.to_follow_up(here) - there, axis=1).max()


@pytest.mark.parametrize(
    ("turn", "shift", "options"),
    [
        ((4.0, -3.0, 6.0), (5.0, -8.0, 3.0), {"voxel": (1.2, 1.2, 5.0), "noise": 30}),
        ((20.0, 10.0, -25.0), (15.0, 10.0, -20.0), {}),
        ((-3.0, 5.0, 2.0), (4.0, 2.0, 6.0), {"cover": (0.2, 0.6)}),
    ],
    ids=["other slices and noise", "far away", "a slab"],
)
def test_a_moved_head_is_found(head, turn, shift, options):
    truth = rigid(turn, shift)
    baseline, follow_up = head.scan(np.eye(4)), head.scan(truth, **options)
    found = register(*baseline, *follow_up, threads=2)
    assert worst(found, follow_up, truth) < 0.7
    assert found.overlap > 0.95 and found.similarity > 0.6
    there = found.to_follow_up(np.array([[1.0, 2.0, 3.0]]))
    assert found.to_baseline(there) == pytest.approx(np.array([[1.0, 2.0, 3.0]]))
    expected = np.rad2deg(np.arccos((np.trace(truth[:3, :3]) - 1) / 2))
    assert found.turn_deg == pytest.approx(expected, abs=0.7)


def test_another_head_is_told_apart(head, other_head):
    found = register(*head.scan(np.eye(4)), *other_head.scan(np.eye(4)), threads=2)
    assert found.similarity < 0.35


@pytest.mark.parametrize("kept", [np.s_[:, :, 25:26], np.s_[50:52, 50:52, 25:26]])
def test_a_brain_of_one_slice_or_four_voxels_is_refused(head, kept):
    scan, brain = head.scan(np.eye(4), name="thin")
    thin = np.zeros_like(brain)
    thin[kept] = brain[kept]
    for pair in ((scan, thin, scan, brain), (scan, brain, scan, thin)):
        with pytest.raises(UserError, match="brain mask of thin is too thin"):
            register(*pair, threads=1)
