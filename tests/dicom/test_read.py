"""DICOM folders in: values, places, and one sentence for what cannot be used."""

from __future__ import annotations

import errno
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.encaps import encapsulate
from pydicom.uid import HTJ2KLossless, generate_uid

from microbleeds.dicom.read import read_folder
from microbleeds.errors import UserError
from microbleeds.scan import read_scan

LPS_TO_RAS = np.array([-1, -1, 1])
STACKS = ["write", "write_enhanced"]


@pytest.mark.parametrize("how", STACKS)
@pytest.mark.parametrize("plane", ["axial", "axial from the top", "oblique", "sagittal", "coronal"])
def test_every_pixel_comes_back_at_its_place(make, how, plane, tmp_path):
    series = make(plane=plane, slope=2.5, intercept=3)
    scan, _ = read_folder(getattr(series, how)(tmp_path / "scan"))
    spots = [(0, 0, 0), (25, 0, 0), (0, 21, 0), (0, 0, 8), (3, 15, 6)]
    for column, row, number in spots:
        ras = series.lps(column, row, number) * LPS_TO_RAS
        index = np.linalg.solve(scan.affine, [*ras, 1])[:3]
        assert np.abs(index - np.rint(index)).max() < 1e-3
        value = scan.voxels[tuple(np.rint(index).astype(int))]
        assert value == series.pixels[number, row, column] * 2.5 + 3
    assert scan.name == "scan" and scan.contrast == "t2star"
    assert 'Series 7 "T2star"' in scan.notes[0]


def test_arrays_come_back_on_the_frames_of_the_source(make, tmp_path):
    series = make(plane="sagittal")
    scan, source = read_folder(series.write(tmp_path / "scan"))
    stack = source.from_scan(scan.voxels, scan)
    headers = [pydicom.dcmread(frame.path) for frame in source.frames]
    assert np.array_equal(stack, [header.pixel_array for header in headers])


def test_thick_slices_with_gaps_and_signed_susceptibility(make, pixels, tmp_path):
    signed = (pixels.astype(np.int32) - 450).astype(np.int16)
    series = make(pixels=signed, slope=0.001, spacing=(0.5, 0.5, 6.0), description="QSM")
    scan, _ = read_folder(series.write(tmp_path / "scan"))
    assert scan.contrast == "qsm" and scan.voxels.min() < 0
    assert scan.spacing == pytest.approx([0.5, 0.5, 6.0])


def test_read_scan_takes_a_folder_and_leaves_nothing_behind(make, tmp_path, monkeypatch):
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(temporary))
    folder = make().write(tmp_path / "scan")
    before = sorted(folder.iterdir())
    assert read_scan(folder).voxels.shape == (26, 22, 9)
    assert sorted(folder.iterdir()) == before and not list(temporary.iterdir())


def test_files_that_are_no_images_are_passed_over(make, tmp_path):
    folder = make().write(tmp_path / "scan" / "deep" / "er")
    (tmp_path / "scan" / "notes.txt").write_text("from the scanner")
    (tmp_path / "scan" / "DICOMDIR").write_bytes(bytes(128) + b"DICM" + b"\x00" * 64)
    header = make(number=9).header("1.2.840.10008.5.1.4.1.1.88.11")
    header.Modality, header.SOPInstanceUID = "SR", generate_uid()
    header.file_meta.MediaStorageSOPInstanceUID = header.SOPInstanceUID
    pydicom.dcmwrite(folder / "report.dcm", header, enforce_file_format=True)
    screenshot = make(number=10).header("1.2.840.10008.5.1.4.1.1.7")
    screenshot.SOPInstanceUID = generate_uid()
    make().save(screenshot, make().pixels[0], folder / "screen.dcm")
    assert read_folder(tmp_path / "scan")[0].voxels.shape == (26, 22, 9)


def refused(folder, *fragments, **options):
    with pytest.raises(UserError) as caught:
        read_folder(folder, **options)
    said = str(caught.value)
    assert all(fragment in said for fragment in fragments), said
    assert "\n" not in said and said.endswith(".") and len(said) < 600


def test_folders_without_images(make, tmp_path):
    (tmp_path / "empty").mkdir()
    refused(tmp_path / "empty", "no DICOM file")
    (tmp_path / "text").mkdir()
    (tmp_path / "text" / "a.txt").write_text("x")
    refused(tmp_path / "text", "no DICOM file")
    series = make(extra={"Modality": "CT"})
    refused(series.write(tmp_path / "ct"), "no MR image")


