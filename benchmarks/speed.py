"""Speed and memory of `detect`, step by step, beside its floor and beside the released code.

    python benchmarks/speed.py                 # all four tables
    python benchmarks/speed.py --only released

Every run is a process of its own, begun cold. CPU-seconds count all its threads. `released.py` is
the released code stated again; ratios are of one run on one machine.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

ROOT = Path(__file__).parents[1]
SHARED = ROOT.parent / "shared"
REAL = SHARED / "real_dev"
ANATOMY = SHARED / "anatomy" / "training_seg_18.nii.gz"
# Voxels and voxel sizes (mm) of one head of about 205 x 205 x 128 mm, coarse to fine.
SIZES = (
    ((128, 128, 30), (1.6, 1.6, 4.3)),
    ((256, 256, 48), (0.8, 0.8, 2.7)),
    ((384, 384, 80), (0.53, 0.53, 1.6)),
    ((512, 512, 160), (0.4, 0.4, 0.8)),
)
HEAD = ((176, 208, 60), (0.8, 0.8, 2.0))  # the one that the released code was timed on
THREADS = (1, 2)
# What the span that the released code covers itself does not hold.
OUTSIDE = ("start and imports", "reading", "brain mask", "regions", "writing")
app = typer.Typer()


class Clock:
    """CPU- and wall-seconds by name."""

    def __init__(self) -> None:
        """Begins at once."""
        self.spent: dict[str, list[float]] = defaultdict(lambda: [0.0, 0.0])
        self.last = self._now()

    @staticmethod
    def _now() -> tuple[float, float]:
        return time.process_time(), time.perf_counter()

    def lap(self, name: str) -> None:
        """What passed since the last lap is `name`'s."""
        now = self._now()
        for kind in range(2):
            self.spent[name][kind] += now[kind] - self.last[kind]
        self.last = now

    @contextmanager
    def __call__(self, name: str) -> Iterator[None]:
        """What passes inside is `name`'s, and still that of the lap it lies in."""
        start = self._now()
        yield
        for kind, value in enumerate(self._now()):
            self.spent[name][kind] += value - start[kind]

    def around(self, module: Any, function: str, name: str) -> None:
        """From now on, calls of a module's function are timed."""
        inner = getattr(module, function)

        def timed(*arguments: Any, **options: Any) -> Any:
            with self(name):
                return inner(*arguments, **options)

        setattr(module, function, timed)


@app.command()
def ours(
    image: Path, threads: int = 1, mask: Annotated[Path | None, typer.Option()] = None
) -> None:
    """One scan through `detect` in this process; prints its figures as JSON."""
    clock = Clock()
    # Loaded where they are first needed; here before, as those of the released code are.
    for library in ("openvino", "SimpleITK", "scipy.spatial", "skimage.segmentation"):
        import_module(library)
    import microbleeds.prepare.prepare as preparation
    from microbleeds.models.engine import OnnxNetwork
    from microbleeds.run import detect_files

    for function, name in (
        ("correct_bias", "  bias"),
        ("to_grid", "  grid"),
        ("vesselness", "  vessels"),
        ("radial_symmetry", "  symmetry"),
    ):
        clock.around(preparation, function, name)
    batches: dict[str, int] = defaultdict(int)
    run = OnnxNetwork.run

    def counted(engine: OnnxNetwork, batch: np.ndarray[Any, Any], /) -> np.ndarray[Any, Any]:
        batches[engine.path.stem] += batch[:, 0].size
        with clock(f"  network {engine.path.stem}"):
            return run(engine, batch)

    OnnxNetwork.run = counted  # type: ignore[method-assign]
    steps = ["start and imports"]

    def on_step(source: Path, step: str) -> None:
        clock.lap(steps[-1])
        steps.append(step)

    with tempfile.TemporaryDirectory() as out:
        outcome = detect_files(
            [image], Path(out), mask=mask, threads=threads, on_step=on_step, contrast="t2star"
        )[0]
        clock.lap(steps[-1])
        written = sum(file.stat().st_size for file in Path(out).iterdir())
    if outcome.found is None or outcome.scan is None:
        raise SystemExit(outcome.error)
    voxel_cm3 = float(outcome.scan.spacing.prod()) / 1000
    print(
        json.dumps(
            {
                "spent": clock.spent,
                "batches": batches,
                "candidates": len(outcome.found.table),
                "brain_voxels": int(outcome.found.brain.sum()),
                "brain_cm3": float(outcome.found.brain.sum()) * voxel_cm3,
                "read_bytes": image.stat().st_size,
                "written_bytes": written,
                "peak_mb": _peak_mb(),
            }
        )
    )


@app.command()
def theirs(image: Path, mask: Path) -> None:
    """One scan through the released code stated again, one thread; prints its figures as JSON."""
    import torch
    from released import released

    from microbleeds.scan import read_mask, read_scan

    torch.set_num_threads(1)
    scan = read_scan(image, "t2star")
    brain = read_mask(mask, scan)
    clock = Clock()
    released(scan.voxels, brain, clock.lap)
    print(json.dumps({"spent": clock.spent, "peak_mb": _peak_mb()}))


