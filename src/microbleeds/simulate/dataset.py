"""Many simulated heads as NIfTI files, with the table of the truth and the table for training."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from microbleeds.errors import UserError
from microbleeds.files import make_folder, whole_file
from microbleeds.report.files import MISSING, write_text
from microbleeds.scan import write_nifti
from microbleeds.settings import Contrast
from microbleeds.simulate import HeadSettings, SimulatedHead
from microbleeds.simulate.anatomy import fill_ellipsoid, load_anatomy
from microbleeds.simulate.head import simulate_head
from microbleeds.simulate.scanner import random_protocol

PHYSICS = 12  # raise it when the same settings and seed give another head, or other files of it
UNSEEN_MM = 2.0  # around a bleed that an image does not show, within which nothing is learnt
SUFFIX: dict[Contrast, str] = {"t2star": "T2starw", "swi": "swi", "qsm": "Chimap"}
TABLE_COLUMNS = ("image", "label", "contrast", "mask", "subject", "unrated")
TRUTH_COLUMNS = (
    "subject", "contrast", "index", "x", "y", "z", "volume_mm3", "source_diameter_mm",
    "susceptibility_ppm",
)  # fmt: skip


def simulate_dataset(
    out: Path,
    count: int,
    contrasts: tuple[Contrast, ...],
    seed: int,
    anatomies: tuple[Path, ...],
    settings: HeadSettings,
    first: int = 0,
    on_head: Callable[[int], None] = lambda _: None,
) -> None:
    """Write heads `first` to `first + count - 1` of the series that `seed` defines.

    With T2* alone the protocol is 2D or 3D, with SWI or QSM it is 3D for all contrasts of a head.
    Head i depends on (seed, i) and the arguments alone, so a series can be split over machines and
    continued: heads already there are kept if they were made with the same settings. `table.csv`
    is what `train --data` takes; `truth.tsv` lists every microbleed, invisible ones (volume 0)
    included. `on_head` is called after each.

    Raises UserError when an anatomy cannot be used, `out` cannot be written or holds heads of other
    settings.
    """
    make_folder(out)
    for index in range(first, first + count):
        subject = subject_name(seed, index)
        done = out / f"{subject}.json"
        made_with = {
            "physics": PHYSICS, "contrasts": list(contrasts), "settings": asdict(settings),
            "anatomies": [path.name for path in anatomies],
        }  # fmt: skip
        if done.exists():
            check_same(done, made_with)
        else:
            rng = np.random.default_rng([seed, index])
            anatomy = load_anatomy(anatomies[int(rng.integers(len(anatomies)))])
            protocol = random_protocol(rng, volume=contrasts != ("t2star",))
            head = simulate_head(anatomy, protocol, contrasts, settings, rng)
            write_head(out, subject, head, {"anatomy": anatomy.name, **made_with})
        on_head(index)
    write_tables(out)


def subject_name(seed: int, index: int) -> str:
    """What the files of a head begin with."""
    return f"sub-sim{seed}x{index:04d}"


def check_same(done: Path, made_with: dict[str, Any]) -> None:
    """A series must not mix settings without a word: UserError for a record of others."""
    record = json.loads(done.read_text())
    wanted = json.loads(json.dumps(made_with))
    if any(record.get(key) != value for key, value in wanted.items()):
        raise UserError(
            f"{done} was simulated with other contrasts, settings or label maps, or by another "
            "version; give those again to continue its series, or choose another output folder."
        )


def write_head(
    out: Path, subject: str, head: SimulatedHead, made_with: Mapping[str, object]
) -> None:
    """Images, labels and mask; the JSON comes last, as its presence says that all are there."""
    write_nifti(out / f"{subject}_desc-brain_mask.nii.gz", head.brain.astype(np.uint8), head.affine)
    for contrast, image in head.images.items():
        stem = f"{subject}_{SUFFIX[contrast]}"
        stored = image.astype(np.float32 if contrast == "qsm" else np.int16)
        write_nifti(out / f"{stem}.nii.gz", stored, head.affine)
        label = head.labels[contrast].astype(np.uint8)
        write_nifti(out / f"{stem}_label.nii.gz", label, head.affine)
        unrated = around_unseen(head, contrast).astype(np.uint8)
        write_nifti(out / f"{stem}_unrated.nii.gz", unrated, head.affine)
    record = {
        **made_with,
        "protocol": asdict(head.protocol),
        "microbleeds": [asdict(bleed) for bleed in head.truth],
    }
    write_text(out / f"{subject}.json", json.dumps(record, indent=1))


def around_unseen(head: SimulatedHead, contrast: Contrast) -> NDArray[np.bool_]:
    """What lies within `UNSEEN_MM` of bleeds that an image does not show, (X, Y, Z).

    Many of them darken it a little less than a rater needs to see: to call them no microbleed
    would teach a network to leave out those that are just seen.
    """
    around = np.zeros(head.brain.shape, np.int16)
    x, y, z = UNSEEN_MM / np.linalg.norm(head.affine[:3, :3], axis=0)
    for bleed in head.truth:
        if bleed.volume_mm3[contrast] == 0:
            voxel = np.rint(np.linalg.solve(head.affine, [*bleed.xyz_mm, 1.0])[:3])
            fill_ellipsoid(around, voxel, (x, y, z), 1, inside=(0, 1))
    return around > 0


def write_tables(out: Path) -> None:
    """The tables of all heads in the folder, in order of their names."""
    rows, truth = [], []
    for file in sorted(out.glob("sub-*.json")):
        subject, record = file.stem, json.loads(file.read_text())
        for contrast in record["contrasts"]:
            stem = f"{subject}_{SUFFIX[contrast]}"
            rows.append((f"{stem}.nii.gz", f"{stem}_label.nii.gz", contrast,
                         f"{subject}_desc-brain_mask.nii.gz", subject,
                         f"{stem}_unrated.nii.gz"))  # fmt: skip
            if not record["microbleeds"]:  # so that `evaluate` knows the head
                truth.append((subject, contrast, *[MISSING] * 4, 0.0, *[MISSING] * 2))
            for bleed in record["microbleeds"]:
                x, y, z = (round(v, 3) for v in bleed["xyz_mm"])
                truth.append((subject, contrast, bleed["index"], x, y, z,
                              round(bleed["volume_mm3"][contrast], 2),
                              round(bleed["source_diameter_mm"], 2),
                              round(bleed["susceptibility_ppm"], 2)))  # fmt: skip
    for name, columns, lines, mark in (
        ("table.csv", TABLE_COLUMNS, rows, ","),
        ("truth.tsv", TRUTH_COLUMNS, truth, "\t"),
    ):
        with whole_file(out / name) as part, part.open("w", newline="") as stream:
            csv.writer(stream, delimiter=mark, lineterminator="\n").writerows([columns, *lines])
