from __future__ import annotations

import gzip
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from microbleeds.errors import UserError
from microbleeds.evaluate.read import read_labels
from microbleeds.scan import Scan, read_mask, read_scan, write_nifti
from microbleeds.simulate.label_map import read_label_map

AFFINE = np.array([[-0.5, 0, 0, 10], [0, 0.5, 0.3, -20], [0, 0, 3.0, 5], [0, 0, 0, 1]])
VOXELS = np.random.default_rng(0).integers(1, 900, (12, 14, 6)).astype(np.int16)


def save(path, voxels=VOXELS, affine=AFFINE, kind=nib.Nifti1Image, scaling=None, **options):
    image = kind(voxels, affine, **options)
    if scaling:
        image.header.set_slope_inter(*scaling)
    nib.save(image, path)
    return path


@pytest.fixture
def scan(tmp_path) -> Scan:
    return read_scan(save(tmp_path / "sub-01_T2starw.nii.gz"))


def test_reads_voxels_affine_name_and_contrast(scan):
    assert scan.voxels.dtype == np.float32
    assert_array_equal(scan.voxels, VOXELS)
    assert_allclose(scan.affine, AFFINE, atol=1e-5)
    assert_allclose(scan.spacing, [0.5, 0.5, np.hypot(0.3, 3)], atol=1e-5)
    assert (scan.name, scan.contrast) == ("sub-01_T2starw", "t2star")
    assert "t2star" in scan.notes[0]


@pytest.mark.parametrize("dtype", ["u1", "i2", ">i2", "f4", ">f4", "f8", "i4", "u2"])
@pytest.mark.parametrize("ending", [".nii", ".nii.gz"])
def test_every_number_format(tmp_path, dtype, ending):
    voxels = (VOXELS % 200).astype(dtype)
    header = nib.Nifti1Header(endianness=">" if dtype[0] == ">" else "<")
    header.set_data_dtype(dtype)
    path = save(tmp_path / f"a{ending}", voxels, header=header)
    assert_array_equal(read_scan(path).voxels, VOXELS % 200)


def test_scaled_integers(tmp_path):
    path = save(tmp_path / "a.nii.gz", VOXELS.astype(float) * 0.25 + 7, dtype=np.int16)
    assert nib.load(path).dataobj.slope != 1
    assert_allclose(read_scan(path).voxels, VOXELS * 0.25 + 7, atol=0.01)


def test_nifti2_and_trailing_axes_of_one(tmp_path):
    path = save(tmp_path / "a.nii", VOXELS[..., None, None], kind=nib.Nifti2Image)
    assert_array_equal(read_scan(path).voxels, VOXELS)


def test_given_contrast_stands(tmp_path):
    path = save(tmp_path / "a_swi.nii.gz")
    assert read_scan(path).contrast == "swi"
    assert read_scan(path, "qsm").contrast == "qsm"
    assert read_scan(path, "qsm").notes == ()


def test_qsm_is_recognised(tmp_path):
    path = save(tmp_path / "a.nii.gz", (VOXELS - 450).astype(np.float32) / 1e4)
    assert read_scan(path).contrast == "qsm"


def test_no_orientation_is_accepted_and_known(tmp_path):
    image = nib.Nifti1Image(VOXELS, None)
    image.header.set_zooms((0.5, 0.6, 3))
    nib.save(image, tmp_path / "a.nii")
    scan = read_scan(tmp_path / "a.nii")
    assert_allclose(scan.spacing, [0.5, 0.6, 3], atol=1e-6)
    assert not scan.oriented and read_scan(save(tmp_path / "b.nii")).oriented


@pytest.mark.parametrize("kind", [nib.Nifti1Image, nib.Nifti2Image, nib.Nifti1Pair])
@pytest.mark.parametrize("codes", [(0, 1), (0, 0)])
@pytest.mark.parametrize("size", [0, np.nan, np.inf])
def test_a_size_that_is_none_is_refused_where_sizes_make_the_affine(
    tmp_path, caplog, kind, codes, size
):
    header = kind.header_class()
    header.set_data_shape(VOXELS.shape)
    header.set_data_dtype(np.int16)
    header["sform_code"], header["qform_code"] = codes
    header["pixdim"][1:4] = 0.5, 0.5, size
    image = kind(VOXELS, None, header)
    path = tmp_path / ("a.img" if kind is nib.Nifti1Pair else "a.nii")
    nib.save(image, path)
    place = path.with_suffix(".hdr") if kind is nib.Nifti1Pair else path
    content = bytearray(place.read_bytes())
    start = header.template_dtype.fields["pixdim"][1]
    number = "<f8" if kind is nib.Nifti2Image else "<f4"
    sizes = np.array([1, 0.5, 0.5, size], number).tobytes()
    content[start : start + len(sizes)] = sizes
    place.write_bytes(content)
    caplog.clear()  # of what nibabel said while it wrote
    with pytest.raises(UserError, match=r"says its voxels are 0.5 x 0.5 x (0|nan|inf) mm"):
        read_scan(path)
    assert not caplog.records  # nibabel's own lines about it


