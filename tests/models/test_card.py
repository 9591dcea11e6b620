import json
from dataclasses import replace

import pytest

from microbleeds.errors import UserError
from microbleeds.models.card import ModelCard, Thresholds, read_card, write_card
from microbleeds.models.config import PUBLISHED
from microbleeds.settings import PrepareSettings

CARD = ModelCard(
    name="x",
    description="Größe in µm",
    licence="Apache-2.0",
    contrasts=("swi",),
    channels=("image", "symmetry"),
    value_range="signed",
    prepare=PrepareSettings(in_plane_mm=None, symmetry_radii_voxels=(2.0, 3.0), paint_vessels=True),
    patch_spacing_mm=None,
    operating_points={"sensitive": Thresholds(0.1, 0.2), "precise": Thresholds(0.5, 0.75)},
    networks=PUBLISHED,
    files={"detector.onnx": "ab" * 32},
    training={"seeds": [1, 2], "figures": {"TPR": 0.9}, "command": None},
)


@pytest.mark.parametrize("card", [CARD, ModelCard("y", "", "", patch_spacing_mm=(0.5, 0.5, 1.0))])
def test_roundtrip(tmp_path, card):
    write_card(card, tmp_path)
    assert read_card(tmp_path) == card
    assert [path.name for path in tmp_path.iterdir()] == ["card.json"]


def test_whole_numbers_are_read_as_floats(tmp_path):
    plain = {"name": "x", "description": "", "licence": "", "prepare": {"in_plane_mm": 1}}
    (tmp_path / "card.json").write_text(json.dumps(plain))
    value = read_card(tmp_path).prepare.in_plane_mm
    assert value == 1.0 and isinstance(value, float)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"value_range": "both"}, "card.value_range is 'both', which is not one of 'unit', 'sig"),
        ({"prepare": {"in_plane_mm": "fine"}}, "card.prepare.in_plane_mm is 'fine', .* a number"),
        ({"prepare": {"paint_vessels": 1}}, "paint_vessels is 1"),
        ({"prepare": []}, "card.prepare is .*not an object"),
        ({"contrasts": ["flair"]}, "card.contrasts is 'flair'"),
        ({"channels": ["image"]}, "channels are image, but in_channels is 2"),
        ({"patch_spacing_mm": [1, 1]}, "patch_spacing_mm has 2 entries, 3 are needed"),
        ({"networks": {"widths": [8, 16]}}, "2 widths need 1 pools"),
        ({"networks": {"widths": 8}}, "card.networks.widths is 8"),
        ({"networks": {"in_channels": True}}, "in_channels is True"),
        ({"operating_points": {"balanced": {"detector": 0.2}}}, "balanced lacks student"),
        ({"operating_points": {"best": {"detector": 0, "student": 0}}}, "'best'"),
        ({"files": {"../weights.onnx": "00"}}, "'../weights.onnx' is not a plain file name"),
        ({"surprise": 1}, "unknown entries surprise"),
        ({"name": None}, "card.name is None, which is not text"),
    ],
)
def test_malformed_cards(tmp_path, change, message):
    write_card(CARD, tmp_path)
    path = tmp_path / "card.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(UserError, match=message):
        read_card(tmp_path)


@pytest.mark.parametrize("content", ["", "{", "[]", '"card"', "{}"])
def test_files_that_are_no_cards(tmp_path, content):
    (tmp_path / "card.json").write_text(content)
    with pytest.raises(UserError, match=r"card\.json is not a valid model card"):
        read_card(tmp_path)


def test_binary_and_missing_cards(tmp_path):
    with pytest.raises(UserError, match="no model folder"):
        read_card(tmp_path)
    (tmp_path / "card.json").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UserError, match="not a valid model card"):
        read_card(tmp_path)


def test_settings_of_an_operating_point():
    settings = CARD.settings("precise", threads=3)
    assert settings.candidates.threshold == 0.5
    assert settings.discriminate.threshold == 0.75
    assert settings.discriminate.patch_shape == (24, 24, 24)
    assert settings.discriminate.patch_spacing_mm is None
    assert settings.prepare == CARD.prepare
    assert settings.threads == 3
    with pytest.raises(
        UserError, match="no operating point 'balanced'; choose from: sensitive, pr"
    ):
        CARD.settings("balanced")
    with pytest.raises(UserError, match="choose from: none"):
        replace(CARD, operating_points={}).settings()
