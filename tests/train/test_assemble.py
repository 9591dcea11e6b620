from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import nibabel as nib
import numpy as np
import pytest

from microbleeds.errors import UserError
from microbleeds.evaluate.calibration import fit_calibration
from microbleeds.evaluate.froc import Froc, froc
from microbleeds.evaluate.matching import Finding, Findings, joined
from microbleeds.models.card import Thresholds, read_card, write_card
from microbleeds.models.zoo import load_models
from microbleeds.report.files import write_json
from microbleeds.settings import Calibration
from microbleeds.train import assemble
from microbleeds.train.assemble import (
    About,
    assemble_model,
    final_findings,
    fit_calibrations,
    operating_points,
)
from microbleeds.train.store import read_recipe


@pytest.fixture(scope="module")
def trained(crossed):
    """Folder with the output folders of the three trainings and their model."""
    return crossed[0] / "fold-1"


def folders(trained):
    return trained / "detector", trained / "student", trained / "teacher"


def test_networks_trained_one_by_one_become_a_model(trained, rows, recipe, tmp_path):
    about = About("Balls.", "CC0-1.0", ("t2star",), {"seed": 0})
    card = assemble_model(rows[:2], tmp_path / "model", *folders(trained), about)
    read = load_models(tmp_path / "model").card
    assert replace(read, training={}) == replace(card, training={})
    assert (card.name, card.licence, card.contrasts) == ("model", "CC0-1.0", ("t2star",))
    assert read.training["seed"] == 0 and read.training["thresholds"]["images"] == 2
    assert read.files.keys() == read_card(trained / "model").files.keys()
    weights = "student.safetensors"
    assert read.files[weights] == read_card(trained / "model").files[weights]
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_a_killed_assembly_leaves_the_model_before_it(trained, rows, tmp_path, monkeypatch):
    out = tmp_path / "model"
    out.mkdir()
    (out / "notes.txt").write_text("mine")
    before = assemble_model(rows[:1], out, *folders(trained)[:2])

    def killed(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(assemble, "final_findings", killed)
    with pytest.raises(KeyboardInterrupt):
        assemble_model(rows[:1], out, *folders(trained)[:2], about=About("Other."))
    assert load_models(out).card.description == before.description
    monkeypatch.undo()
    assemble_model(rows[:1], out, *folders(trained)[:2], about=About("Other."))
    assert load_models(out).card.description == "Other."
    assert (out / "notes.txt").read_text() == "mine"
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_the_curve_is_that_of_what_detect_reports(trained, rows, tmp_path):
    card = assemble_model(rows[:1], tmp_path / "model", *folders(trained)[:2])
    open_card = replace(
        card,
        operating_points={"sensitive": Thresholds(0.0, 0.0)},
        calibration={},
        other_calibration=Calibration(),
    )
    write_card(open_card, tmp_path / "model")
    findings = final_findings(load_models(tmp_path / "model"), rows[:1])
    assert fit_calibrations(findings) == (card.calibration, card.other_calibration)
    assert card.contrasts == ("t2star",)  # of the row
    curve = froc(joined(findings.values()))
    assert np.isinf(curve.threshold[0]) and curve.fp_per_scan[0] == 0 == curve.tpr[0]
    assert (np.diff(curve.fp_per_scan) >= 0).all() and curve.tpr[-1] <= 1
    # all balls are smaller than this: none is left that could be missed
    none = final_findings(load_models(tmp_path / "model"), rows[:1], 1e6)
    assert np.isnan(froc(joined(none.values())).tpr).all()


def test_what_is_found_at_unrated_places_is_not_false(trained, rows, tmp_path, monkeypatch):
    image = nib.load(rows[0].label)
    first = np.asarray(image.dataobj) == 1
    nib.save(nib.Nifti1Image(first.astype(np.uint8), image.affine), tmp_path / "one.nii.gz")
    models = load_models(trained / "model")
    bleeds = [SimpleNamespace(xyz_mm=xyz, probability=0.5) for xyz in ((-3, -2, 40), (3, -3, 44))]

    def detected(rows, *_):  # both balls of the head
        yield rows[0], SimpleNamespace(contrast="t2star"), SimpleNamespace(microbleeds=bleeds)

    monkeypatch.setattr(assemble, "detect_rows", detected)
    one = replace(rows[0], label=tmp_path / "one.nii.gz")
    for row, kinds in ((one, [True, False]), (replace(one, unrated=rows[0].label), [True])):
        found = final_findings(models, [row])["t2star"]
        assert [finding.is_lesion for finding in found.table] == kinds


def test_thresholds_are_set_on_what_detect_reports_once_calibrated(
    trained, rows, tmp_path, monkeypatch
):
    """Which candidates are looked at again depends on the calibration."""
    seen = []

    def measured(models, *_):
        seen.append((models.card.calibration, models.card.operating_points["sensitive"].student))
        chances = [0.9, 0.7, 0.3, 0.2] if len(seen) == 1 else [0.8, 0.6, 0.1, 0.05]
        table = [Finding("a", n < 2, True, chance, (0, 0, 0)) for n, chance in enumerate(chances)]
        return {"t2star": Findings(tuple(table), ("a",))}

    monkeypatch.setattr(assemble, "final_findings", measured)
    card = assemble_model(rows[:1], tmp_path / "model", *folders(trained)[:2])
    assert seen == [({}, 0.0), (card.calibration, 0.0)] and card.calibration
    # One image, so that sensitive allows both of its two false positives and balanced none.
    points = card.operating_points
    assert points["sensitive"].student == pytest.approx(0.05)
    assert 0.1 < points["balanced"].student <= 0.6


def test_a_contrast_without_hits_takes_the_curve_through_all():
    def seen(hits, false):
        chances = [0.9, 0.7, 0.6][:hits] + [0.5, 0.8, 0.1][:false]
        rows = [
            Finding("a", number < hits, True, chance, (0.0, 0.0, 0.0))
            for number, chance in enumerate(chances)
        ]
        return Findings(tuple(rows), ("a",))

    findings = {"t2star": seen(3, 3), "swi": seen(0, 3)}
    own, other = fit_calibrations(findings)
    assert own == {"t2star": fit_calibration(findings["t2star"])}
    assert other == fit_calibration(joined(findings.values())) != own["t2star"]


def test_folders_that_do_not_belong_together_are_refused(trained, rows, recipe, tmp_path):
    detector, student, _ = folders(trained)
    with pytest.raises(UserError, match=r"recipe\.json cannot be read"):
        read_recipe(tmp_path)
    assert read_recipe(student) == recipe
    other = replace(recipe, network=replace(recipe.network, widths=(2, 4)))
    for file in student.iterdir():
        if file.is_file():
            (tmp_path / file.name).write_bytes(file.read_bytes())
    write_json(tmp_path / "recipe.json", other)
    with pytest.raises(UserError, match=r"widths \(4, 8\).*need \(2, 4\)"):
        assemble_model(rows[:1], tmp_path / "model", detector, tmp_path)
    assert not Path(tmp_path / "model").exists()


def test_a_file_in_the_place_of_the_model_is_named_and_kept(trained, rows, tmp_path):
    detector, student, _ = folders(trained)
    taken = tmp_path / "model"
    taken.write_text("mine")
    with pytest.raises(UserError, match=r"model cannot be made \(File exists\); choose"):
        assemble_model(rows[:1], taken, detector, student)
    assert taken.read_text() == "mine" and list(tmp_path.iterdir()) == [taken]


def test_operating_points_keep_to_their_false_positives():
    curve = Froc(
        np.array([np.inf, 0.9, 0.7, 0.6, 0.4, 0.2]),
        np.array([0.0, 0.25, 0.3, 1.5, 3.0, 9.0]),
        np.array([0.0, 0.5, 0.7, 0.75, 0.8, 1.0]),
    )
    points = operating_points(curve, 0.1)
    thresholds = {name: point.student for name, point in points.items()}
    assert thresholds == {"sensitive": 0.6, "balanced": 0.7, "precise": 0.9}
    assert {point.detector for point in points.values()} == {0.1}
    nothing = Froc(np.array([np.inf]), np.array([0.0]), np.array([np.nan]))
    assert all(0 < point.student < 1 for point in operating_points(nothing, 0.1).values())
