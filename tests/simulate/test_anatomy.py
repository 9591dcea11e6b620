import re

import nibabel as nib
import numpy as np
import pytest
from scipy import ndimage

from microbleeds.errors import UserError
from microbleeds.simulate import anatomy as an
from microbleeds.simulate.anatomy import SHIPPED_ANATOMY, load_anatomy


def save(labels, path, affine=None):
    nib.save(nib.Nifti1Image(labels, np.eye(4) if affine is None else affine), path)
    return path


@pytest.fixture(scope="module")
def shipped():
    return load_anatomy(SHIPPED_ANATOMY).labels


def middle(labels, number):
    return np.argwhere(labels == number).mean(0)


def test_select_finds_the_numbers_it_is_given():
    labels = np.array([[[0, 2, 41, 1004, 7]]], np.int16)
    assert an.select(labels, (2, 1004, 2000)).ravel().tolist() == [False, True, False, True, False]
    assert not an.select(np.zeros((2, 2, 2), np.int16), an.WHITE).any()


def test_an_anatomy_is_read_in_ras_whatever_its_axes(small_labels, tmp_path):
    straight = load_anatomy(save(small_labels, tmp_path / "straight.nii.gz"))
    turned = small_labels[::-1, :, ::-1].transpose(2, 0, 1).copy()
    affine = np.array([[0, -1, 0, 59], [0, 0, 1, 0], [-1, 0, 0, 59], [0, 0, 0, 1]], float)
    other = load_anatomy(save(turned, tmp_path / "turned.nii", affine))
    assert np.array_equal(straight.labels, other.labels)
    assert (straight.name, other.name) == ("straight", "turned")
    assert straight.labels.dtype == np.int16
    left, right = (middle(straight.labels, n)[0] for n in an.WHITE)
    assert left < right


def test_other_voxel_sizes_become_millimetres(small_labels, tmp_path):
    coarse = small_labels[::2, ::2, ::2].copy()
    labels = load_anatomy(save(coarse, tmp_path / "a.nii", np.diag([2, 2, 2, 1]))).labels
    volume = (labels > 0).sum() / (small_labels > 0).sum()
    assert volume == pytest.approx(1, rel=0.1)
    assert set(np.unique(labels)) - set(range(1001, 1008)) <= set(np.unique(small_labels))