@pytest.fixture
def without_a_size(tmp_path):
    """A scan whose sform is right, and whose size along the first axis is 0."""
    path = save(tmp_path / "a.nii")
    content = bytearray(path.read_bytes())
    content[80:84] = bytes(4)  # pixdim[1]
    path.write_bytes(content)
    return path


def test_sizes_do_not_matter_beside_an_sform(without_a_size):
    assert_allclose(read_scan(without_a_size).spacing, [0.5, 0.5, np.hypot(0.3, 3)], atol=1e-5)


@pytest.mark.parametrize("reader", [read_scan, read_labels, read_label_map])
def test_nibabel_says_nothing_of_a_header_it_mends(without_a_size, caplog, reader):
    caplog.clear()
    nib.load(without_a_size)
    assert caplog.records  # it would
    caplog.clear()
    reader(without_a_size)
    assert not caplog.records


def test_forms_that_contradict_each_other_are_noted(tmp_path):
    image = nib.Nifti1Image(VOXELS, AFFINE)
    image.set_sform(AFFINE, 1)
    tilted = AFFINE.copy()
    tilted[:3, :3] = nib.eulerangles.euler2mat(x=0.4) @ AFFINE[:3, :3]  # as a registration leaves
    for qform, noted in ((AFFINE @ np.diag([-1, 1, 1, 1]), True), (tilted, False)):
        image.set_qform(qform, 1)
        nib.save(image, tmp_path / "a.nii")
        scan = read_scan(tmp_path / "a.nii")
        assert_allclose(scan.affine, AFFINE, atol=1e-5)
        said = "to LAS by its sform, which was taken, and to RAS by its qform"
        assert (said in scan.notes[0]) == noted


def test_a_part_by_its_name_is_taken_where_the_contrast_is_given(tmp_path):
    path = save(tmp_path / "sub-01_part-phase_T2starw.nii.gz")
    with pytest.raises(UserError, match="phase"):
        read_scan(path)
    assert read_scan(path, "t2star").contrast == "t2star"


def test_slight_ringing_is_clipped_with_a_note(tmp_path):
    voxels = VOXELS.astype(np.float32)
    voxels[0, 0, :3] = -4
    scan = read_scan(save(tmp_path / "a.nii.gz", voxels), "t2star")
    assert scan.voxels.min() == 0
    assert "negative" in scan.notes[0]


