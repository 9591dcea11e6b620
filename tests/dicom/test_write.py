"""DICOM results: places, codes, references, and a validator's opinion."""

from __future__ import annotations

import shutil
import subprocess

import highdicom as hd
import numpy as np
import pydicom
import pytest

from microbleeds.dicom.read import read_folder
from microbleeds.dicom.write import write_dicom
from microbleeds.errors import UserError
from microbleeds.models.card import read_card
from microbleeds.models.zoo import WEIGHTS, Models
from microbleeds.pipeline import Detections
from microbleeds.report.bids import output_paths
from microbleeds.run import Tools, Wanted, detect_file
from microbleeds.steps import Candidate

SPOTS = ((6, 5, 3), (20, 15, 7))  # column, row, slice
RAS = np.array([-1, -1, 1])


@pytest.fixture(scope="module")
def models():
    folder = WEIGHTS / "slim"
    return Models(read_card(folder), None, None, folder)


def detections(series, scan, models, spots=SPOTS):
    """A microbleed of one pixel at each spot, and a candidate that was dropped."""
    labels = np.zeros(scan.voxels.shape, np.int32)
    rows = []
    for number, spot in enumerate(spots, start=1):
        xyz = series.lps(*spot) * RAS
        index = np.rint(np.linalg.solve(scan.affine, [*xyz, 1])[:3]).astype(int)
        labels[tuple(index)] = number
        rows.append(Candidate(number, tuple(xyz), 14.5, 3.0, 0.1, 12.0, 0.9, 0.75, 0.8123))
    rows.append(Candidate(9, (0, 0, 0), 1.0, 1.0, 0.1, 1.0, 0.2, reason="step 3: too small"))
    return Detections(labels, tuple(rows), labels > 0, 0.9, models.card.settings(), {})


@pytest.fixture
def written(make, models, tmp_path):
    """Writes a series and its results; gives the series, source and paths."""

    def write(how="write", spots=SPOTS, edit=lambda path: None, **options):
        series = make(**options)
        folder = getattr(series, how)(tmp_path / "scan")
        for path in folder.iterdir():
            edit(path)
        scan, source = read_folder(folder)
        paths = output_paths("scan", tmp_path)
        write_dicom(scan, source, detections(series, scan, models, spots), models, paths)
        return series, source, paths

    return write


@pytest.mark.parametrize("how", ["write", "write_enhanced"])
@pytest.mark.parametrize("plane", ["axial", "axial from the top", "oblique", "sagittal", "coronal"])
def test_a_microbleed_comes_back_where_it_is(written, how, plane):
    series, _, paths = written(how, plane=plane, spacing=(0.45, 0.5, 5.3))
    segmentation = hd.seg.segread(paths.seg)
    report = hd.sr.srread(paths.sr)
    (count,) = report.content.get_image_measurement_groups()[0].get_measurements()
    assert count.value == 2
    for number, spot in enumerate(SPOTS, start=1):
        lps = series.lps(*spot)
        volume = segmentation.get_volume(segment_numbers=[number])
        filled = np.argwhere(volume.array[..., 0])
        assert volume.map_indices_to_reference(filled) == pytest.approx(lps[None], abs=0.1)
        assert count.referenced_coordinates[number - 1].value[0] == pytest.approx(lps, abs=0.1)


@pytest.mark.parametrize("how", ["write", "write_enhanced"])
def test_segments_lie_on_the_frames_they_refer_to(written, how):
    """Read with pydicom alone: the frame's position and the pixel in it."""
    series, _, paths = written(how, plane="oblique")
    dataset = pydicom.dcmread(paths.seg)
    assert dataset.StudyInstanceUID == series.header("").StudyInstanceUID
    assert dataset.PatientID == "P1" and dataset.Modality == "SEG"
    pixels = dataset.pixel_array.reshape(-1, dataset.Rows, dataset.Columns)
    for groups, frame in zip(dataset.PerFrameFunctionalGroupsSequence, pixels, strict=True):
        number = groups.SegmentIdentificationSequence[0].ReferencedSegmentNumber
        column, row, place = SPOTS[number - 1]
        assert np.argwhere(frame).tolist() == [[row, column]]
        position = groups.PlanePositionSequence[0].ImagePositionPatient
        assert list(position) == pytest.approx(series.lps(0, 0, place), abs=1e-3)
        (image,) = groups.DerivationImageSequence[0].SourceImageSequence
        if how == "write_enhanced":
            assert image.ReferencedFrameNumber == place + 1


