"""Weights from one network to another as far as they fit."""

from dataclasses import replace

import torch

from microbleeds.models.config import NetworkConfig
from microbleeds.models.initialise import initialise
from microbleeds.models.networks import Detector, Student
from microbleeds.train.store import load_network, save_network, transfer

CONFIG = NetworkConfig(2, (4, 6), ((2, 2, 1),), (8, 8, 4))


def test_a_student_that_gains_a_second_view_begins_as_it_was():
    alone, both = Student(CONFIG), Student(replace(CONFIG, context=(3, 3, 2)))
    initialise(alone, 1)
    initialise(both, 2)
    assert transfer(alone, both) == len(alone.state_dict())
    patches = torch.rand(3, 4, 8, 8, 4)
    with torch.no_grad():
        torch.testing.assert_close(both.eval()(patches), alone.eval()(patches[:, :2]))


def test_a_saved_student_is_read_as_it_was(tmp_path):
    config = replace(CONFIG, student_widths=(8, 12), context=(3, 3, 2))
    student = Student(config)
    initialise(student, 1)
    save_network(student, "student", tmp_path)
    again = load_network("student", tmp_path)
    assert again.config == config
    for name, value in student.state_dict().items():
        assert torch.equal(again.state_dict()[name], value)


def test_only_what_fits_is_transferred():
    wide = Student(replace(CONFIG, student_widths=(8, 12)))
    before = {name: value.clone() for name, value in wide.state_dict().items()}
    detector = Detector(CONFIG)
    initialise(detector, 1)
    transfer(detector, wide)
    changed = {n for n, v in wide.state_dict().items() if not torch.equal(v, before[n])}
    assert changed <= {"inpconv.conv.weight", "inpconv.conv.bias"}
    assert torch.equal(wide.inpconv.conv.weight, detector.inpconv.conv.weight)
