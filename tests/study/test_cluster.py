"""Workers as they are started, and schedulers that are not there."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from microbleeds.errors import UserError
from microbleeds.study.cluster import Resources, connect

pytest.importorskip("distributed")


def test_workers_have_one_thread_and_their_share_of_memory():
    with connect(Resources(workers=2, memory_limit_gb=1.5)) as connection:
        workers = connection.client.scheduler_info()["workers"].values()
        threads = connection.client.run(lambda: __import__("os").environ["OMP_NUM_THREADS"])
        assert connection.cores() == 2
        address = connection.client.scheduler.address
        with connect(Resources(scheduler=address)) as other:
            assert other.cores() == 2
    assert [(w["nthreads"], w["memory_limit"]) for w in workers] == [(1, 1_500_000_000)] * 2
    assert set(threads.values()) == {"1"}


@pytest.mark.parametrize("address", ["tcp://127.0.0.1:9", "nonsense://x"])
def test_no_scheduler_gets_one_sentence(address, monkeypatch):
    monkeypatch.setattr("microbleeds.study.cluster._PATIENCE_S", 1)
    with (
        pytest.raises(UserError, match="No Dask scheduler answers"),
        connect(Resources(scheduler=address)),
    ):
        pass


@pytest.fixture
def slurm(tmp_path, monkeypatch):
    """A cluster file, and commands of SLURM that do what they are told."""
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")

    def make(**commands: str) -> Path:
        for name, text in commands.items():
            (tmp_path / name).write_text(f"#!/bin/sh\n{text}\n")
            (tmp_path / name).chmod(0o755)
        file = tmp_path / "slurm.toml"
        file.write_text(
            'system = "SLURM"\nmaximum = 1\n[options]\ncores = 1\nmemory = "1GB"\n'
            'interface = "lo"\n'
        )
        return file

    return make


@pytest.mark.parametrize(
    ("sbatch", "said"),
    [
        ("echo 'sbatch: error: invalid partition' >&2; exit 1", "sbatch: error: invalid partition"),
        ("echo 'try again on Monday'", "try again on Monday"),
    ],
)
def test_a_batch_system_that_refuses_the_job_is_heard(slurm, sbatch, said):
    file = slurm(sbatch=sbatch)
    with (
        pytest.raises(UserError, match=rf"SLURM did not take the first job \(.*{said}.*slurm.toml"),
        connect(Resources(file=file)),
    ):
        pass


def test_without_a_batch_system_there_is_one_sentence(slurm, tmp_path, monkeypatch):
    file = slurm()
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UserError, match="sbatch"), connect(Resources(file=file)):
        pass


def test_a_batch_system_that_takes_the_job_works_and_is_told_to_stop(slurm, tmp_path):
    job, log, stopped = tmp_path / "job", tmp_path / "log", tmp_path / "stopped"
    file = slurm(
        sbatch=f'cp "$1" {job}; sh {job} >{log} 2>&1 & echo "job 77"',
        scancel=f'echo "$1" >{stopped}',  # the worker ends by itself with its scheduler
    )
    with connect(Resources(file=file)) as connection:
        assert connection.cores() == 1
        assert connection.client.submit(pow, 2, 5).result(timeout=100) == 32
    assert stopped.read_text() == "77\n"
