"""One scan in a worker: done once, again when something changed, whole or absent at any moment.

Detection itself is stubbed; tests/study/test_cohort.py runs it.
"""

from __future__ import annotations

import errno
import json
import re
from dataclasses import replace
from pathlib import Path, PurePosixPath
from types import SimpleNamespace

import pytest

from microbleeds.errors import UserError
from microbleeds.report.bids import result_paths
from microbleeds.run import Wanted
from microbleeds.study import worker
from microbleeds.study.failures import failure_path, read_failure
from microbleeds.study.job import Plan, ScanJob
from microbleeds.study.store import publish
from microbleeds.study.worker import RunStoppedError, run_job


@pytest.fixture
def runs(monkeypatch):
    """Sources that were detected in, by a stub: the image's text is how many microbleeds it has."""
    seen = []

    def detect_file(source, paths, tools, wanted, contrast, mask):
        seen.append(source)
        count = source.read_text()
        if not count.isdecimal():
            raise UserError(f"{source} holds {count}.")
        paths.report.parent.mkdir(parents=True)
        for path in (paths.mask, paths.dseg, paths.table, paths.candidates, paths.brain):
            path.write_text(count)
        if wanted.picture:
            paths.picture.write_text(count)
        paths.report.write_text(json.dumps({"microbleeds": int(count)}))
        return None, SimpleNamespace(microbleeds=[None] * int(count))

    monkeypatch.setattr(worker, "detect_file", detect_file)
    return seen


@pytest.fixture
def job(tmp_path):
    source = tmp_path / "data" / "sub-1" / "sub-1_swi.nii.gz"
    source.parent.mkdir(parents=True)
    source.write_text("3")
    return ScanJob(source, "swi", PurePosixPath("sub-1"), "sub-1_space-swi")


@pytest.fixture
def plan(tmp_path):
    scratch = tmp_path / "out" / ".scratch" / "run"
    scratch.mkdir(parents=True)
    return Plan(tmp_path / "out", scratch, "slim", "balanced", 0.8, Wanted())


def record(job, plan):
    return json.loads(result_paths(job.stem, plan.out / job.folder).report.read_text())


def files(plan):
    return {path.relative_to(plan.out).as_posix() for path in plan.out.rglob("*") if path.is_file()}


def test_a_result_is_whole_and_knows_its_files(job, plan, runs):
    outcome = run_job(job, plan)
    assert (outcome.status, outcome.microbleeds) == ("done", 3)
    said = record(job, plan)
    assert {*said["files"], "sub-1/sub-1_space-swi_cmb.json"} == files(plan)
    assert len(said["key"]) == 64
    assert not list(plan.scratch.iterdir())


def test_what_is_unchanged_does_not_run_again(job, plan, runs):
    run_job(job, plan)
    outcome = run_job(job, plan)
    assert (outcome.status, outcome.microbleeds, len(runs)) == ("unchanged", 3, 1)


def change_image(job, plan):
    job.source.write_text("4")
    return job, plan


def change_nothing_but_the_place(job, plan):
    return replace(job, source=job.source.rename(job.source.with_name("moved.nii.gz"))), plan


def lose_a_file(job, plan):
    result_paths(job.stem, plan.out / job.folder).brain.unlink()
    return job, plan


@pytest.mark.parametrize(
    ("change", "again"),
    [
        (change_image, True),
        (lose_a_file, True),
        (change_nothing_but_the_place, False),
        (lambda job, plan: (replace(job, contrast="t2star"), plan), True),
        (lambda job, plan: (replace(job, mask=job.source), plan), True),
        (lambda job, plan: (job, replace(plan, point="sensitive")), True),
        (lambda job, plan: (job, replace(plan, wanted=Wanted(picture=False))), True),
        (lambda job, plan: (job, replace(plan, memory_gb=2.0)), False),
    ],
)
def test_what_a_result_depends_on_makes_it_run_again(change, again, job, plan, runs):
    run_job(job, plan)
    job, plan = change(job, plan)
    assert run_job(job, plan).status == ("done" if again else "unchanged")
    assert len(runs) == 1 + again
    assert {*record(job, plan)["files"], "sub-1/sub-1_space-swi_cmb.json"} == files(plan)


def test_the_sidecar_counts_where_the_contrast_is_guessed(job, plan, runs):
    job = replace(job, contrast="auto")
    run_job(job, plan)
    sidecar = job.source.with_name("sub-1_swi.json")
    sidecar.write_text('{"SeriesDescription": "QSM"}')
    assert run_job(job, plan).status == "done"
    assert run_job(job, plan).status == "unchanged"


def test_other_networks_make_it_run_again(job, plan, runs, monkeypatch):
    run_job(job, plan)
    worker._tools.cache_clear()
    tools = worker.load_tools("slim", "balanced", 1, 0.8)
    card = replace(tools.models.card, files={"detector.onnx": "other"})
    other = replace(tools, models=replace(tools.models, card=card))
    monkeypatch.setattr(worker, "load_tools", lambda *_: other)
    assert run_job(job, plan).status == "done"
    worker._tools.cache_clear()


class Killed(BaseException):
    """Stands in for SIGKILL: nothing after it is run."""


