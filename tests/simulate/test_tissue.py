import numpy as np
import pytest

from microbleeds.simulate import vasculature
from microbleeds.simulate.scanner import Protocol
from microbleeds.simulate.signal import Maps, tissue_maps
from microbleeds.simulate.tissue import bleed_free_tissue, fine_grid, textured
from microbleeds.simulate.vessels import Tubes


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
    assert decay[nucleus] - 20 == pytest.approx(150 * (chi[nucleus] - 0.2), abs=0.05)
    assert chi[nucleus].min() > 0  # iron is not taken away, however uneven


def test_perivascular_spaces_decay_as_fluid_does(small_labels, monkeypatch):
    """In a 2D protocol they are brighter than white matter even at a late echo."""
    protocol = Protocol(te_ms=30.0, tr_ms=1500.0, flip_deg=15.0, slice_mm=2.0)
    grid = fine_grid(small_labels, protocol, whole_head=False)
    maps = tissue_maps(small_labels, 3.0, 1500.0, 15.0, np.random.default_rng(0))
    white = np.argwhere(small_labels == 2)
    middle = white[len(white) // 2].astype(float)
    line = middle + np.linspace(-4, 4, 27)[:, None] * [0, 1, 0]
    space = Tubes(line.astype(np.float32), np.full(len(line), 0.6, np.float32))
    none = Tubes(np.zeros((0, 3), np.float32), np.zeros(0, np.float32))
    for name in ("veins", "arteries"):
        monkeypatch.setattr(vasculature, name, lambda labels, rng: none)
    signals = []
    for tubes in (none, space):
        monkeypatch.setattr(vasculature, "perivascular_spaces", lambda labels, rng, t=tubes: t)
        tissue = bleed_free_tissue(small_labels, maps, grid, protocol, np.random.default_rng(1))
        cell = tuple(np.rint((middle - grid.origin) / grid.spacing).astype(int))
        signals.append(tissue.amplitude[cell] * np.exp(-0.03 * tissue.decay[cell]))
    assert signals[1] > 1.3 * signals[0]
