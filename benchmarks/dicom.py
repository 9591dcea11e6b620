"""A simulated head as DICOM through `detect --dicom`, read back with pydicom and highdicom alone.

    python benchmarks/dicom.py     # table, and docs/dicom.png: segments and points on the source

The head is simulated first if it is not there. Written once as single frames and once as one
enhanced multi-frame file, by the maker of the tests (tests/dicom/conftest.py).
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import highdicom as hd
import nibabel as nib
import numpy as np
import pydicom
import typer
from nibabel.affines import apply_affine
from numpy.typing import NDArray

from microbleeds.report.table import read_candidates
from microbleeds.run import detect_files
from microbleeds.simulate import HeadSettings
from microbleeds.simulate.anatomy import SHIPPED_ANATOMY
from microbleeds.simulate.dataset import simulate_dataset
from microbleeds.simulate.lesions import LesionRanges

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / "tests" / "dicom"))
from conftest import Series  # type: ignore[import-not-found] # noqa: E402

HEAD = "sub-sim5x0000_T2starw.nii.gz"
SIDE = 15  # pixels around a microbleed
Array = NDArray[Any]


def main(out: Path = ROOT / "work" / "dicom", picture: Path = ROOT / "docs" / "dicom.png") -> None:
    """Run the chain on both forms and print how far places lie apart."""
    settings = HeadSettings(lesions=LesionRanges(count=(8, 12)))
    simulate_dataset(out, 1, ("t2star",), 5, (SHIPPED_ANATOMY,), settings)
    folders = [out / "single", out / "multi"]
    if not all(folder.exists() for folder in folders):
        series = Series.of_nifti(out / HEAD)
        series.write(folders[0])
        series.write_enhanced(folders[1])
    options: dict[str, Any] = {"point": "sensitive", "overwrite": True}
    detect_files([out / HEAD], out / "results", **options)
    detect_files(folders, out / "results", dicom=True, **options)
    truth = places(out / "results" / "sub-sim5x0000_seg-CMB_dseg.tsv")
    print("form\tmicrobleeds\tas NIfTI\tSR to table mm\tSEG to mask mm")
    for folder in folders:
        stem = out / "results" / folder.name
        found = places(Path(f"{stem}_seg-CMB_dseg.tsv"))
        apart = [np.linalg.norm(truth - xyz, axis=1).min() for xyz in found]
        same = sum(distance < 0.1 for distance in apart)
        points = np.array([point * [-1, -1, 1] for point in report_points(stem)])
        print(
            f"{folder.name}\t{len(found)}\t{same} of {len(truth)}\t"
            f"{np.abs(points - found).max():.6f}\t{segment_error(stem):.6f}"
        )
    draw(folders[0], out / "results" / "single", picture)


def places(table: Path) -> Array:
    """Centres of the microbleeds in a table, RAS mm."""
    return np.array([row.xyz_mm for row in read_candidates(table)])


def report_points(stem: Path) -> list[Array]:
    """Centres in the structured report, LPS mm."""
    report = hd.sr.srread(f"{stem}_cmb_sr.dcm")
    (count,) = report.content.get_image_measurement_groups()[0].get_measurements()
    return [item.value[0] for item in count.referenced_coordinates]


def segment_error(stem: Path) -> float:
    """How far, mm, any voxel of a segment lies from its voxel in the numbered mask."""
    image = nib.load(f"{stem}_seg-CMB_dseg.nii.gz")
    labels = np.asarray(image.dataobj)
    segmentation = hd.seg.segread(f"{stem}_cmb_seg.dcm")
    worst = 0.0
    for number in segmentation.segment_numbers:
        volume = segmentation.get_volume(segment_numbers=[number])
        lps = volume.map_indices_to_reference(np.argwhere(volume.array[..., 0]))
        ras = apply_affine(image.affine, np.argwhere(labels == number))
        if len(lps) != len(ras):
            return np.inf
        distances = np.linalg.norm(lps[:, None] * [-1, -1, 1] - ras[None], axis=2)
        worst = max(worst, float(distances.min(axis=1).max()))
    return worst


def draw(folder: Path, stem: Path, picture: Path) -> None:
    """Each segment's largest frame over the image it refers to, with the report's point."""
    from matplotlib.figure import Figure

    images = {d.SOPInstanceUID: d for d in map(pydicom.dcmread, folder.iterdir())}
    segmentation = hd.seg.segread(f"{stem}_cmb_seg.dcm")
    points = report_points(stem)
    figure = Figure(figsize=(2 * len(points), 4.6), layout="constrained")
    axes = figure.subplots(2, len(points), squeeze=False)
    for column, number in enumerate(segmentation.segment_numbers):
        frame, source = largest_frame(segmentation, number, images)
        row, across = np.argwhere(frame).mean(axis=0)
        for axis in axes[:, column]:
            axis.imshow(source.pixel_array, cmap="gray")
            axis.contour(frame, [0.5], colors="#ffb000", linewidths=1)
            axis.set_axis_off()
        to_pixel = hd.spatial.ReferenceToPixelTransformer.for_image(source, round_output=False)
        axes[1, column].plot(*to_pixel(points[number - 1][None])[0][:2], "c+", markersize=9)
        axes[1, column].set_xlim(across - SIDE, across + SIDE)
        axes[1, column].set_ylim(row + SIDE, row - SIDE)
        label = segmentation.get_segment_description(number).segment_label
        axes[0, column].set_title(label, fontsize=7)
    figure.savefig(picture, dpi=90)


def largest_frame(segmentation: Any, number: int, images: dict[str, Any]) -> tuple[Array, Any]:
    """The frame of a segment with most pixels, and the image that it refers to."""
    groups = segmentation.PerFrameFunctionalGroupsSequence
    mine = [
        place
        for place, group in enumerate(groups)
        if group.SegmentIdentificationSequence[0].ReferencedSegmentNumber == number
    ]
    best = max(mine, key=lambda place: segmentation.pixel_array[place].sum())
    source = groups[best].DerivationImageSequence[0].SourceImageSequence[0]
    return segmentation.pixel_array[best], images[source.ReferencedSOPInstanceUID]


if __name__ == "__main__":
    typer.run(main)
