"""A folder of results put together: what is counted, what is refused, and with how much memory."""

from __future__ import annotations

import csv
import json
import os
import re
import runpy
import shutil
import subprocess
import tracemalloc
from pathlib import Path

import pytest

from microbleeds.errors import UserError
from microbleeds.mni.atlas import GROUPS, REGIONS
from microbleeds.report.bids import output_paths
from microbleeds.report.dataset import write_dataset
from microbleeds.report.saved import find_records
from microbleeds.study.group import write_group
from microbleeds.study.group_table import COLUMNS

BENCHMARK = runpy.run_path(str(Path(__file__).parents[2] / "benchmarks" / "group.py"))
fabricate = BENCHMARK["fabricate"]
VALIDATOR = shutil.which("bids-validator-deno")


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    """Forty made-up results and three failures, not yet put together; not to be changed."""
    out = tmp_path_factory.mktemp("made")
    fabricate(out, 40)
    return out


@pytest.fixture
def out(made, tmp_path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "out"))


def table(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file, delimiter="\t"))


def records(out: Path) -> dict[str, dict]:
    paths = sorted(out.rglob("sub-*_cmb.json"))
    return {path.relative_to(out).as_posix(): json.loads(path.read_text()) for path in paths}


def change(path: Path, **values) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def test_every_record_is_a_row_in_order(out):
    summary = write_group(out)
    rows, said = table(summary.table), records(out)
    assert (summary.scans, summary.failed) == (40, 3)
    assert [row["record"] for row in rows] == list(said)
    for row, record in zip(rows, said.values(), strict=True):
        assert int(row["microbleeds"]) == record["microbleeds"]
        assert row["burden"] == record["burden"]
        assert int(row["definite"]) == record["definite"] <= record["microbleeds"]
        assert float(row["volume_mm3"]) == pytest.approx(record["volume_mm3"], rel=1e-5)
        assert float(row["voxel_k_mm"]) == record["voxel_mm"][2]
        assert row["flags"] == (",".join(record["flags"]) or "n/a")
        assert float(row["seconds"]) == pytest.approx(sum(record["seconds"].values()), rel=1e-4)
        if record["regions"] is None:
            assert {row[group] for group in GROUPS} == {"n/a"}
        else:
            assert sum(int(row[group]) for group in GROUPS) == record["microbleeds"]
            places = [row[region.replace(" ", "_")] for region in REGIONS]
            assert [int(cell) for cell in places] == [record["regions"][r] for r in REGIONS]
    assert any(record["regions"] is None for record in said.values())


def test_the_sidecar_describes_every_column(out):
    summary = write_group(out)
    columns = summary.table.read_text().splitlines()[0].split("\t")
    sidecar = json.loads(summary.table.with_suffix(".json").read_text())
    assert columns == list(sidecar) == list(COLUMNS)
    assert all(about["Description"] for about in sidecar.values())
    assert {about["Units"] for name, about in sidecar.items() if name.endswith("_mm")} == {"mm"}


def test_only_the_times_differ_when_the_scans_are_run_again_in_another_order(out, tmp_path):
    again = tmp_path / "again"
    paths = [path for path in out.rglob("*") if path.is_file()]
    for path in reversed(paths):
        copy = again / path.relative_to(out)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, copy)
        if path.name.endswith("_cmb.json"):
            seconds = json.loads(path.read_text())["seconds"]
            change(copy, seconds={step: 2 * s for step, s in seconds.items()})
    first, second = write_group(out), write_group(again)
    timed = [name for name in COLUMNS if name.startswith("seconds")]
    assert list(COLUMNS)[-len(timed) :] == timed
    cut = [
        [line.split("\t")[: -len(timed)] for line in made.table.read_text().splitlines()]
        for made in (first, second)
    ]
    assert cut[0] == cut[1] and first.table.read_bytes() != second.table.read_bytes()
    assert (out / "failures.tsv").read_bytes() == (again / "failures.tsv").read_bytes()