@pytest.mark.parametrize("moves", range(7))
def test_killed_between_two_renames_there_is_no_result(moves, job, plan, runs, monkeypatch):
    run_job(job, plan)
    job.source.write_text("5")
    left = iter(range(moves))

    def move(source: Path, target: Path):
        if next(left, None) is None:
            raise Killed
        source.replace(target)

    def killed(made, job, out, key):
        publish(made, job, out, key, move)

    with monkeypatch.context() as patch:
        patch.setattr(worker, "publish", killed)
        if moves < 7:  # six files and the record
            with pytest.raises(Killed):
                run_job(job, plan)
    assert not result_paths(job.stem, plan.out / job.folder).report.exists()
    assert run_job(job, plan).status == "done"
    written = {(plan.out / name).read_text() for name in record(job, plan)["files"]}
    assert written == {"5"}


def test_a_bad_scan_is_a_failure_and_is_not_tried_again(job, plan, runs):
    job.source.write_text("noise")
    for _ in range(2):
        outcome = run_job(job, plan)
        assert outcome.status == "failed" and "holds noise" in outcome.problem
    assert len(runs) == 1
    assert files(plan) == {"failures/sub-1/sub-1_space-swi.json"}
    run_job(job, replace(plan, retry_failed=True))
    assert len(runs) == 2


def test_a_scan_is_either_a_result_or_a_failure(job, plan, runs):
    for text, result in (("3", True), ("noise", False), ("4", True)):
        job.source.write_text(text)
        run_job(job, plan)
        assert result_paths(job.stem, plan.out / job.folder).report.exists() == result
        assert failure_path(plan.out, job).exists() != result
        assert result or files(plan) == {"failures/sub-1/sub-1_space-swi.json"}


def test_a_mask_that_would_be_written_over_is_kept(job, plan, runs):
    """The corrected brain mask of an earlier run, left where that run wrote it."""
    run_job(job, plan)
    mask = result_paths(job.stem, plan.out / job.folder).brain
    mask.write_bytes(b"corrected by hand")
    outcome = run_job(replace(job, mask=mask), plan)
    assert outcome.status == "failed" and "copy the mask elsewhere" in outcome.problem
    assert mask.read_bytes() == b"corrected by hand" and len(runs) == 1


def test_a_missing_scan_is_looked_for_again(job, plan, runs):
    job.source.unlink()
    outcome = run_job(job, plan)
    assert outcome.status == "failed" and "cannot be read" in outcome.problem
    job.source.write_text("2")
    assert run_job(job, plan).status == "done"


def test_a_result_outlives_its_scan(job, plan, runs):
    """As when `datalad drop` or a lost mount took the images away."""
    run_job(job, plan)
    before = files(plan)
    text = job.source.read_text()
    job.source.unlink()
    assert run_job(job, plan).status == "failed"
    assert files(plan) == before
    job.source.write_text(text)
    assert run_job(job, plan).status == "unchanged"


def raising(error):
    def detect_file(*_):
        raise error

    return detect_file


@pytest.mark.parametrize(
    ("error", "said", "lasting"),
    [
        (MemoryError(), "needs more memory", True),
        (IndexError("index 3 is\nout of bounds"), "error in the program.*index 3 is out", True),
        (OSError(errno.EIO, "Input/output error"), "Input/output error", False),
    ],
)
def test_errors_of_the_program_and_of_the_system_are_failures_too(
    error, said, lasting, job, plan, monkeypatch
):
    monkeypatch.setattr(worker, "detect_file", raising(error))
    outcome = run_job(job, plan)
    assert outcome.status == "failed"
    failure = read_failure(plan.out, job)
    assert re.search(said, failure.sentence) and "\n" not in failure.sentence
    assert (failure.key is not None) == lasting
    assert ("Traceback" in failure.traceback) == ("in the program" in failure.sentence)


def test_a_full_disk_stops_the_run_and_blames_no_scan(job, plan, runs, monkeypatch):
    full = OSError(errno.ENOSPC, "No space left on device")

    def detect_file(source, paths, *_):
        try:
            raise full
        except OSError as error:
            raise UserError(f"{paths.mask} cannot be written.") from error

    monkeypatch.setattr(worker, "detect_file", detect_file)
    with pytest.raises(RunStoppedError, match="no space left"):
        run_job(job, plan)
    assert files(plan) == set()


def test_no_room_for_the_failure_itself_stops_the_run(job, plan, runs, monkeypatch):
    job.source.write_text("noise")
    full = raising(OSError(errno.ENOSPC, "No space left on device"))
    monkeypatch.setattr(worker, "keep_failure", full)
    with pytest.raises(RunStoppedError, match="no space left"):
        run_job(job, plan)


def test_a_worker_that_outlived_its_run_blames_no_scan(job, plan, runs):
    plan.scratch.rmdir()
    with pytest.raises(RunStoppedError, match="over"):
        run_job(job, plan)
    assert files(plan) == set()


def test_results_of_a_bids_dataset_name_their_scan(job, plan, runs):
    plan = replace(plan, raw=job.source.parents[1], link="raw")
    run_job(job, plan)
    sidecar = plan.out / "sub-1" / "sub-1_space-swi_label-CMB_mask.json"
    said = json.loads(sidecar.read_text())
    assert said["SpatialReference"] == "bids:raw:sub-1/sub-1_swi.nii.gz"
    assert said["Sources"][1] == "bids::sub-1/sub-1_space-swi_desc-brain_mask.nii.gz"
    assert sidecar.relative_to(plan.out).as_posix() in record(job, plan)["files"]
