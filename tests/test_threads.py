import os
from pathlib import Path
from threading import get_ident

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813
from loky.backend.context import cpu_count

from microbleeds.errors import UserError
from microbleeds.models.config import NetworkConfig
from microbleeds.models.engine import Engine
from microbleeds.prepare.bias import correct_bias
from microbleeds.prepare.brain import brain_mask
from microbleeds.prepare.prepare import prepare_image
from microbleeds.scan import Scan
from microbleeds.settings import PrepareSettings
from microbleeds.threads import VARIABLES, allowed_threads, beside, limit_simpleitk


@pytest.fixture
def told(monkeypatch):
    """Sets what the environment says; nothing by default."""
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    return lambda name, value: monkeypatch.setenv(name, value)


def test_as_many_as_are_wanted_or_as_the_machine_has(told):
    assert allowed_threads(7) == 7
    assert allowed_threads() == cpu_count() <= (os.cpu_count() or 1)


@pytest.mark.parametrize("name", VARIABLES)
def test_what_the_scheduler_grants_is_not_exceeded(told, name):
    told(name, "1")
    assert allowed_threads() == 1
    assert allowed_threads(2) == 2  # who asks for more takes more
    for nonsense in ("0", "", "4,2", "-1", "many"):
        told(name, nonsense)
        assert allowed_threads() == cpu_count()


def test_a_core_that_is_taken_away_is_not_counted(told):
    if not hasattr(os, "sched_setaffinity") or len(before := os.sched_getaffinity(0)) < 2:
        pytest.skip("needs an affinity to take away")
    os.sched_setaffinity(0, {min(before)})
    try:
        assert allowed_threads() == 1
    finally:
        os.sched_setaffinity(0, before)


@pytest.fixture
def simpleitk_threads():
    """How many SimpleITK's filters take; as before when the test is over."""
    before = sitk.ProcessObject.GetGlobalDefaultNumberOfThreads()
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(3)
    yield lambda: sitk.ResampleImageFilter().GetNumberOfThreads()
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(before)


def test_simpleitk_takes_no_more_than_is_allowed(told, simpleitk_threads):
    limit_simpleitk(2)
    assert simpleitk_threads() == 2
    told("SLURM_CPUS_PER_TASK", "1")
    limit_simpleitk()
    assert simpleitk_threads() == 1


def test_preparation_and_brain_mask_limit_simpleitk(simpleitk_threads):
    voxels = np.random.default_rng(0).normal(100, 5, (24, 24, 12)).astype(np.float32)
    scan = Scan(voxels, np.diag([2.0, 2.0, 3.0, 1.0]), "t2star")
    prepare_image(scan, voxels > 0, PrepareSettings(), threads=1)
    assert simpleitk_threads() == 1

    with pytest.raises(UserError, match="no brain"):  # noise
        brain_mask(scan, Engine(Path(), threads=2, config=NetworkConfig()))
    assert simpleitk_threads() == 2


def test_the_bias_field_does_not_depend_on_the_threads():
    rng = np.random.default_rng(0)
    x, y, z = np.indices((48, 48, 24)) / 24
    voxels = (rng.normal(1, 0.05, x.shape) * np.exp(0.3 * x - 0.2 * y * z)).astype(np.float32)
    brain = (x - 1) ** 2 + (y - 1) ** 2 + (2 * z - 1) ** 2 < 0.8
    one, two = (correct_bias(voxels, brain, np.array([2.0, 2.0, 3.0]), n) for n in (1, 2))
    np.testing.assert_allclose(one, two, rtol=1e-4)


@pytest.mark.parametrize(("threads", "on_this_one"), [(1, True), (2, False)])
def test_work_is_done_beside_only_where_two_threads_are_allowed(threads, on_this_one):
    with beside(threads) as start:
        ident, fault = start(get_ident), start(lambda: 1 // 0)
        assert (ident() == get_ident()) is on_this_one
        with pytest.raises(ZeroDivisionError):
            fault()