@pytest.mark.parametrize(
    ("kind", "says"),
    [
        ("missing", "no file"),
        ("text", "no readable NIfTI"),
        ("truncated", "no readable NIfTI"),
        ("no cortex", "FreeSurfer"),
        ("no thalamus", "FreeSurfer"),
        ("4D", "3D"),
    ],
)
def test_unusable_anatomies_are_refused_in_one_sentence(small_labels, tmp_path, kind, says):
    path = tmp_path / "map.nii.gz"
    labels = small_labels.copy()
    if kind == "text":
        path.write_text("labels")
    elif kind == "truncated":
        whole = save(labels, path).read_bytes()
        path.write_bytes(whole[: len(whole) // 2])
    elif kind != "missing":
        gone = {"no cortex": an.CORTEX, "no thalamus": an.THALAMUS}.get(kind, ())
        labels[np.isin(labels, gone)] = an.WHITE[0]
        save(np.stack([labels] * 2, -1) if kind == "4D" else labels, path)
    with pytest.raises(UserError, match=says) as caught:
        load_anatomy(path)
    message = str(caught.value)
    assert str(path) in message and message.endswith(".")
    assert not re.search(r"\. [A-Z]", message)  # one sentence


def test_strays_around_the_head_go(small_labels):
    dirty = np.pad(small_labels, 6)
    dirty[0, 0, 0] = 507
    clean = an.crop_to_head(dirty)
    assert np.array_equal(clean, an.crop_to_head(small_labels))
    assert all((clean.take(end, axis) > 0).any() for axis in range(3) for end in (0, -1))


def test_bits_of_bone_and_vessel_in_the_brain_are_filled_and_the_skull_stays(small_labels):
    dirty = small_labels.copy()
    inside = ndimage.binary_erosion(np.isin(small_labels, an.WHITE), iterations=4)
    for number, place in zip((515, 514, 0), np.argwhere(inside)[::400], strict=False):
        box = tuple(slice(p - 1, p + 2) for p in place)
        dirty[box] = number
    assert not np.array_equal(dirty, small_labels)
    assert np.array_equal(an.fill_islands(dirty), an.fill_islands(small_labels))
    kept = an.fill_islands(small_labels)
    for number in (an.SKULL, an.SKIN, 0):
        assert np.array_equal(kept == number, small_labels == number)


def test_spurs_of_the_skull_splinters_and_pinholes_are_filled(small_labels):
    dirty = small_labels.copy()
    skull = np.argwhere(small_labels == an.SKULL)
    above = skull[skull[:, 2] > skull.mean(0)[2]]
    x, y, z = above[np.abs(above - skull.mean(0))[:, :2].sum(1).argmin()]  # at the vertex
    spur = (slice(x, x + 2), slice(y, y + 2), slice(z - 6, z))
    dirty[spur] = an.SKULL
    clean = an.fill_islands(dirty)
    assert (small_labels[spur] == an.CSF[0]).any()
    assert not (clean[spur] == an.SKULL)[small_labels[spur] == an.CSF[0]].any()
    for number, around in ((an.SKULL, an.SKIN), (0, an.SKULL)):
        dirty = small_labels.copy()
        place = np.argwhere(ndimage.binary_erosion(small_labels == around))[::50]
        dirty[tuple(place.T)] = number
        assert np.array_equal(an.fill_islands(dirty), an.fill_islands(small_labels))


def test_the_maps_hold_nothing_that_looks_like_a_bleed(shipped):
    outside = (shipped == 0) | ((shipped >= an.FIRST_OUTSIDE) & (shipped < an.RED_NUCLEUS))
    for kind in (outside, np.isin(shipped, an.PLEXUS), shipped == 0):
        parts, _ = ndimage.label(kind)
        assert np.bincount(parts.ravel())[1:].min() > an.ISLAND_MM3
    fluid = ndimage.binary_dilation(np.isin(shipped, an.CSF))
    thin = outside & ~ndimage.binary_opening(outside, np.ones((3, 3, 3)))
    assert (thin & fluid & (shipped == an.SKULL)).sum() < 200  # thousands before they were filled


def test_small_structures_replace_only_what_they_lie_in(small_labels, monkeypatch):
    monkeypatch.setattr(an, "LOOSE_MM3", 0)  # the falx of so small a head is a loose bit
    drawn = an.add_small_structures(small_labels)
    changed = drawn != small_labels
    assert drawn[changed].min() >= 1001
    assert set(np.unique(small_labels[drawn == an.DENTATE])) <= set(an.CEREBELLUM_WHITE)
    assert set(np.unique(small_labels[drawn == an.CHOROID])) <= set(an.VENTRICLES)
    assert set(np.unique(small_labels[drawn == an.FALX])) == set(an.CSF)
    assert not changed[np.isin(small_labels, (*an.CORTEX, 511, 515, 0))].any()


def test_missing_landmarks_leave_structures_out(small_labels):
    bare = np.where(np.isin(small_labels, (*an.WHITE, *an.CORTEX, *an.THALAMUS)), small_labels, 0)
    drawn = an.add_small_structures(bare.astype(np.int16))
    assert not np.isin(drawn, (an.DENTATE, an.CHOROID, an.NIGRA, an.FALX)).any()


def test_the_shipped_head_has_its_small_structures_on_both_sides(shipped):
    centre = middle(shipped, an.THALAMUS[0]) / 2 + middle(shipped, an.THALAMUS[1]) / 2
    # mm³ of both sides; anatomical atlases give 0.3-0.7 ml for nigra and red nucleus, 1 for dentate
    for number, smallest, largest in (
        (an.RED_NUCLEUS, 120, 800),
        (an.NIGRA, 120, 1200),
        (an.DENTATE, 400, 2000),
        (an.MAMILLARY, 20, 150),
        (an.CHOROID, 100, 1500),
    ):
        places = np.argwhere(shipped == number)
        assert smallest < len(places) < largest, number
        left, right = (np.sum(s * (places[:, 0] - centre[0]) > 0) for s in (-1, 1))
        assert 0.3 < left / len(places) < 0.7 and left + right > 0.9 * len(places), number
    assert (shipped == an.PINEAL).sum() > 10 and (shipped == an.FALX).sum() > 1000


def test_small_structures_lie_where_an_anatomist_looks(shipped):
    """Places relative to each other, from any atlas."""
    thalamus = middle(shipped, an.THALAMUS[0]) / 2 + middle(shipped, an.THALAMUS[1]) / 2
    red, nigra, dentate, mamillary, pineal = (
        middle(shipped, n) for n in (an.RED_NUCLEUS, an.NIGRA, an.DENTATE, an.MAMILLARY, an.PINEAL)
    )
    assert nigra[2] < red[2] < thalamus[2]  # both below the thalamus, the red nucleus on top
    assert mamillary[1] > red[1] > dentate[1] and dentate[2] < nigra[2]
    assert pineal[1] < thalamus[1] and abs(pineal[0] - thalamus[0]) < 3
    spread = [np.abs(np.argwhere(shipped == n)[:, 0] - thalamus[0]).mean()
              for n in (an.RED_NUCLEUS, an.NIGRA)]  # fmt: skip
    assert spread[0] < spread[1]  # the nigra is the lateral one


def test_the_falx_is_a_thin_sheet_in_the_midline(shipped):
    sheet = shipped == an.FALX
    brain = np.argwhere(an.select(shipped, an.WHITE))
    offset = np.argwhere(sheet)[:, 0] - brain[:, 0].mean()
    assert np.percentile(np.abs(offset), 95) < 6
    thickness = sheet.sum(0)
    assert thickness[thickness > 0].mean() < 3
    parts, _ = ndimage.label(sheet, np.ones((3, 3, 3)))
    assert np.bincount(parts.ravel())[1:].min() > an.LOOSE_MM3  # no dark dots in the fluid


def test_the_brain_mask_holds_all_tissue_and_little_else(small_head):
    labels = small_head.labels
    mask = an.brain_mask(labels)
    tissue = an.select(labels, (*an.TISSUE, *an.VENTRICLES))
    assert mask[tissue].all()
    distance = ndimage.distance_transform_edt(~tissue)
    assert distance[mask].max() <= 3 and not mask[np.isin(labels, (0, 511))].any()


def test_the_brain_mask_has_no_hole_where_no_label_is():
    labels = np.full((40, 40, 40), an.WHITE[0], np.int16)
    labels[:2] = 0
    labels[10:26, 10:26, 10:26] = 0
    mask = an.brain_mask(labels)
    assert mask[2:].all() and not mask[:2].any()


def test_the_brain_mask_reaches_the_edge_of_the_map():
    labels = np.full((12, 12, 12), an.WHITE[0], np.int16)
    assert an.brain_mask(labels).all()


def test_a_brain_alone_gets_fluid_skull_and_skin(shipped, tmp_path):
    """As far as labels of a whole head, its own removed, can be brought back."""
    brain = np.where(an.select(shipped, (*an.TISSUE, *an.VENTRICLES)), shipped, 0)
    brain[brain >= 1000] = 2  # small structures are drawn anew
    whole = load_anatomy(save(brain.astype(np.int16), tmp_path / "aseg.nii.gz")).labels
    tissue, fluid = an.select(whole, an.TISSUE), an.select(whole, (*an.CSF, an.FALX))
    depth = ndimage.distance_transform_edt(~tissue)
    assert not (depth[whole == 0] < 9).any()  # the cortex does not lie in air
    assert fluid[(depth > 0) & (depth < 1.5)].mean() > 0.8
    for number in (an.SKULL, an.SKIN):
        assert 200e3 < np.count_nonzero(whole == number) < 2000e3
    true_fluid = np.count_nonzero(an.select(shipped, (*an.CSF, an.FALX)))
    assert 0.4 < np.count_nonzero(fluid) / true_fluid < 2.5


def test_parts_of_white_matter_that_aseg_tells_apart():
    labels = np.zeros((20, 20, 20), np.int16)
    labels[5:15, 5:15, 5:15] = 41
    labels[8:12, 8:12, 8:12], labels[6, 6, 6] = 251, 77
    assert set(np.unique(an.add_surroundings(labels))) == {0, 2, 24, 41, an.SKIN, an.SKULL}
