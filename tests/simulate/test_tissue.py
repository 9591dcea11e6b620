import numpy as np
import pytest

from microbleeds.simulate.scanner import Protocol
from microbleeds.simulate.signal import Maps
from microbleeds.simulate.tissue import fine_grid, textured


def test_cells_are_small_and_fill_whole_slices(small_labels):
    for slice_mm in (1.0, 3.3, 5.0):
        grid = fine_grid(small_labels, Protocol(slice_mm=slice_mm), whole_head=True)
        assert grid.slab * grid.spacing[2] == pytest.approx(slice_mm)
        assert grid.spacing.max() <= 0.85 and grid.shape[2] % grid.slab == 0
        head = np.argwhere(small_labels)
        assert np.all(grid.origin <= head.min(0))
        assert np.all(grid.origin + grid.spacing * grid.shape >= head.max(0))


def test_a_linear_map_is_kept_on_the_fine_grid(small_labels):
    grid = fine_grid(small_labels, Protocol(), whole_head=False)
    x, y, z = np.indices(small_labels.shape, dtype=np.float32)
    fine = grid.from_anatomy(x + 2 * y - 3 * z)
    u, v, w = (o + s * np.arange(n)
               for o, s, n in zip(grid.origin, grid.spacing, grid.shape, strict=True))  # fmt: skip
    expected = u[:, None, None] + 2 * v[:, None] - 3 * w
    assert np.allclose(fine, expected, atol=1e-3)


def test_slices_average_their_cells(small_labels):
    grid = fine_grid(small_labels, Protocol(slice_mm=2.8), whole_head=False)
    assert grid.slab == 4
    cells = np.arange(8, dtype=np.float32) * np.ones((3, 2, 1), np.float32)
    assert grid.slices(cells)[0, 0] == pytest.approx([1.5, 5.5])


def test_the_main_field_is_tilted_in_the_axes_of_the_slices(small_labels):
    straight, tilted = (
        fine_grid(small_labels, Protocol(tilt_deg=tilt), whole_head=False)
        for tilt in ((0.0, 0.0), (30.0, 0.0))
    )
    assert straight.b0 == pytest.approx([0, 0, 1])
    assert tilted.b0 == pytest.approx([0, np.sin(np.pi / 6), np.cos(np.pi / 6)])
    assert tilted.rotation @ tilted.b0 == pytest.approx([0, 0, 1])


def test_iron_makes_tissue_mottled_in_field_and_decay_alike():
    shape = (40, 40, 40)
    iron = np.full(shape, 0.2, np.float32)
    iron[:20] = -0.03  # white matter
    maps = Maps(np.ones(shape, np.float32), np.full(shape, 20, np.float32), iron, iron)
    amplitude, decay, chi = textured(maps, 3.0, np.random.default_rng(0))
    white, nucleus = np.s_[3:17], np.s_[23:]
    assert 0.005 < amplitude[nucleus].std() < 0.05
    assert decay[white] == pytest.approx(20, abs=0.01)
    assert 0.02 < chi[nucleus].std() / 0.2 < 0.6
    assert decay[nucleus] - 20 == pytest.approx(100 * (chi[nucleus] - 0.2), abs=0.05)