def _peak_mb() -> float:
    """Of this process; what `getrusage` has includes its parent's before the start (Linux)."""
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(status["VmHWM"].split()[0]) / 1024


def child(command: str, *arguments: object, threads: int = 1) -> dict[str, Any]:
    """What a fresh process with that many threads measures."""
    limits = ("OMP_NUM_THREADS", "ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS")
    done = subprocess.run(
        [sys.executable, __file__, command, *map(str, arguments)],
        env=os.environ | dict.fromkeys(limits, str(threads)),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise SystemExit(f"{command} {arguments} failed: {done.stderr[-2000:]}")
    return json.loads(done.stdout.splitlines()[-1])  # type: ignore[no-any-return]


def whole_process(image: Path, threads: int) -> tuple[float, float]:
    """Wall seconds and CPU-seconds of the command itself, start to files written."""
    with tempfile.TemporaryDirectory() as out:
        start = time.perf_counter()
        process = subprocess.Popen(
            ["microbleeds", "detect", image, "-o", out, "--threads", str(threads)],
            stdout=subprocess.DEVNULL,
        )
        _, status, usage = os.wait4(process.pid, 0)
        wall = time.perf_counter() - start
    if status:
        raise SystemExit(f"detect failed on {image}")
    return wall, usage.ru_utime + usage.ru_stime


def resampled_heads(folder: Path) -> tuple[list[Path], list[Path]]:
    """One simulated whole head on the grids of `SIZES` and `HEAD`: images and brain masks."""
    from microbleeds.prepare.grid import Grid, to_grid
    from microbleeds.scan import write_nifti
    from microbleeds.simulate import HeadSettings
    from microbleeds.simulate.anatomy import load_anatomy
    from microbleeds.simulate.head import simulate_head
    from microbleeds.simulate.scanner import random_protocol

    rng = np.random.default_rng(4)
    settings = HeadSettings()
    head = simulate_head(load_anatomy(ANATOMY), random_protocol(rng), ("t2star",), settings, rng)
    middle = np.argwhere(head.brain).mean(axis=0) @ head.affine[:3, :3].T + head.affine[:3, 3]
    images, masks = [], []
    for shape, voxel in (*SIZES, HEAD):
        affine = np.diag([*voxel, 1.0])
        affine[:3, 3] = middle - np.array(voxel) * (np.array(shape) - 1) / 2
        grid = Grid(shape, affine)
        name = "x".join(map(str, shape))
        images.append(folder / f"{name}.nii.gz")
        masks.append(folder / f"{name}_mask.nii.gz")
        write_nifti(
            images[-1],
            np.rint(to_grid(head.images["t2star"], head.affine, grid, order=1)).astype(np.int16),
            affine,
        )
        brain = to_grid(head.brain, head.affine, grid, order=1) >= 0.5
        write_nifti(masks[-1], brain.astype(np.uint8), affine)
    return images, masks


def peak_rate(threads: int) -> float:
    """GMAC/s of OpenVINO here, the highest of matrix products and 3D convolutions."""
    import openvino
    from openvino import opset13 as op

    rng = np.random.default_rng(0)
    left = op.parameter((2048, 2048), np.float32)
    right = op.constant(rng.random((2048, 2048), np.float32))
    volume = op.parameter((1, 64, 48, 48, 24), np.float32)
    kernel = op.constant(rng.random((64, 64, 3, 3, 3), np.float32))
    same = ([1, 1, 1],) * 4
    convolution = op.convolution(volume, kernel, *same)
    trials = (
        (openvino.Model([op.matmul(left, right, False, False)], [left]), (2048, 2048), 2048**3),
        (openvino.Model([convolution], [volume]), (1, 64, 48, 48, 24), 48 * 48 * 24 * 64 * 64 * 27),
    )
    core, rates = openvino.Core(), []
    options = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": threads}
    for model, shape, macs in trials:
        compiled, data = core.compile_model(model, "CPU", options), rng.random(shape, np.float32)
        compiled(data)
        for _ in range(8):
            start = time.perf_counter()
            compiled(data)
            rates.append(macs / (time.perf_counter() - start) / 1e9)
    return max(rates)


def macs_per_voxel() -> dict[str, float]:
    """Multiply-adds of each shipped network for a voxel of its input."""
    import torch
    from build_regions import RegionNet
    from torch.utils.flop_counter import FlopCounterMode

    from microbleeds.mni.atlas import REGIONS, load_template
    from microbleeds.models.card import read_card
    from microbleeds.models.networks import Detector, Student
    from microbleeds.models.zoo import BRAIN_MODEL, DEFAULT_MODEL, WEIGHTS

    slim, brain = (read_card(WEIGHTS / name).networks for name in (DEFAULT_MODEL, BRAIN_MODEL))
    trials = {
        "brain": (Detector(brain), brain.in_channels, (64, 64, 64)),
        "detector": (Detector(slim), slim.in_channels, (64, 64, 32)),
        "student": (Student(slim), slim.patch_channels, slim.patch_shape),
        "regions": (RegionNet(), 3 + len(REGIONS), load_template().values.shape),
    }
    per_voxel = {}
    for name, (network, channels, shape) in trials.items():
        counter = FlopCounterMode(display=False)
        with counter, torch.inference_mode():
            network.eval()(torch.zeros(1, channels, *shape))
        per_voxel[name] = counter.get_total_flops() / 2 / float(np.prod(shape))
    return per_voxel


def show_steps(images: list[Path]) -> None:
    """Table 1: every step of every scan, one thread and two."""
    for image in images:
        runs = {n: child("ours", image, "--threads", n, threads=n) for n in THREADS}
        first = runs[THREADS[0]]
        print(
            f"\n{image.name}: {first['candidates']} candidates, brain {first['brain_cm3']:.0f} cm3"
        )
        columns = (f"CPU-s, {n} thread(s) | wall" for n in THREADS)
        print(f"| step | {' | '.join(columns)} |\n|---|{'---|---|' * len(THREADS)}")
        for step in first["spent"]:
            cells = (f"{value:.2f}" for run in runs.values() for value in run["spent"][step])
            print(f"| {step} | {' | '.join(cells)} |")
        for n in THREADS:
            wall, cpu = whole_process(image, n)
            peak = runs[n]["peak_mb"]
            print(f"whole command, {n} thread(s): {wall:.1f} s, {cpu:.1f} CPU-s, {peak:.0f} MB")


def show_floor(image: Path) -> None:
    """Table 2: the networks against multiply-adds over the measured peak rate, one thread."""
    run, rate, macs = child("ours", image, "--threads", 1), peak_rate(1), macs_per_voxel()
    read, written = run["read_bytes"] / 1e6, run["written_bytes"] / 1e6
    print(f"\n{image.name}: at best {rate:.0f} GMAC/s on one thread")
    print(f"read {read:.1f} MB, written {written:.1f} MB")
    print("| network | GMAC | floor, s | CPU-s | times the floor |\n|---|---|---|---|---|")
    rows = [
        (name, voxels * macs[name] / 1e9, run["spent"][f"  network {name}"][0])
        for name, voxels in run["batches"].items()
    ]
    for name, work, spent in [*rows, ("all", sum(r[1] for r in rows), sum(r[2] for r in rows))]:
        floor = work / rate
        print(f"| {name} | {work:.1f} | {floor:.2f} | {spent:.2f} | {spent / floor:.1f} |")


def show_growth(images: list[Path], masks: list[Path]) -> None:
    """Table 3: one head on finer and finer grids, the mask given."""
    print("\n| voxels | brain voxels, million | CPU-s | per million | peak MB |")
    print("|---|---|---|---|---|")
    for image, mask in zip(images, masks, strict=True):
        run = child("ours", image, "--threads", 1, "--mask", mask)
        cpu, million = sum(own_steps(run).values()), run["brain_voxels"] / 1e6
        name, peak = image.name.split(".")[0], run["peak_mb"]
        print(f"| {name} | {million:.2f} | {cpu:.1f} | {cpu / million:.1f} | {peak:.0f} |")


def show_released(image: Path, mask: Path) -> None:
    """Table 4: from the brain-extracted image to the mask, one thread each."""
    runs = {
        "released": child("theirs", image, mask),
        "ours": child("ours", image, "--threads", 1, "--mask", mask),
    }
    print(f"\n{image.name}\n| | step | CPU-s |\n|---|---|---|")
    totals = {}
    for who, run in runs.items():
        steps = {k: cpu for k, cpu in own_steps(run).items() if k not in OUTSIDE}
        for step, cpu in steps.items():
            print(f"| {who} | {step} | {cpu:.2f} |")
        totals[who] = sum(steps.values())
        print(f"| {who} | all ({run['peak_mb']:.0f} MB) | {totals[who]:.1f} |")
    print(f"{totals['released'] / totals['ours']:.0f} times less")


def own_steps(run: dict[str, Any]) -> dict[str, float]:
    """CPU-seconds of the steps, without the parts of them."""
    return {step: cpu for step, (cpu, _) in run["spent"].items() if not step.startswith(" ")}


@app.callback(invoke_without_command=True)
def tables(
    context: typer.Context,
    only: Annotated[str, typer.Option(help="steps, floor, growth or released")] = "",
) -> None:
    """Measure and print; the commands are what its processes run."""
    if context.invoked_subcommand:
        return
    real = sorted(REAL.glob("*T2S.nii.gz"))
    with tempfile.TemporaryDirectory() as temporary:
        images, masks = resampled_heads(Path(temporary)) if only != "floor" else ([], [])
        if only in ("", "steps"):
            show_steps([*real, *images[:-1]])
        if only in ("", "floor"):
            show_floor(real[0])
        if only in ("", "growth"):
            show_growth(images[:-1], masks[:-1])
        if only in ("", "released"):
            show_released(images[-1], masks[-1])


if __name__ == "__main__":
    app()
