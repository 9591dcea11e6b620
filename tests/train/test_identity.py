from dataclasses import replace
from pathlib import Path

import pytest

from microbleeds.train.data import Row
from microbleeds.train.identity import identity_of
from microbleeds.train.settings import TINY_RECIPE as RECIPE
from microbleeds.train.settings import Start

ROWS = tuple(
    Row(Path(f"{n}.nii.gz"), Path(f"{n}_label.nii.gz"), "t2star", None, str(n)) for n in range(3)
)


@pytest.fixture
def network(tmp_path):
    path = tmp_path / "detector.safetensors"
    path.write_bytes(b"weights")
    return path


def test_a_training_may_go_on_longer_and_look_elsewhere_less_often(network):
    first = identity_of("student", ROWS, RECIPE, None, network)
    longer = replace(RECIPE.student, steps=10**6, validate_every=7, threads=3)
    other = replace(RECIPE.detector, learning_rate=1.0)  # of another network
    assert first == identity_of("student", ROWS, replace(RECIPE, student=longer), None, network)
    assert first == identity_of("student", ROWS, replace(RECIPE, detector=other), None, network)
    moved = tuple(replace(row, image=Path("elsewhere") / row.image) for row in ROWS)
    assert first == identity_of("student", moved, RECIPE, None, network)


def test_whatever_else_changes_it_is_another(network):
    first = identity_of("student", ROWS, RECIPE, None, network)
    faster = replace(RECIPE.student, learning_rate=1.0)
    others = [
        identity_of("teacher", ROWS, RECIPE, None, network),
        identity_of("student", ROWS[:2], RECIPE, None, network),
        identity_of("student", ROWS, replace(RECIPE, alpha=0.0), None, network),
        identity_of("student", ROWS, replace(RECIPE, student=faster), None, network),
        identity_of("student", ROWS, RECIPE, None, None),
    ]
    network.with_name("student.safetensors").write_bytes(b"before")
    others.append(identity_of("student", ROWS, RECIPE, Start(network.parent), network))
    network.write_bytes(b"other weights")
    others.append(identity_of("student", ROWS, RECIPE, None, network))
    assert len({first, *others}) == 8
