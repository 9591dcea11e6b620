import shutil
from dataclasses import replace

import pytest

from microbleeds.train.brain import BRAIN_TRAINING
from microbleeds.train.data import Row
from microbleeds.train.heads import BrainRow
from microbleeds.train.identity import identity_of, identity_of_brain, identity_of_fold
from microbleeds.train.settings import TINY_RECIPE as RECIPE
from microbleeds.train.settings import Start


@pytest.fixture
def rows(tmp_path):
    folder = tmp_path / "data"
    folder.mkdir()
    for n in range(3):
        (folder / f"{n}_label.nii.gz").write_text(f"label {n}")
        (folder / f"{n}_mask.nii.gz").write_text(f"mask {n}")
    return tuple(
        Row(
            image=folder / f"{n}.nii.gz",
            label=folder / f"{n}_label.nii.gz",
            contrast="t2star",
            mask=folder / f"{n}_mask.nii.gz",
            subject=str(n),
        )
        for n in range(3)
    )


def moved(rows, folder):
    """The same files elsewhere."""
    shutil.copytree(rows[0].image.parent, folder)
    return tuple(
        replace(
            row, **{part: folder / getattr(row, part).name for part in ("image", "label", "mask")}
        )
        for row in rows
    )


@pytest.fixture
def network(tmp_path):
    path = tmp_path / "detector.safetensors"
    path.write_bytes(b"weights")
    return path


def test_a_training_may_go_on_longer_and_look_elsewhere_less_often(rows, network, tmp_path):
    first = identity_of("student", rows, RECIPE, None, network)
    longer = replace(RECIPE.student, steps=10**6, validate_every=7, threads=3)
    other = replace(RECIPE.detector, learning_rate=1.0)  # of another network
    assert first == identity_of("student", rows, replace(RECIPE, student=longer), None, network)
    assert first == identity_of("student", rows, replace(RECIPE, detector=other), None, network)
    elsewhere = moved(rows, tmp_path / "elsewhere")
    assert first == identity_of("student", elsewhere, RECIPE, None, network)


def test_whatever_else_changes_it_is_another(rows, network):
    first = identity_of("student", rows, RECIPE, None, network)
    faster = replace(RECIPE.student, learning_rate=1.0)
    others = [
        identity_of("teacher", rows, RECIPE, None, network),
        identity_of("student", rows[:2], RECIPE, None, network),
        identity_of("student", rows, replace(RECIPE, alpha=0.0), None, network),
        identity_of("student", rows, replace(RECIPE, student=faster), None, network),
        identity_of("student", rows, RECIPE, None, None),
    ]
    network.with_name("student.safetensors").write_bytes(b"before")
    others.append(identity_of("student", rows, RECIPE, Start(network.parent), network))
    network.write_bytes(b"other weights")
    others.append(identity_of("student", rows, RECIPE, None, network))
    assert len({first, *others}) == 8


def test_labels_and_masks_count_by_content(rows, network):
    seen = {identity_of("student", rows, RECIPE, None, network)}
    rows[1].label.write_text("corrected")
    seen.add(identity_of("student", rows, RECIPE, None, network))
    rows[2].mask.write_text("corrected")
    seen.add(identity_of("student", rows, RECIPE, None, network))
    without = (*rows[:2], replace(rows[2], mask=None))
    seen.add(identity_of("student", without, RECIPE, None, network))
    doubtful = (*rows[:2], replace(rows[2], unrated=rows[2].label))
    seen.add(identity_of("student", doubtful, RECIPE, None, network))
    assert len(seen) == 5


def test_a_fold_is_not_continued(rows, tmp_path):
    first = identity_of_fold(rows[:2], rows[2:], RECIPE, "balanced")
    elsewhere = moved(rows, tmp_path / "elsewhere")
    assert first == identity_of_fold(elsewhere[:2], elsewhere[2:], RECIPE, "balanced")
    longer = replace(RECIPE, student=replace(RECIPE.student, steps=10**6))
    others = [
        identity_of_fold(rows[:2], rows[2:], longer, "balanced"),
        identity_of_fold(rows[:2], rows[2:], RECIPE, "precise"),
        identity_of_fold(rows[:1], rows[1:], RECIPE, "balanced"),
    ]
    rows[2].label.write_text("corrected")
    others.append(identity_of_fold(rows[:2], rows[2:], RECIPE, "balanced"))
    assert len({first, *others}) == 5


def test_the_brain_mask_depends_on_heads_settings_and_start(rows, network):
    heads = [BrainRow(row.subject, image=row.image, mask=row.mask) for row in rows]
    heads.append(BrainRow("map", anatomy=rows[0].label))
    first = identity_of_brain(heads[1:], heads[:1], BRAIN_TRAINING, None)
    longer = replace(BRAIN_TRAINING, steps=10**6)
    assert first == identity_of_brain(heads[1:], heads[:1], longer, None)
    others = [
        identity_of_brain(heads[2:], heads[:2], BRAIN_TRAINING, None),
        identity_of_brain(heads[1:], heads[:1], replace(BRAIN_TRAINING, seed=1), None),
        identity_of_brain(heads[1:], heads[:1], BRAIN_TRAINING, network),
    ]
    for file in (rows[1].mask, rows[0].label):
        file.write_text("corrected")
        others.append(identity_of_brain(heads[1:], heads[:1], BRAIN_TRAINING, None))
    assert len({first, *others}) == 6