def bad_files(folder):
    """Files that cannot be used, by what the message has to say."""
    nan = VOXELS.astype(np.float32)
    nan[0, 0, :3] = np.nan, np.inf, -np.inf
    flat = AFFINE.copy()
    flat[:, 2] = flat[:, 1]
    colour = np.zeros(VOXELS.shape, [("R", "u1"), ("G", "u1"), ("B", "u1")])
    whole = save(
        folder / "whole.nii.gz", np.random.default_rng(0).random((20, 20, 20))
    ).read_bytes()
    plain = gzip.decompress(whole)
    contents = {
        "is empty": b"",
        "no readable NIfTI": b"hello, this is no image at all" * 40,
    }
    for number, (message, content) in enumerate(contents.items()):
        (folder / f"raw{number}.nii.gz").write_bytes(content)
        yield message, folder / f"raw{number}.nii.gz"
    (folder / "cut.nii.gz").write_bytes(whole[: len(whole) // 2])
    (folder / "cut.nii").write_bytes(plain[: len(plain) // 2])
    for name in ("cut.nii.gz", "cut.nii"):
        yield "truncated or damaged", folder / name
    yield "no file", folder / "missing.nii.gz"
    yield "no DICOM file", folder
    (folder / "one.dcm").write_bytes(bytes(128) + b"DICM" + bytes(400))
    yield "one DICOM file", folder / "one.dcm"
    yield "not NIfTI", save(folder / "a.mgz", VOXELS.astype(np.float32), kind=nib.MGHImage)
    yield "4D", save(folder / "4d.nii.gz", np.stack([VOXELS, VOXELS], axis=-1))
    yield "2D", save(folder / "2d.nii.gz", VOXELS[:, :, 0])
    yield "12 x 14 x 1", save(folder / "one_slice.nii.gz", VOXELS[:, :, :1])
    yield "3 voxels that are NaN", save(folder / "nan.nii.gz", nan)
    yield "constant", save(folder / "flat.nii.gz", np.full_like(VOXELS, 7))
    yield "complex", save(folder / "complex.nii.gz", VOXELS.astype(np.complex64))
    yield "colour", save(folder / "rgb.nii.gz", colour)
    yield "mm", save(folder / "tiny.nii.gz", affine=AFFINE * 0.01)
    yield "mm", save(folder / "huge.nii.gz", affine=AFFINE * 100)
    zero = AFFINE.copy()
    zero[:3, 2] = 0
    for name, affine, message in (("zero", zero, "mm"), ("singular", flat, "one plane")):
        image = nib.Nifti1Image(VOXELS, None)
        image.header.set_sform(affine, code=1)
        image.header["srow_x"], image.header["srow_y"], image.header["srow_z"] = affine[:3]
        nib.save(image, folder / f"{name}.nii.gz")
        yield message, folder / f"{name}.nii.gz"


def test_unusable_files_have_one_clear_sentence(tmp_path):
    for message, path in bad_files(tmp_path):
        with pytest.raises(UserError, match=message) as caught:
            read_scan(path)
        assert str(path) in str(caught.value)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("contrast", ["t2star", "swi"])
def test_negative_magnitude(tmp_path, contrast):
    path = save(tmp_path / "a.nii.gz", VOXELS - 450)
    with pytest.raises(UserError, match=r"negative values .*qsm"):
        read_scan(path, contrast)


def test_mask(tmp_path, scan):
    mask = (VOXELS > 300).astype(np.uint8)
    near = AFFINE.copy()
    near[0, 3] += 0.005
    read = read_mask(save(tmp_path / "m.nii.gz", mask, near), scan)
    assert read.dtype == bool
    assert_array_equal(read, VOXELS > 300)
    assert_array_equal(read_mask(save(tmp_path / "p.nii.gz", mask * 0.3), scan), VOXELS > 300)


def test_unusable_masks(tmp_path, scan):
    ones = np.ones(VOXELS.shape, np.uint8)
    shifted, turned = AFFINE.copy(), AFFINE.copy()
    shifted[0, 3] += 0.5
    turned[1, 0] += 0.01
    for name, message, mask, affine in (
        ("shape", "12 x 14 x 5", ones[..., :5], AFFINE),
        ("shift", "away from the scan", ones, shifted),
        ("turn", "away from the scan", ones, turned),
        ("empty", "empty mask", ones * 0, AFFINE),
    ):
        with pytest.raises(UserError, match=message):
            read_mask(save(tmp_path / f"{name}.nii.gz", mask, affine), scan)
    with pytest.raises(UserError, match="no file"):
        read_mask(tmp_path / "none.nii.gz", scan)


@pytest.mark.parametrize("ending", [".nii", ".nii.gz"])
@pytest.mark.parametrize(
    ("dtype", "values"),
    [(np.uint8, [0, 1, 255]), (np.int32, [0, 1, 2**31 - 1]), (np.float32, [0, 0.1, 1e-7])],
)
def test_written_values_come_back_exactly(tmp_path, ending, dtype, values):
    array = np.resize(np.array(values, dtype), VOXELS.shape)
    write_nifti(tmp_path / f"a{ending}", array, AFFINE, dtype)
    image = nib.load(tmp_path / f"a{ending}")
    assert image.get_data_dtype() == dtype
    assert_array_equal(np.asarray(image.dataobj), array)
    assert (image.dataobj.slope, image.dataobj.inter) == (1, 0)
    assert_allclose(image.affine, AFFINE, atol=1e-5)
    assert (image.header["sform_code"], image.header["qform_code"]) == (1, 1)
    assert [p.name for p in tmp_path.iterdir()] == [f"a{ending}"]  # nothing temporary stays


def test_writing_replaces_and_keeps_the_dtype(tmp_path):
    path = tmp_path / "a.nii.gz"
    path.write_text("old")
    write_nifti(path, VOXELS, AFFINE)
    assert nib.load(path).get_data_dtype() == np.int16


def test_a_failed_write_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "a.nii.gz"
    write_nifti(path, VOXELS, AFFINE)
    before = path.read_bytes()

    def full(image, name):
        name.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(nib, "save", full)
    with pytest.raises(UserError, match="No space left"):
        write_nifti(path, VOXELS * 0, AFFINE)
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["a.nii.gz"]


def test_a_folder_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    for parent in (tmp_path / "file", tmp_path / "missing"):
        with pytest.raises(UserError, match="Cannot write"):
            write_nifti(parent / "a.nii.gz", VOXELS, AFFINE)


def test_a_file_that_may_not_be_read(tmp_path, monkeypatch):
    path = tmp_path / "scan.nii.gz"
    path.write_bytes(b"x")

    def refuse(*arguments, **options):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(UserError, match=r"cannot be read \(Permission denied\)"):
        read_scan(path)
