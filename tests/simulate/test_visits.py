import numpy as np
import pytest

from microbleeds.simulate import HeadSettings
from microbleeds.simulate.deform import AnatomyRanges
from microbleeds.simulate.lesions import LesionRanges
from microbleeds.simulate.pose import Pose
from microbleeds.simulate.scanner import Protocol
from microbleeds.simulate.visits import Visit, random_return, simulate_visits

SETTINGS = HeadSettings(
    anatomy=AnatomyRanges(0, 0, 0, 24, 0, 0),
    lesions=LesionRanges((2, 2), 0.8, 0.0, susceptibility_ppm=(2.0, 2.5), cluster_chance=0),
    whole_head=False,
)
PROTOCOL = Protocol(acquired_mm=0.9, pixel_mm=0.9, slice_mm=2.0, snr=60)


@pytest.fixture(scope="module")
def visits(small_head, small_field):
    later = Visit(
        Protocol(acquired_mm=0.9, pixel_mm=0.9, slice_mm=2.6, snr=40, tilt_deg=(4.0, -3.0)),
        Pose((3.0, 0.0, 8.0), (1.0, -2.0, 1.5)),
        new=3,
    )
    return simulate_visits(small_head, (Visit(PROTOCOL), later), ("t2star",), SETTINGS, (7,))


def test_the_follow_up_has_the_old_bleeds_by_their_numbers_and_new_ones(visits):
    before, after = (visit.truth for visit in visits)
    assert [bleed.index for bleed in before] == [1, 2]
    assert [bleed.index for bleed in after] == [1, 2, 3, 4, 5]
    for old, again in zip(before, after, strict=False):
        assert old.susceptibility_ppm == again.susceptibility_ppm
        assert old.source_diameter_mm == again.source_diameter_mm
    apart = [np.linalg.norm(np.subtract(t[0].xyz_mm, t[1].xyz_mm)) for t in (before, after)]
    assert apart[0] == pytest.approx(apart[1], abs=1e-6)
    assert np.linalg.norm(np.subtract(before[0].xyz_mm, after[0].xyz_mm)) > 1


def test_every_bleed_is_dark_where_the_truth_says_at_both_visits(visits):
    for visit in visits:
        inverse = np.linalg.inv(visit.affine)
        image = visit.images["t2star"]
        for bleed in visit.truth:
            place = np.rint(inverse[:3, :3] @ bleed.xyz_mm + inverse[:3, 3]).astype(int)
            assert image[tuple(place)] < 0.6 * np.median(image[visit.brain])


def test_the_seed_decides_every_byte(visits, small_head):
    again = simulate_visits(small_head, (Visit(PROTOCOL),), ("t2star",), SETTINGS, (7,))
    assert again[0].images["t2star"].tobytes() == visits[0].images["t2star"].tobytes()


def test_a_random_return_keeps_what_a_trial_keeps():
    rng = np.random.default_rng(0)
    returns = [random_return(PROTOCOL, 4, rng) for _ in range(40)]
    slices = [visit.protocol.slice_mm for visit in returns]
    assert 0.2 < np.mean([s == PROTOCOL.slice_mm for s in slices]) < 0.8
    assert all(0.8 <= s <= 5 for s in slices)
    for visit in returns:
        assert visit.new == 4 and visit.pose != Pose()
        assert (visit.protocol.te_ms, visit.protocol.field_t) == (PROTOCOL.te_ms, PROTOCOL.field_t)
