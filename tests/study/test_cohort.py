"""Cohorts on a real Dask: what becomes of each scan, of lost workers, and of a second run."""

from __future__ import annotations

import json
import os
import shutil
import signal
from collections import Counter
from pathlib import Path, PurePosixPath

import pytest

from microbleeds.run import Wanted
from microbleeds.study.cluster import Connection, Resources, connect
from microbleeds.study.cohort import run_jobs
from microbleeds.study.failures import read_failure
from microbleeds.study.job import JobOutcome, Plan, ScanJob
from microbleeds.study.scratch import SCRATCH
from microbleeds.study.worker import RunStoppedError

from ..conftest import run

distributed = pytest.importorskip("distributed")


@pytest.fixture(scope="module")
def client():
    """A scheduler and a worker in this process, which start at once."""
    with (
        distributed.LocalCluster(
            n_workers=1, threads_per_worker=1, processes=False, dashboard_address=None
        ) as cluster,
        distributed.Client(cluster) as client,
    ):
        yield client


@pytest.fixture
def plan(tmp_path):
    return Plan(tmp_path, tmp_path, "slim", "balanced", 0.8, Wanted())


def jobs(number: int):
    return (ScanJob(Path(f"{n}"), "swi", PurePosixPath(), f"{n}") for n in range(number))


def test_every_scan_is_counted_and_told_once(client, plan):
    told = []
    run_jobs(
        Connection(client, lambda: 2), jobs(30), plan, told.append,
        lambda job, plan: JobOutcome(job.source, "failed" if int(job.stem) % 3 else "done"),
    )  # fmt: skip
    assert Counter(outcome.status for outcome in told) == {"done": 10, "failed": 20}
    assert sorted(int(outcome.source.name) for outcome in told) == list(range(30))


def test_only_a_few_scans_a_core_are_taken_ahead(client, plan):
    taken, ended, ahead = 0, 0, []

    def counted():
        nonlocal taken
        for job in jobs(40):
            taken += 1
            yield job

    def on_scan(outcome):
        nonlocal ended
        ended += 1
        ahead.append(taken - ended)

    run_jobs(
        Connection(client, lambda: 2), counted(), plan, on_scan,
        lambda job, plan: JobOutcome(job.source, "done"),
    )  # fmt: skip
    assert ended == 40 and max(ahead) < 8


def test_what_stops_the_run_comes_out(client, plan):
    def full(job, plan):
        raise RunStoppedError("There is no space left.")

    with pytest.raises(RunStoppedError, match="no space left"):
        run_jobs(Connection(client, lambda: 1), jobs(20), plan, print, full)


def test_no_cohort_is_a_cohort(client, plan):
    told = []
    run_jobs(Connection(client, lambda: 1), jobs(0), plan, told.append)
    assert not told


def test_scans_wait_for_workers_that_have_not_joined_yet(client, plan):
    told = []
    run_jobs(
        Connection(client, lambda: 0), jobs(5), plan, told.append,
        lambda job, plan: JobOutcome(job.source, "done"),
    )  # fmt: skip
    assert len(told) == 5


def test_a_scan_that_kills_its_workers_is_a_failure_that_the_next_run_tries_again(plan):
    def deadly(job, plan):
        if job.stem == "1":
            os.kill(os.getpid(), signal.SIGKILL)
        return JobOutcome(job.source, "done")

    told = []
    with connect(Resources(workers=1, retries=1)) as connection:
        run_jobs(connection, jobs(3), plan, told.append, deadly)
    assert Counter(outcome.status for outcome in told) == {"done": 2, "failed": 1}
    (lost,) = (outcome for outcome in told if outcome.status == "failed")
    assert "lost its worker 2 times" in lost.problem
    failure = read_failure(plan.out, next(job for job in jobs(3) if job.stem == "1"))
    assert failure.sentence == lost.problem and failure.key is None


@pytest.fixture
def study(simulated, tmp_path):
    """A BIDS dataset of a head and a broken scan."""
    for subject in ("sub-01", "sub-02"):
        (tmp_path / "study" / subject / "anat").mkdir(parents=True)
    shutil.copy(simulated / "sub-01_T2starw.nii.gz", tmp_path / "study" / "sub-01" / "anat")
    (tmp_path / "study" / "sub-02" / "anat" / "sub-02_swi.nii.gz").write_text("no scan")
    (tmp_path / "study" / "dataset_description.json").write_text("{}")
    return tmp_path / "study"


def rows(path):
    return path.read_text().splitlines()[1:]


def test_the_command_detects_once_and_says_so(study, tmp_path, capfd):
    out = tmp_path / "out"
    words = ("cohort", study, "-o", out, "--workers", 2, "--json")
    assert run(*words) == 2
    said = [json.loads(line) for line in capfd.readouterr().out.splitlines()]
    assert said[-1]["summary"] == {"done": 1, "unchanged": 0, "failed": 1}
    by_name = {Path(line["source"]).name: line for line in said[:-1]}
    assert by_name["sub-02_swi.nii.gz"]["status"] == "failed"
    record = out / "sub-01" / "anat" / "sub-01_space-T2starw_cmb.json"
    count = json.loads(record.read_text())["microbleeds"]
    assert by_name["sub-01_T2starw.nii.gz"]["microbleeds"] == count > 0
    assert record.with_suffix(".html").exists()
    assert json.loads((out / "dataset_description.json").read_text())["DatasetLinks"]
    assert not (out / SCRATCH).exists()
    assert [row.split("\t")[2] for row in rows(out / "group.tsv")] == ["sub-01_space-T2starw"]
    (failed,) = rows(out / "failures.tsv")
    assert by_name["sub-02_swi.nii.gz"]["problem"] in failed
    before = record.stat().st_mtime_ns
    (study / "sub-02" / "anat" / "sub-02_swi.nii.gz").unlink()
    assert run(*words) == 0
    said = json.loads(capfd.readouterr().out.splitlines()[-1])
    assert said["summary"] == {"done": 0, "unchanged": 1, "failed": 0}
    assert record.stat().st_mtime_ns == before
    (out / "group.tsv").unlink()
    app = ("bids-app", study, out, "participant", "--participant-label", "01", "sub-02")
    assert run(*app) == 0
    assert "0 done, 1 unchanged" in capfd.readouterr().out
    assert not (out / "group.tsv").exists()  # the level of the group makes it
    assert run("bids-app", study, out, "group") == 0 and len(rows(out / "group.tsv")) == 1
    assert "1 scan" in capfd.readouterr().out
