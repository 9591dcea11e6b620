"""Cluster files, and the job script that dask-jobqueue makes of them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from microbleeds.errors import UserError
from microbleeds.study.batch import job_script, read_cluster_file

pytest.importorskip("dask_jobqueue")
DOCS = Path(__file__).parents[2] / "docs" / "cohort.md"
SLURM = re.search(r"```toml\n(.*?)```", DOCS.read_text(encoding="utf-8"), re.S)[1]


@pytest.fixture
def file(tmp_path):
    def write(text: str) -> Path:
        path = tmp_path / "cluster.toml"
        path.write_text(text)
        return path

    return write


def comparable(script: str) -> list[str]:
    """Lines without what differs between machines: addresses, folders, names."""
    script = re.sub(r"tcp://\S+", "tcp://ADDRESS", script)
    return [re.sub(r"^\S+/python[0-9.]*", "python", line) for line in script.strip().splitlines()]


def test_the_job_script_is_the_one_in_the_docs(file):
    script = job_script(file(SLURM))
    shown = re.search(r"```sh\n(#!/usr/bin/env bash\n.*?)```", DOCS.read_text("utf-8"), re.S)[1]
    assert comparable(script) == comparable(shown)


def test_a_job_has_one_single_threaded_worker_a_core(file):
    script = job_script(file(SLURM))
    assert "#SBATCH --cpus-per-task=16" in script
    assert "--nthreads 1" in script and "--nworkers 16" in script
    assert "export OMP_NUM_THREADS=1" in script
    assert "export DASK_DISTRIBUTED__WORKER__MEMORY__PAUSE=False" in script


@pytest.mark.parametrize(
    ("system", "options", "line"),
    [
        ("PBS", "", "#PBS -l select=1:ncpus=2"),
        ("LSF", "", "#BSUB -n 2"),
        ("sge", "", "#$ -N"),
        ("HTCondor", 'disk = "2GB"', "RequestCpus"),
    ],
)
def test_every_batch_system_has_its_script(system, options, line, file):
    text = f'system = "{system}"\nmaximum = 4\n[options]\ncores = 2\nmemory = "8GB"\n{options}\n'
    assert line in job_script(file(text))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("system = ", "cannot be read as TOML"),
        ('system = "Cray"\nmaximum = 2', "'Cray'; one of SLURM"),
        ('system = "SLURM"\nworkers = 2', "says 'workers'"),
        ('system = "SLURM"', "maximum None"),
        ('system = "SLURM"\nmaximum = 2\nminimum = 3', "no less than the minimum"),
        ('system = "SLURM"\nmaximum = 2\n[options]\ncores = 2', "needs 'cores' and 'memory'"),
        (
            'system = "SLURM"\nmaximum = 2\n[options]\ncores = 4\nmemory = "1GB"\nprocesses = 2',
            "leave 'processes' out",
        ),
        (
            'system = "SLURM"\nmaximum = 2\n[options]\ncores = 4\nmemory = "1GB"\n'
            'job_script_prologue = "module load x"',
            "'module load x' as job_script_prologue; a list",
        ),
    ],
)
def test_a_wrong_cluster_file_is_refused(text, said, file):
    with pytest.raises(UserError, match=said):
        read_cluster_file(file(text))


def test_an_option_that_the_system_lacks_is_refused(file):
    with pytest.raises(UserError, match="refuses the options for SLURM"):
        job_script(file(f"{SLURM}colour = 'blue'\n"))
    with pytest.raises(UserError, match="cannot be read"):
        read_cluster_file(Path("nowhere.toml"))