def test_a_second_time_nothing_changes(out):
    write_group(out)
    before = {path.name: path.read_bytes() for path in out.iterdir() if path.is_file()}
    write_group(out)
    assert before == {path.name: path.read_bytes() for path in out.iterdir() if path.is_file()}
    assert set(before) == {
        "failures.tsv", "group.html", "group.json", "group.tsv", "group_provenance.json"
    }  # fmt: skip


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (lambda path: path.write_text("{"), "cannot be read as JSON"),
        (lambda path: path.write_text("[" * 100_000), "cannot be read as JSON"),
        (lambda path: path.write_bytes(b"\xff\xfe"), "cannot be read as JSON"),
        (lambda path: path.write_text("[]"), "no record of results"),
        (lambda path: path.write_text('{"version": "0.0.1"}'), "version 0.0.1 and says nothing"),
        (
            lambda path: change(path, microbleeds=3, definite=0, burden="0", candidates=9),
            "burden class '0'",
        ),
        (lambda path: change(path, microbleeds=-1), "microbleeds is -1, no count"),
        (lambda path: change(path, definite=99), "99 definite microbleeds"),
        (lambda path: change(path, brain_cm3=float("nan")), "brain_cm3 is nan, no number"),
        (lambda path: change(path, volume_mm3=10**400), "too large"),
        (lambda path: change(path, candidates=10**400), "candidates is 1000"),
        (lambda path: change(path, regions={"frontal": 1}), "it lacks 'brainstem'"),
        (lambda path: change(path, regions=dict.fromkeys(REGIONS, 9)), "more microbleeds in reg"),
        (lambda path: change(path, confidence=None), "does not write"),
        (lambda path: change(path, contrast="t1"), "the contrast 't1'"),
        (lambda path: change(path, flags=["a\tb"]), "no plain words"),
        (lambda path: change(path, pattern="\ud800"), "no plain words"),
        (lambda path: path.with_name("sub-00007_seg-CMB_dseg.tsv").unlink(), "dseg.tsv is missing"),
    ],
)
def test_a_result_that_cannot_be_used_is_a_failure(out, damage, sentence):
    (path,) = out.rglob("sub-00007_cmb.json")
    damage(path)
    summary = write_group(out)
    assert (summary.scans, summary.failed) == (39, 4)
    (row,) = [row for row in table(out / "failures.tsv") if row["name"] == "sub-00007"]
    assert sentence in row["sentence"] and row["sentence"].endswith("run detect again.")
    assert str(out) not in row["sentence"]  # wherever the folder lies, the table is the same
    assert "sub-00007" not in summary.table.read_text()


def test_failures_are_sorted_and_kept_even_when_unreadable(out):
    (out / "failures" / "a.json").write_text("{")
    (out / "failures" / "sub-1").mkdir()
    said = {"source": "x\ty.nii", "contrast": "swi", "sentence": "two\nlines", "key": None}
    (out / "failures" / "sub-1" / "b.json").write_text(json.dumps(said))
    (out / "failures" / "sub-1" / "like_cmb.json").write_text(json.dumps(said))
    write_group(out)
    rows = table(out / "failures.tsv")
    names = [row["name"] for row in rows]
    assert names == sorted(names) and names[:3] == ["a", "b", "like_cmb"] and len(rows) == 6
    assert rows[0]["sentence"].endswith("run the scan again.") and rows[0]["contrast"] == "n/a"
    assert rows[1] == {"name": "b", "contrast": "swi", "source": "x�y.nii", "sentence": "two lines"}


def test_failures_of_cohorts_in_folders_below_are_told(out, tmp_path):
    every = tmp_path / "every"
    for site in ("a", "b"):
        shutil.copytree(out, every / "sites" / site)
    summary = write_group(every)
    assert (summary.scans, summary.failed) == (80, 6)
    single, both = (
        table(folder / "failures.tsv") for folder in (write_group(out).table.parent, every)
    )
    assert both == [row for row in single for _ in range(2)]


def test_the_table_of_failures_is_there_without_any(out):
    shutil.rmtree(out / "failures")
    assert write_group(out).failed == 0
    assert (out / "failures.tsv").read_text() == "name\tcontrast\tsource\tsentence\n"


def test_only_failures(out):
    for folder in out.glob("sub-*"):
        shutil.rmtree(folder)
    summary = write_group(out)
    assert (summary.scans, summary.failed) == (0, 3)
    assert "No scan has a result" in summary.page.read_text()


def test_hidden_folders_and_links_are_passed_by(out, tmp_path):
    elsewhere = Path(shutil.move(out / "sub-00001", tmp_path / "elsewhere"))
    (out / "sub-00001").symlink_to(elsewhere)
    (out / "linked_cmb.json").symlink_to(next(elsewhere.rglob("*_cmb.json")))
    shutil.move(out / "sub-00002", out / ".scratch")
    (out / "sub-00003" / "round").symlink_to(out)
    assert write_group(out).scans == 38


def test_a_folder_that_cannot_be_read_is_said(out, monkeypatch):
    scandir = os.scandir

    def locked(folder):
        if Path(folder).name == "sub-00004":
            raise PermissionError(13, "Permission denied")
        return scandir(folder)

    monkeypatch.setattr(os, "scandir", locked)
    assert write_group(out).scans == 39
    (row,) = [row for row in table(out / "failures.tsv") if row["name"] == "sub-00004"]
    assert "Permission denied" in row["sentence"]


def test_flat_folders_and_names_that_are_not_of_bids(out, tmp_path):
    flat = tmp_path / "flat"
    flat.mkdir()
    for path in out.rglob("sub-*_*"):
        if path.is_file() and "failures" not in path.parts:
            shutil.copy(path, flat / path.name.replace("sub-00003_", "Grüße 3_"))
    for end in ("_cmb.json", "_seg-CMB_dseg.tsv"):
        (flat / f"sub-00005{end}").rename(flat / os.fsdecode(b"bad\xff" + end.encode()))
    rows = table(write_group(flat).table)
    assert [row["record"] for row in rows][:2] == ["Grüße 3_cmb.json", "bad�_cmb.json"]
    assert (rows[0]["participant_id"], rows[0]["session_id"]) == ("n/a", "n/a")
    assert rows[2]["participant_id"] == "sub-00000"


