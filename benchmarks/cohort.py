"""Cohorts: what the engine costs, and whether anything is lost when it is killed.

    python benchmarks/cohort.py data                 # 40 simulated scans, four of them broken
    python benchmarks/cohort.py kill-workers         # a worker killed every few seconds
    python benchmarks/cohort.py kill-run             # the whole run killed ten times, and resumed
    python benchmarks/cohort.py full-disk            # the disk full in the middle, then not
    python benchmarks/cohort.py throughput           # one worker against two
    python benchmarks/cohort.py cores                # the same of plain processes, without Dask
    python benchmarks/cohort.py overhead             # 10,000 tasks that do nothing
    python benchmarks/cohort.py memory               # of the main process, 40 to 4,000 stub scans

Everything is kept in work/cohort. Those that kill compare with a run that nothing disturbed: every
table and scan's page byte for byte and every image voxel for voxel, but for what tells seconds.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path, PurePosixPath
from typing import Annotated, Any

import nibabel as nib
import numpy as np
import psutil  # type: ignore[import-untyped]
import typer

from microbleeds import detect, load_brain, load_models, read_scan
from microbleeds.run import Wanted
from microbleeds.scan import write_nifti
from microbleeds.settings import Contrast
from microbleeds.simulate import HeadSettings
from microbleeds.simulate.anatomy import SHIPPED_ANATOMY, load_anatomy
from microbleeds.simulate.dataset import SUFFIX
from microbleeds.simulate.head import simulate_head
from microbleeds.simulate.scanner import Protocol
from microbleeds.study.cluster import Resources, connect
from microbleeds.study.cohort import run_jobs
from microbleeds.study.job import JobOutcome, Plan, ScanJob
from microbleeds.study.scans import Selection, find_scans

WORK = Path(__file__).parents[1] / "work" / "cohort"
DATA = WORK / "data"
CONTRASTS: tuple[Contrast, ...] = ("t2star", "swi", "qsm")
BASES = 2  # heads that are simulated; the others are these, shifted, with noise of their own
BROKEN = {4: "truncated", 13: "constant", 22: "4D", 31: "no NIfTI"}  # by number of the scan
SILENT: Any = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
app = typer.Typer(no_args_is_help=True, pretty_exceptions_enable=False)
Scans = Annotated[int, typer.Option(help="The first so many; a broken one is among ten")]


@app.command()
def data(scans: int = 40) -> None:
    """Simulate the scans: small grids, three contrasts in turn, one in ten broken."""
    begun = time.perf_counter()
    DATA.mkdir(parents=True, exist_ok=True)
    heads = []
    for number in range(BASES):
        protocol = Protocol(acquired_mm=1.2, pixel_mm=1.2, slice_mm=4.0, snr=40, te_ms=25)
        rng = np.random.default_rng([6, number])
        anatomy = load_anatomy(SHIPPED_ANATOMY)
        heads.append(simulate_head(anatomy, protocol, CONTRASTS, HeadSettings(), rng))
    for number in range(scans):
        contrast = CONTRASTS[number % 3]
        # in the QSM of the second head, at these coarse voxels, no brain is found
        head = heads[0 if contrast == "qsm" else number // 3 % BASES]
        path = scan_path(number)
        path.parent.mkdir(parents=True, exist_ok=True)
        rng = np.random.default_rng([7, number])
        image = head.images[contrast].astype(np.float32)
        image = image[int(rng.integers(4)) :, int(rng.integers(4)) :]
        image += 0.01 * image.std() * rng.standard_normal(image.shape).astype(np.float32)
        image = image if contrast == "qsm" else np.maximum(np.round(image), 0)
        write_broken(path, image, head.affine, BROKEN.get(number, ""))
    description = {"Name": "Simulated cohort", "BIDSVersion": "1.10.0"}
    (DATA / "dataset_description.json").write_text(json.dumps(description))
    size = sum(path.stat().st_size for path in DATA.rglob("*.nii.gz")) / scans / 1e6
    print(f"{scans} scans in {DATA}, {size:.1f} MB each, {time.perf_counter() - begun:.0f} s")


def scan_path(number: int) -> Path:
    """Where the scan of a number lies."""
    subject = f"sub-{number + 1:02d}"
    return DATA / subject / "anat" / f"{subject}_{SUFFIX[CONTRASTS[number % 3]]}.nii.gz"


def write_broken(path: Path, image: np.ndarray, affine: np.ndarray, how: str) -> None:
    """The scan, whole or broken in some way."""
    if how == "constant":
        image = np.full_like(image, 7)
    elif how == "4D":
        image = np.stack([image, image], axis=-1)
    write_nifti(path, image, affine)
    if how == "truncated":
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    elif how == "no NIfTI":
        path.write_bytes(b"no scan at all")


@app.command("kill-workers")
def kill_workers(scans: Scans = 40, every: float = 8.0, seed: int = 0) -> None:
    """A worker killed (SIGKILL) every so many seconds: the results are those of a quiet run."""
    expected, out = reference(scans), fresh(f"kill-workers-{scans}")
    rng, killed = np.random.default_rng(seed), 0
    run = subprocess.Popen(command(out, scans, "--retries", "30"), **SILENT)
    while run.poll() is None:
        time.sleep(every)
        found = workers_of(run.pid)
        if found:
            found[int(rng.integers(len(found)))].kill()
            killed += 1
    print(f"{killed} workers killed, exit code {run.returncode}")
    report(expected, out)


@app.command("kill-run")
def kill_run(scans: Scans = 40, times: int = 10, longest: float = 45.0, seed: int = 0) -> None:
    """The whole run killed (SIGKILL) at random moments, each time resumed, until it is through."""
    expected, out = reference(scans), fresh(f"kill-run-{scans}")
    rng, left = np.random.default_rng(seed), []
    for _ in range(times):
        run = subprocess.Popen(command(out, scans), **SILENT, start_new_session=True)
        try:
            run.wait(float(rng.uniform(1, longest)))
            break
        except subprocess.TimeoutExpired:
            os.killpg(run.pid, signal.SIGKILL)
            run.wait()
            left.append(len(list(out.rglob("*_cmb.json"))))
    print(f"killed {len(left)} times, with so many results: {', '.join(map(str, left))}")
    subprocess.run(command(out, scans), **SILENT, check=False)
    report(expected, out)


@app.command("full-disk")
def full_disk(scans: Scans = 10, megabytes: int = 3) -> None:
    """Results on a file system in memory: too small, then large enough. Mounting takes root."""
    expected, out = reference(scans), fresh(f"full-disk-{scans}")
    out.mkdir(parents=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", out], check=True)
    try:
        run = subprocess.run(command(out, scans), capture_output=True, text=True, check=False)
        results = len(list(out.rglob("*_cmb.json")))
        print(f"{megabytes} MB: exit code {run.returncode}, {results} results, says: {run.stderr}")
        subprocess.run(["mount", "-o", "remount,size=1g", out], check=True)
        run = subprocess.run(command(out, scans), capture_output=True, text=True, check=False)
        print(f"1 GB: exit code {run.returncode}, {run.stdout.strip()}")
        report(expected, out)
    finally:
        subprocess.run(["umount", out], check=True)


@app.command()
def throughput(scans: Scans = 40) -> None:
    """Scans a minute with one worker and with two, the broken ones left out."""
    rates = []
    for workers in (1, 2):
        out, begun = fresh(f"throughput-{workers}"), time.perf_counter()
        words = command(out, scans, "--json", workers=workers)
        said = subprocess.run(words, capture_output=True, text=True, check=False).stdout
        seconds = time.perf_counter() - begun
        done = json.loads(said.splitlines()[-1])["summary"]["done"]
        rates.append(60 * done / seconds)
        print(
            f"{workers} worker(s): {done} scans in {seconds:.0f} s, {rates[-1]:.2f} a minute, "
            f"{60 * rates[-1] / workers:.0f} a core-hour"
        )
    print(f"two against one: {rates[1] / rates[0]:.2f}")


@app.command()
def cores(repeats: int = 6) -> None:
    """One process that detects again and again, then two side by side: what two cores can give."""
    with ProcessPoolExecutor(2, get_context("spawn")) as pool:
        alone = pool.submit(seconds_a_scan, repeats).result()
        beside = list(pool.map(seconds_a_scan, (repeats, repeats)))
    told = ", ".join(f"{wall:.2f} s ({cpu:.2f} of CPU)" for wall, cpu in (alone, *beside))
    print(f"alone, then two at once: {told}; {2 * alone[0] / np.mean([b[0] for b in beside]):.2f}")


def seconds_a_scan(repeats: int) -> tuple[float, float]:
    """Wall and CPU seconds of `detect` in one thread, networks warm."""
    models, brain = load_models(threads=1), load_brain(threads=1)
    scan, settings = read_scan(scan_path(0)), models.card.settings(threads=1)
    detect(scan, models, brain, settings)
    wall, cpu = time.perf_counter(), time.process_time()
    for _ in range(repeats):
        detect(scan, models, brain, settings)
    return (time.perf_counter() - wall) / repeats, (time.process_time() - cpu) / repeats


@app.command()
def overhead(tasks: int = 10_000) -> None:
    """What the engine adds to a scan: tasks that do nothing."""
    with connect(Resources(workers=2)) as connection:
        run_jobs(connection, no_scans(100), plan(), lambda outcome: None, nothing)
        begun = time.perf_counter()
        run_jobs(connection, no_scans(tasks), plan(), lambda outcome: None, nothing)
    print(f"{tasks} empty tasks: {1000 * (time.perf_counter() - begun) / tasks:.2f} ms each")


@app.command()
def memory(most: int = 4000) -> None:
    """Of the main process after 40, 400 and 4,000 scans. No inference: a stub stands in for it."""
    out = fresh("memory")
    for number in range(most):
        folder = out / "data" / f"sub-{number:05d}" / "anat"
        folder.mkdir(parents=True)
        (folder / f"sub-{number:05d}_swi.nii.gz").touch()
    (out / "data" / "dataset_description.json").write_text("{}")
    main, seen = psutil.Process(), 0

    def on_scan(outcome: JobOutcome) -> None:
        nonlocal seen
        seen += 1
        if seen in (40, 400, 4000):
            print(f"{seen} scans: {main.memory_info().rss / 1e6:.0f} MB", flush=True)

    with connect(Resources(workers=2, dashboard=True)) as connection:
        jobs = find_scans(out / "data", Selection(), out / "results")
        run_jobs(connection, jobs, plan(), on_scan, stub_inference)


def nothing(job: ScanJob, plan: Plan) -> JobOutcome:
    """An empty task."""
    return JobOutcome(job.source, "done")


def stub_inference(job: ScanJob, plan: Plan) -> JobOutcome:
    """Stands in for detection: a moment passes, nothing is found."""
    time.sleep(0.01)
    return JobOutcome(job.source, "done", 0)


def no_scans(number: int) -> Iterator[ScanJob]:
    """Scans that are not there."""
    return (ScanJob(Path(f"{n}"), "auto", PurePosixPath(), f"{n}") for n in range(number))


def plan() -> Plan:
    """A plan that nobody follows."""
    return Plan(WORK, WORK, "slim", "balanced", 1.0, Wanted())


def command(out: Path, scans: int, *more: str, workers: int = 2) -> list[str]:
    """The first `scans` participants of the data detected in."""
    labels = [word for n in range(scans) for word in ("--participant-label", f"{n + 1:02d}")]
    words = ["cohort", str(DATA), "-o", str(out), "--workers", str(workers), *labels, *more]
    return [sys.executable, "-c", "from microbleeds.cli import main; main()", *words]


def reference(scans: int) -> Path:
    """Results of a run that nothing disturbed, made once."""
    out = WORK / f"reference-{scans}"
    begun = time.perf_counter()
    run = subprocess.run(command(out, scans), capture_output=True, text=True, check=False)
    print(f"reference: {run.stdout.strip()} ({time.perf_counter() - begun:.0f} s)", flush=True)
    return out


def fresh(name: str) -> Path:
    """A folder of that name in the work folder, not there yet."""
    shutil.rmtree(WORK / name, ignore_errors=True)
    return WORK / name


def workers_of(pid: int) -> list[psutil.Process]:
    """The worker processes of a run."""
    try:
        below = psutil.Process(pid).children(recursive=True)
        return [child for child in below if "spawn_main" in " ".join(child.cmdline())]
    except psutil.Error:
        return []


def report(expected: Path, out: Path) -> None:
    """Say whether two runs came to the same."""
    names = {path.relative_to(expected) for path in expected.rglob("*") if path.is_file()}
    other = {path.relative_to(out) for path in out.rglob("*") if path.is_file()}
    unlike = [str(n) for n in sorted(names & other) if content(expected / n) != content(out / n)]
    print(
        f"{len(names)} files: {len(names - other)} missing, {len(other - names)} too many, "
        f"{len(unlike)} unlike {', '.join(unlike[:5])}"
    )


def content(path: Path) -> Any:
    """What two runs must share of a file: all of it but timings and how it is compressed."""
    if path.name.endswith(".nii.gz"):
        image = nib.load(path)
        return np.asarray(image.dataobj).tobytes(), image.affine.tobytes()
    if path.suffix == ".json":
        return timeless(json.loads(path.read_text()))
    if path.suffix == ".tsv":
        rows = [line.split("\t") for line in path.read_text().splitlines()]
        kept = [n for n, name in enumerate(rows[0]) if "seconds" not in name]
        return [[row[n] for n in kept] for row in rows]
    if path.name == "group.html":  # has a chart of seconds
        return None
    if path.suffix == ".html":
        return re.sub(r"<td>[0-9.]+ s</td>", "", path.read_text())
    return path.read_bytes()


def timeless(said: Any) -> Any:
    """JSON without seconds."""
    if isinstance(said, dict):
        return {name: timeless(value) for name, value in said.items() if "seconds" not in name}
    return [timeless(item) for item in said] if isinstance(said, list) else said


if __name__ == "__main__":
    app()
