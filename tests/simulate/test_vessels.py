import numpy as np
import pytest

from microbleeds.simulate.vessels import FADE_MM, Tubes, draw, walk


def test_a_drawn_tube_has_its_volume() -> None:
    z = np.arange(0, 20, 0.2)
    centres = np.stack([np.full_like(z, 8.1), np.full_like(z, 7.9), z + 2], -1).astype(np.float32)
    spacing = np.full(3, 0.4)
    tube = Tubes(centres, np.full(len(z), 1.5, np.float32))
    fraction = draw(tube, np.zeros(3), spacing, (40, 40, 60))
    middle = fraction[:, :, 20:40].sum() * spacing.prod()
    assert middle == pytest.approx(np.pi * 1.5**2 * 20 * 0.4, rel=0.08)


def test_a_thin_tube_fills_a_share_of_its_voxels() -> None:
    centres = np.stack([np.full(50, 5.0), np.full(50, 5.0), np.linspace(1, 9, 50)], -1)
    thin = draw(Tubes(centres.astype(np.float32), np.full(50, 0.1, np.float32)),
                np.zeros(3), np.full(3, 0.5), (20, 20, 20))  # fmt: skip
    assert 0 < thin.max() < 0.3


def test_points_outside_the_grid_are_left_out() -> None:
    tubes = Tubes(np.array([[-5, 2, 2], [50, 2, 2]], np.float32), np.ones(2, np.float32))
    assert draw(tubes, np.zeros(3), np.ones(3), (5, 5, 5)).max() == 0


def test_walks_climb_their_guide_and_end_at_their_length() -> None:
    rng = np.random.default_rng(0)
    guide = np.repeat(np.arange(60, dtype=np.float32)[:, None, None] / 10, 20, 1).repeat(20, 2)
    start = np.full((5, 3), 10.0)
    tubes = walk(start, rng.normal(size=(5, 3)), np.full(5, 12.0), np.ones(5), guide, rng, pull=3.0)
    assert tubes.centres[:, 0].max() > 18
    assert len(tubes.centres) == 5 * int(12 / 0.3)


def test_a_vessel_ends_where_its_guide_falls_too_low() -> None:
    guide = np.zeros((30, 30, 60), np.float32)
    guide[:, :, :20] = 1
    start, upwards = np.full((4, 3), 15.0), np.tile([0.0, 0.0, 1.0], (4, 1))

    def top(least: float | None) -> float:
        rng = np.random.default_rng(0)
        tubes = walk(
            start, upwards, np.full(4, 30.0), np.ones(4), guide, rng, pull=0.0, least=least
        )
        return float(tubes.centres[:, 2].max())

    assert top(0.5) < 20.5 < top(None)


def test_a_vessel_that_ended_too_soon_is_left_out() -> None:
    """Of two, the one that starts 3 mm below the top of the guide ends there."""
    guide = np.zeros((30, 30, 60), np.float32)
    guide[:, :, :40] = 1
    starts = np.array([[10.0, 10, 10], [20, 20, 36]])
    upwards, ones = np.tile([0.0, 0, 1], (2, 1)), np.ones(2)

    def seen(shortest_mm: float) -> set[float]:
        tubes = walk(starts, upwards, np.full(2, 15.0), ones, guide, np.random.default_rng(0),
                     wander=0.0, pull=0.0, least=0.5, shortest_mm=shortest_mm)  # fmt: skip
        return {float(x) for x in tubes.centres[:, 0]}

    assert seen(2.0) == {10.0, 20.0} and seen(8.0) == {10.0} and seen(20.0) == set()


def test_no_starts_give_no_tubes() -> None:
    nothing = np.zeros((0, 3))
    tubes = walk(nothing, nothing, np.zeros(0), np.zeros(0), None, np.random.default_rng(0))
    assert len(tubes.radii) == 0


def straight(rooted: bool) -> tuple[np.ndarray, np.ndarray]:
    """Millimetres from the start and radii of a straight vessel 30 mm long, 0.8 mm in radius."""
    start, upwards = np.full((1, 3), 5.0), np.array([[0.0, 0, 1]])
    tube = walk(start, upwards, np.array([30.0]), np.array([0.8]), None, np.random.default_rng(0),
                wander=0.0, rooted=rooted)  # fmt: skip
    return tube.centres[:, 2] - 5, tube.radii


def test_a_vessel_fades_towards_both_ends_and_is_whole_between_them() -> None:
    mm, radii = straight(rooted=False)
    expected = 0.8 * np.clip(np.minimum(mm, 30.3 - mm) / FADE_MM, 0, 1)
    assert radii == pytest.approx(expected, rel=0.01)


def test_a_rooted_vessel_starts_as_wide_as_it_is() -> None:
    mm, radii = straight(rooted=True)
    assert radii == pytest.approx(0.8 * np.clip((30.3 - mm) / FADE_MM, 0, 1), rel=0.01)


def test_a_vessel_that_the_guide_ended_fades_where_it_ended() -> None:
    guide = np.zeros((30, 30, 60), np.float32)
    guide[:, :, :25] = 1
    start, upwards = np.full((1, 3), 5.0), np.array([[0.0, 0, 1]])
    tube = walk(start, upwards, np.array([50.0]), np.ones(1), guide, np.random.default_rng(0),
                wander=0.0, pull=0.0, least=0.5)  # fmt: skip
    assert tube.centres[-1, 2] < 26 and tube.radii[-1] < 0.05 and tube.radii.max() == 1


def test_a_coil_is_no_vessel_however_long() -> None:
    """A walk that a point attracts goes round it: 40 mm of way, but nowhere far from the start."""
    place = np.stack(np.meshgrid(*[np.arange(40.0)] * 3, indexing="ij"), -1)
    guide = -np.linalg.norm(place - 20, axis=-1).astype(np.float32)

    def count(shortest_mm: float) -> int:
        rng = np.random.default_rng(0)
        start = np.full((1, 3), 20.0)
        return len(walk(start, np.ones((1, 3)), np.array([40.0]), np.ones(1), guide, rng,
                        pull=1.0, shortest_mm=shortest_mm).radii)  # fmt: skip

    assert count(0.0) * 0.3 > 39 and count(12.0) == 0