@pytest.mark.parametrize("how", ["write", "write_enhanced"])
def test_a_lone_microbleed_has_both_objects_too(written, how):
    series, source, paths = written(how, spots=SPOTS[:1])
    segmentation = hd.seg.segread(paths.seg)
    (group,) = hd.sr.srread(paths.sr).content.get_volumetric_roi_measurement_groups()
    reference = group.referenced_segment
    assert segmentation.number_of_segments == 1
    assert reference.referenced_sop_instance_uid == segmentation.SOPInstanceUID
    volume = segmentation.get_volume(segment_numbers=[1])
    lps = volume.map_indices_to_reference(np.argwhere(volume.array[..., 0]))
    assert lps == pytest.approx(series.lps(*SPOTS[0])[None], abs=0.1)
    (image,) = reference.source_images_for_segmentation
    frame = source.frames[SPOTS[0][2]]
    assert image.referenced_sop_instance_uid == pydicom.dcmread(frame.path).SOPInstanceUID
    assert image.referenced_frame_numbers == ([frame.number] if how == "write_enhanced" else None)


def test_each_segment_has_the_images_that_it_lies_on(written):
    _, source, paths = written()
    groups = hd.sr.srread(paths.sr).content.get_volumetric_roi_measurement_groups()
    for group, (_, _, place) in zip(groups, SPOTS, strict=True):
        (image,) = group.referenced_segment.source_images_for_segmentation
        frame = source.frames[place]
        assert image.referenced_sop_instance_uid == pydicom.dcmread(frame.path).SOPInstanceUID


def test_what_the_segmentation_says_of_itself(written, models):
    _, _, paths = written()
    segments = pydicom.dcmread(paths.seg).SegmentSequence
    assert [segment.SegmentLabel for segment in segments] == [
        "Cerebral microbleed 1", "Cerebral microbleed 2",
    ]  # fmt: skip
    kind = segments[0].SegmentedPropertyTypeCodeSequence[0]
    assert (kind.CodeValue, kind.CodingSchemeDesignator) == ("50960005", "SCT")
    algorithm = segments[0].SegmentationAlgorithmIdentificationSequence[0]
    assert models.card.files["student.onnx"] in algorithm.AlgorithmParameters
    assert "not a medical device" in algorithm.AlgorithmParameters


def test_what_the_report_says(written, models):
    series, source, paths = written()
    report = hd.sr.srread(paths.sr)
    segmentation = hd.seg.segread(paths.seg)
    groups = report.content.get_volumetric_roi_measurement_groups()
    for number, group in enumerate(groups, start=1):
        segment = segmentation.get_segment_description(number)
        assert group.tracking_uid == segment.tracking_uid
        assert group.tracking_identifier == segment.tracking_id
        assert group.referenced_segment.referenced_sop_instance_uid == segmentation.SOPInstanceUID
        assert group.finding_type.value == "50960005"
        assert group.finding_sites[0].value.value == "12738006"
        measured = {m.name.meaning: (m.value, m.unit.value) for m in group.get_measurements()}
        assert measured == {"Volume": (14.5, "mm3"), "Certainty of Finding": (81.23, "%")}
    text = report.to_json()
    assert models.card.files["detector.onnx"] in text and "not a medical device" in text
    assert report.CompletionFlagDescription.startswith("Research use only")
    assert report.VerificationFlag == "UNVERIFIED"
    evidence = report.CurrentRequestedProcedureEvidenceSequence[0].ReferencedSeriesSequence
    assert {item.SeriesInstanceUID for item in evidence} == {
        series.uid, segmentation.SeriesInstanceUID,
    }  # fmt: skip
    assert len(source.frames) == 9


def test_a_repeated_run_gives_the_same_tracking_and_other_objects(written, make):
    series, _, paths = written(uid="1.2.3.4")
    first = pydicom.dcmread(paths.seg)
    shutil.rmtree(paths.seg.parent / "scan")
    written(uid="1.2.3.4")
    second = pydicom.dcmread(paths.seg)
    uids = [[s.TrackingUID for s in dataset.SegmentSequence] for dataset in (first, second)]
    assert uids[0] == uids[1] and len(set(uids[0])) == 2
    assert first.SOPInstanceUID != second.SOPInstanceUID
    assert series.uid == "1.2.3.4"


def test_no_microbleed_gives_a_report_alone(written, tmp_path):
    stale = output_paths("scan", tmp_path).seg
    stale.write_text("of an earlier run")
    _, _, paths = written(spots=())
    assert not paths.seg.exists()
    report = hd.sr.srread(paths.sr)
    (count,) = report.content.get_image_measurement_groups()[0].get_measurements()
    assert count.value == 0 and not report.content.get_volumetric_roi_measurement_groups()


