"""What a cohort shows: failures and the end where nobody looks, one line a scan as JSON."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import pytest
from rich.console import Console

from microbleeds.study import terminal
from microbleeds.study.cluster import Resources
from microbleeds.study.cohort import CohortSettings
from microbleeds.study.job import JobOutcome
from microbleeds.study.scans import Selection

OUTCOMES = (
    JobOutcome(Path("a.nii"), "done", 3, seconds=2.0),
    JobOutcome(Path("b.nii"), "unchanged", 0),
    JobOutcome(Path("c.nii"), "failed", None, "c.nii is empty."),
)


@pytest.fixture
def run(monkeypatch, tmp_path):
    """The run without any scan; returns how many failed, whether tables, what Dask was told."""

    def run(cores=1, **options):
        tables, told = [], []

        def detect_cohort(dataset, out, selection, settings, resources, on_start, on_scan):
            told.append(resources)
            link = "http://127.0.0.1:8787/status"
            client = SimpleNamespace(dashboard_link=link)
            on_start(SimpleNamespace(client=client, cores=lambda: cores))
            for outcome in OUTCOMES:
                on_scan(outcome)

        monkeypatch.setattr(terminal, "detect_cohort", detect_cohort)
        monkeypatch.setattr(
            terminal, "group_and_show", lambda out, quiet: tables.append((out, quiet))
        )
        (tmp_path / "a.nii").touch()
        where = (tmp_path, tmp_path / "out", Selection(), CohortSettings(), Resources())
        return terminal.cohort_with_progress(*where, **options), bool(tables), told[0]

    return run


def test_without_a_terminal_there_is_one_line(run, capsys):
    failed, tables, resources = run()
    assert (failed, tables, resources.dashboard) == (1, True, False)
    said = capsys.readouterr()
    assert said.out.startswith("1 done, 1 unchanged, 1 failed; results in")
    assert said.out.count("\n") == 1 and "failures" in said.err
    assert "c.nii is empty." in said.err  # the only place where a scan has an older result


def test_that_there_is_no_worker_yet_is_said(run, capsys):
    run(cores=0)
    assert "No worker has joined" in capsys.readouterr().err


def test_json_is_a_line_a_scan_and_a_summary(run, capsys):
    run(as_json=True, group=False)
    said = capsys.readouterr()
    lines = [json.loads(line) for line in said.out.splitlines()]
    assert lines[0] == {
        "source": "a.nii", "status": "done", "microbleeds": 3, "problem": "", "seconds": 2.0,
    }  # fmt: skip
    assert lines[-1]["summary"] == {"done": 1, "unchanged": 1, "failed": 1}
    assert len(lines) == 4 and not said.err


def test_on_a_terminal_there_are_the_dashboard_and_the_failures(run, monkeypatch, capsys):
    screen = Console(force_terminal=True, width=80, record=True)
    monkeypatch.setattr(terminal, "errors", screen)
    _, tables, resources = run(group=False)
    assert resources.dashboard and not tables
    said = screen.export_text()
    assert "127.0.0.1:8787" in said and "c.nii is empty." in said
