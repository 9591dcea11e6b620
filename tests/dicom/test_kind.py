import pytest
from pydicom.dataset import Dataset

from microbleeds.dicom.kind import image_kind, is_weighted, words


def header(**values):
    dataset = Dataset()
    for name, value in values.items():
        setattr(dataset, name, value)
    return dataset


def test_a_single_image_type_is_one_word():
    for value in ("ORIGINAL", "DERIVED"):  # not the letters I and R of imaginary and real
        assert image_kind(header(ImageType=value)) == "magnitude"
        assert words(header(ImageType=value)) == {value.lower()}


def test_the_third_word_of_the_image_type_tells_parts_apart():
    kinds = {"M": "magnitude", "P": "phase", "R": "real", "I": "imaginary"}
    for part, kind in kinds.items():
        assert image_kind(header(ImageType=["ORIGINAL", "PRIMARY", part])) == kind


def test_one_or_several_scanning_sequences():
    assert is_weighted(header(ScanningSequence="GR"), 20.0)
    assert is_weighted(header(ScanningSequence=["GR", "RM"]), 20.0)
    assert not is_weighted(header(ScanningSequence=["GR", "EP"]), 20.0)


@pytest.mark.parametrize(
    ("vr", "value", "kind"),
    [
        ("SS", 0, "magnitude"),
        ("SS", 2, "real"),
        ("SS", None, "phase"),
        ("SS", [0, 1], "phase"),
        ("UN", b"\x01\x00", "phase"),
    ],
)
def test_the_private_number_of_ge_counts_where_it_is_one(vr, value, kind):
    dataset = header(SeriesDescription="SWAN phase")
    dataset.add_new((0x0043, 0x102F), vr, value)
    assert image_kind(dataset) == kind