def test_a_name_with_two_spaces_or_of_another_encoding_keeps_its_link(out):
    (path,) = out.rglob("sub-00007_cmb.json")
    names = "two  spaces", os.fsdecode(b"bad\xff")
    for name in names:
        for end in ("_cmb.json", "_seg-CMB_dseg.tsv"):
            shutil.copy(path.with_name(f"sub-00007{end}"), out / f"{name}{end}")
        (out / f"{name}_cmb.html").touch()
        most = {"microbleeds": 90, "definite": 80, "candidates": 99, "burden": "more than 10"}
        change(out / f"{name}_cmb.json", **most)
    summary = write_group(out)
    rows = {row["record"]: row["scan"] for row in table(summary.table)}
    assert rows["two  spaces_cmb.json"] == "two  spaces" and rows["bad�_cmb.json"] == "bad�"
    links = re.findall(r'href="([^"]+_cmb.html)"', summary.page.read_text())
    assert {"two%20%20spaces_cmb.html", "bad%FF_cmb.html"} <= set(links)


def test_no_folder_and_no_results(tmp_path):
    with pytest.raises(UserError, match="There is no folder"):
        write_group(tmp_path / "nowhere")
    with pytest.raises(UserError, match="holds no results of detect"):
        write_group(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_its_own_files_are_no_results(out):
    write_group(out)
    assert write_group(out).scans == 40 == len(find_records(out))


def test_what_is_mixed_is_warned_of(out):
    assert json.loads(write_group(out).provenance.read_text())["warnings"] == []
    paths = sorted(out.rglob("sub-*_cmb.json"))
    change(paths[0], version="0.0.9")
    change(paths[1], brain_mask="/my/mask.nii.gz")
    for n, path in enumerate(paths[2:32]):
        settings = json.loads(path.read_text())["settings"]
        settings["discriminate"]["threshold"] = n / 100
        change(path, settings=settings)
    settings = json.loads(paths[33].read_text())["settings"]
    change(paths[33], settings=settings | {"threads": 7})  # changes no result
    summary = write_group(out)
    said = json.loads(summary.provenance.read_text())
    words = [re.match(r"(.*) different (.*) are mixed", text) for text in said["warnings"]]
    assert [(found[1], found[2]) for found in words if found] == [
        ("2", "versions of microbleeds"),
        ("2", "kinds of brain mask"),
        ("more than 20", "sets of settings"),
    ]
    versions = said["results_made_with"]["version"]["seen"]
    assert versions == [{"scans": 1, "version": "0.0.9"}, {"scans": 39, "version": "0.1.0"}]
    assert len(said["results_made_with"]["settings"]["seen"]) == 20  # however many there are
    assert summary.page.read_text().count('<p class="warning">') == 3


def test_memory_does_not_grow_with_the_scans(out, tmp_path, monkeypatch):
    held = []

    def look_at_memory(*_) -> str:
        """Where all scans have gone by; pathlib's table of names is the whole process's."""
        without = [tracemalloc.Filter(False, "*pathlib*")]
        traces = tracemalloc.take_snapshot().filter_traces(without).statistics("filename")
        held.append(sum(trace.size for trace in traces))
        return ""

    monkeypatch.setattr("microbleeds.study.group.render", look_at_memory)
    base = json.loads(next(out.rglob("sub-00007_cmb.json")).read_text())

    def folder_of(scans: int) -> Path:
        where = tmp_path / f"{scans}"
        for number in range(scans):
            anat = where / f"sub-{number:04d}" / "anat" if number % 2 else where
            anat.mkdir(parents=True, exist_ok=True)
            stem = f"sub-{number:04d}"
            (anat / f"{stem}_seg-CMB_dseg.tsv").touch()
            said = base | {"brain_cm3": 1000.0 + number % 700}
            (anat / f"{stem}_cmb.json").write_text(json.dumps(said))
        return where

    for folder in (folder_of(50), folder_of(2000)):
        tracemalloc.start()
        write_group(folder)
        tracemalloc.stop()
    few, many = held
    assert many < 2.5 * few, held  # the lists of outlying scans fill; kept rows would be 20 times


@pytest.mark.skipif(VALIDATOR is None, reason="bids-validator-deno (PyPI) is not installed")
def test_the_validator_has_nothing_against_the_files_of_the_group(tmp_path):
    out = tmp_path / "out"
    fabricate(out, 2)
    for path in find_records(out):
        stem = path.name.removesuffix("_cmb.json")
        write_dataset(out, tmp_path / "raw" / f"{stem}_swi.nii.gz", output_paths(stem, path.parent))
    own = write_group(out)
    names = {path.name for path in (own.table, own.page, own.provenance)}
    names |= {"group.json", "failures.tsv", "failures"}

    def complaints() -> set[str]:
        done = subprocess.run(
            [VALIDATOR, out, "--format", "json"], capture_output=True, text=True, check=False
        )
        issues = json.loads(done.stdout)["issues"]["issues"]
        return {Path(issue.get("location", "")).name for issue in issues} & names

    assert complaints() == set()
    (out / ".bidsignore").unlink()
    assert complaints() == names  # it did look