def test_missing_doubled_uneven_and_few_slices(make, tmp_path):
    refused(make().write(tmp_path / "one", skip=(4,)), "lacks 1 slice:", "after slice 4", "6 mm")
    refused(make().write(tmp_path / "more", skip=(2, 5, 6)), "lacks 3 slices")
    refused(make().write(tmp_path / "few", skip=tuple(range(3, 9))), "too few slices")
    twice = make()
    twice.write(tmp_path / "twice")
    for path in twice.write(tmp_path / "again").iterdir():
        shutil.copy(path, tmp_path / "twice" / f"again{path.name}")
    refused(tmp_path / "twice", "more than one image at the place of slice 1")


@pytest.mark.parametrize(
    ("shift", "said"), [((0, 0, 0.4), "mm apart"), ((0.5, 0, 0), "beside one straight stack")]
)
def test_a_slice_out_of_place(make, tmp_path, shift, said):
    folder = make().write(tmp_path / "scan")
    path = sorted(folder.iterdir())[3]
    dataset = pydicom.dcmread(path)
    moved = np.array(dataset.ImagePositionPatient, float) + shift
    dataset.ImagePositionPatient = [round(v, 4) for v in moved.tolist()]
    dataset.save_as(path)
    refused(folder, said)


def test_a_sheared_stack(make, tmp_path):
    folder = make().write(tmp_path / "scan")
    for path in folder.iterdir():
        dataset = pydicom.dcmread(path)
        x, y, z = map(float, dataset.ImagePositionPatient)
        dataset.ImagePositionPatient = [round(x + 0.1 * z, 4), y, z]
        dataset.save_as(path)
    refused(folder, "beside one straight stack")


def test_a_compression_that_dcm2niix_cannot_read(make, tmp_path):
    folder = make().write(tmp_path / "scan")
    for path in folder.iterdir():
        dataset = pydicom.dcmread(path)
        dataset.file_meta.TransferSyntaxUID = HTJ2KLossless
        dataset.PixelData = encapsulate([b"not decodable" * 9])
        dataset.save_as(path)
    refused(folder, "High-Throughput JPEG 2000", "uncompressed")


def test_damaged_files_are_not_taken_for_an_image(make, tmp_path):
    folder = make().write(tmp_path / "scan")
    for path in folder.iterdir():
        path.write_bytes(path.read_bytes()[:-600])
    refused(folder, "Series 7")


def test_errors_of_the_image_name_the_folder_not_the_temporary_file(make, pixels, tmp_path):
    folder = make(pixels=np.full_like(pixels, 7)).write(tmp_path / "scan")
    refused(folder, "constant", str(folder))


def test_a_file_with_magnitude_and_phase(make, tmp_path):
    folder = make().write_enhanced(tmp_path / "scan", kinds=("M", "P"))
    refused(folder, "shares its files")


def test_a_missing_converter_says_how_to_install_it(make, tmp_path, monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "dcm2niix", None)
    with pytest.raises(UserError, match=r'dcm2niix.*pip install "microbleeds\[dicom\]"'):
        read_folder(make().write(tmp_path / "scan"))


def test_a_converter_that_disagrees_with_the_headers(make, tmp_path, monkeypatch):
    run = subprocess.run

    def moved(command, **options):
        import nibabel as nib

        done = run(command, **options)
        (path,) = Path(command[command.index("-o") + 1]).glob("*.nii")
        image = nib.load(path)
        affine = image.affine.copy()
        affine[0, 3] += 0.2
        nib.save(nib.Nifti1Image(image.get_fdata(), affine), path)
        return done

    monkeypatch.setattr(subprocess, "run", moved)
    refused(make().write(tmp_path / "scan"), "0.2 mm elsewhere")


def test_a_temporary_folder_that_is_full_is_one_sentence(make, tmp_path, monkeypatch):
    def full(source, target):
        raise OSError(errno.ENOSPC, "No space left on device", str(source))

    monkeypatch.setattr(shutil, "copyfile", full)
    refused(make().write(tmp_path / "scan"), "Series 7", "No space left on device", "TMPDIR")
