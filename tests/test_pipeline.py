"""The whole chain on a simulated head with the shipped networks."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from microbleeds import Scan, detect, load_brain, load_models, read_scan
from microbleeds.evaluate.lesions import from_centres
from microbleeds.evaluate.matching import match
from microbleeds.evaluate.read import read_true_labels


@pytest.fixture(scope="module")
def networks():
    return load_models(threads=2), load_brain(threads=2)


@pytest.fixture(scope="module")
def scan(simulated):
    return read_scan(simulated / "sub-01_T2starw.nii.gz")


@pytest.fixture(scope="module")
def found(scan, networks):
    return detect(scan, *networks)


def test_most_true_microbleeds_are_found(simulated, found):
    truth = read_true_labels(simulated / "sub-01_T2starw_label.nii.gz")
    predicted = from_centres(np.array([row.xyz_mm for row in found.microbleeds]))
    findings = match("sub-01", predicted, truth, "valdo")
    hits = sum(f.is_lesion and f.detected for f in findings)
    assert len(truth) >= 5
    assert hits >= 0.6 * len(truth)
    assert sum(not f.is_lesion for f in findings) <= 5


def test_labels_and_table_tell_the_same(scan, found):
    numbers = np.unique(found.labels[found.labels > 0])
    assert numbers.tolist() == [row.index for row in found.microbleeds]
    for row in found.microbleeds:
        voxels = np.argwhere(found.labels == row.index)
        centre = scan.affine[:3, :3] @ voxels.mean(axis=0) + scan.affine[:3, 3]
        assert np.linalg.norm(centre - row.xyz_mm) < 0.6 * scan.spacing.max() + 1


def test_every_dropped_candidate_has_a_reason_and_every_step_a_time(found):
    assert all(row.reason for row in found.table if not row.kept)
    assert set(found.seconds) == {
        "brain mask", "preparation", "step 1: candidates", "step 2: discrimination",
        "step 3: clean-up",
    }  # fmt: skip


def test_axis_order_and_flips_do_not_change_what_is_found(scan, found, networks):
    turned = np.eye(4)[[2, 0, 1, 3]].T  # (i, j, k) -> (k, i, j)
    voxels = np.transpose(scan.voxels, (2, 0, 1))[:, ::-1]
    flip = np.diag([1.0, -1.0, 1.0, 1.0])
    flip[1, 3] = voxels.shape[1] - 1
    other = Scan(np.ascontiguousarray(voxels), scan.affine @ turned @ flip, "t2star", "turned")
    again = detect(other, *networks)
    ours = np.array(sorted(row.xyz_mm for row in found.microbleeds))
    theirs = np.array(sorted(row.xyz_mm for row in again.microbleeds))
    assert theirs == pytest.approx(ours, abs=0.3)


@pytest.mark.parametrize("limits", [{"threads": 1}, {"threads": 2, "memory_gb": 0.4}])
def test_threads_and_memory_do_not_change_the_result(scan, found, limits):
    other = detect(scan, load_models(**limits), load_brain(**limits))
    assert np.array([row.xyz_mm for row in other.microbleeds]) == pytest.approx(
        np.array([row.xyz_mm for row in found.microbleeds]), abs=0.05
    )
    for row, same in zip(found.table, other.table, strict=True):
        assert row.detector_probability == pytest.approx(same.detector_probability, abs=1e-3)
        assert row.probability == pytest.approx(same.probability, abs=5e-3)


def test_detection_and_comparison_never_import_what_they_do_without():
    code = (
        "import sys; sys.modules['torch'] = sys.modules['matplotlib'] = None; "
        "import microbleeds.study.results; "
        "from microbleeds.run import detect_file, load_tools; load_tools('slim', 'balanced', 1, 1)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_without_mask_and_network_there_is_no_guess(scan, networks):
    with pytest.raises(ValueError, match="brain mask"):
        detect(scan, networks[0], None)