def test_a_series_stripped_of_its_patient(written):
    def strip(path):
        dataset = pydicom.dcmread(path)
        for name in ("PatientName", "PatientBirthDate", "PatientSex", "StudyID", "StudyTime",
                     "AccessionNumber", "ReferringPhysicianName"):  # fmt: skip
            delattr(dataset, name)
        dataset.save_as(path)

    _, _, paths = written(edit=strip)
    assert pydicom.dcmread(paths.seg).PatientName == ""


def test_without_a_frame_of_reference_there_is_nothing_to_refer_to(written):
    def strip(path):
        dataset = pydicom.dcmread(path)
        del dataset.FrameOfReferenceUID
        dataset.save_as(path)

    with pytest.raises(UserError, match="no FrameOfReferenceUID"):
        written(edit=strip)


def test_what_cannot_be_referred_to_is_refused_before_the_work(make, tmp_path, monkeypatch):
    def detect(*arguments):
        raise AssertionError("detected in vain")

    monkeypatch.setattr("microbleeds.run.detect", detect)
    folder = make(extra={"FrameOfReferenceUID": ""}).write(tmp_path / "scan")
    with pytest.raises(UserError, match="no FrameOfReferenceUID"):
        detect_file(
            folder,
            output_paths("scan", tmp_path),
            Tools(None, None, None, None),
            Wanted(dicom=True),
        )


@pytest.mark.skipif(
    shutil.which("dciodvfy") is None, reason="dciodvfy (Debian: dicom3tools) is not installed"
)
@pytest.mark.parametrize("how", ["write", "write_enhanced"])
@pytest.mark.parametrize("spots", [SPOTS, SPOTS[:1], ()])
def test_dciodvfy_finds_no_error(written, how, spots):
    _, _, paths = written(how, spots=spots)
    for path in (paths.seg, paths.sr):
        if path.exists():
            done = subprocess.run(["dciodvfy", path], capture_output=True, text=True, check=False)
            assert "Error" not in done.stdout + done.stderr, done.stdout + done.stderr


@pytest.mark.parametrize(
    "odd",
    [
        {"PatientSex": "U"},
        {"PatientBirthDate": "00000000", "StudyDate": "19000000"},
        {"StudyTime": "250000"},
    ],
)
def test_what_anonymisation_leaves_in_a_header_is_left_empty(written, odd):
    def edit(path):
        dataset = pydicom.dcmread(path)
        for name, value in odd.items():
            dataset[name] = pydicom.DataElement(
                name, dataset[name].VR, value, validation_mode=pydicom.config.IGNORE
            )
        dataset.save_as(path)

    _, _, paths = written(edit=edit)
    segmentation, report = pydicom.dcmread(paths.seg), pydicom.dcmread(paths.sr)
    for name in odd:
        assert not segmentation.get(name) and not report.get(name)


JAPANESE = "Yamada^Tarou=山田^太郎=やまだ^たろう"


@pytest.mark.parametrize(
    ("character_set", "name"),
    [
        (["", "ISO 2022 IR 87"], JAPANESE),
        (["", "ISO 2022 IR 149"], "Hong^Gildong=洪^吉洞=홍^길동"),
        ("ISO_IR 100", "Müller^Eva"),
        ("ISO_IR 192", JAPANESE),
        ("", "Doe^Jane"),
        ("ISO_IR 6", "Doe^Jane"),
        ("ISO 2022 IR 6", "Doe^Jane"),
    ],
)
def test_a_name_comes_through_in_every_character_set(written, character_set, name):
    said = {"SpecificCharacterSet": character_set, "PatientName": name}
    _, _, paths = written(extra=said)
    for path in (paths.seg, paths.sr):
        dataset = pydicom.dcmread(path)
        assert dataset.get_item("PatientName").value.decode("utf-8").rstrip() == name
        assert dataset.SpecificCharacterSet == "ISO_IR 192" and dataset.PatientName == name


def test_an_element_that_cannot_be_read_is_not_taken_over(written):
    def edit(path):
        path.write_bytes(path.read_bytes().replace(b"777.25", b"777,25"))

    _, _, paths = written(edit=edit, extra={"NumberOfAverages": 777.25})
    assert paths.seg.exists() and paths.sr.exists()


def test_a_header_that_highdicom_refuses_is_one_sentence(written, monkeypatch):
    def refuse(*arguments):
        raise ValueError("odd header")

    monkeypatch.setattr("microbleeds.dicom.report.make_report", refuse)
    with pytest.raises(UserError, match=r"odd header.*without --dicom"):
        written()
