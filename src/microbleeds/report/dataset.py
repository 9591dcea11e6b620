"""The results as a BIDS derivative dataset: its description, and a sidecar for each image.

Brain Imaging Data Structure 1.10, "Derivatives": common data types, imaging data types.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from itertools import count
from pathlib import Path
from typing import Any

import microbleeds
from microbleeds.errors import UserError
from microbleeds.report.bids import FAILURES, OutputPaths, nifti_stem
from microbleeds.report.files import write_json, write_text
from microbleeds.report.results import RESEARCH_USE

BIDS_VERSION = "1.10.0"
DESCRIPTION = "dataset_description.json"
_IGNORED = (  # what BIDS has no name for: of each scan; of all of them together (study/group.py)
    "*_cmb.*", "*.dcm", "*_candidates.tsv", "*_mars.tsv",
    "group.*", "group_provenance.json", "failures.tsv", FAILURES,
)  # fmt: skip
_README = f"""# Microbleeds

Cerebral microbleeds found by microbleeds. {RESEARCH_USE}

Each `*_label-CMB_mask` is 1 in microbleeds, each `*_seg-CMB_dseg` numbers them as its table does.
What BIDS has no name for is listed in `.bidsignore`: `*_cmb.json` (settings, versions, warnings),
pictures, DICOM results, the tables of all candidates and the counts by region.
"""
_COLUMNS = {
    "name": ("What the number stands for", None),
    "x": ("Centre in scanner coordinates, to the right", "mm"),
    "y": ("Centre in scanner coordinates, to the front", "mm"),
    "z": ("Centre in scanner coordinates, upwards", "mm"),
    "i": ("First voxel index of the centre, from 0", None),
    "j": ("Second voxel index of the centre, from 0", None),
    "k": ("Third voxel index of the centre, from 0", None),
    "volume_mm3": ("Volume", "mm^3"),
    "equivalent_diameter_mm": ("Diameter of the sphere of equal volume", "mm"),
    "elongation": ("1 - shortest / longest principal axis", None),
    "edge_distance_mm": ("Distance from the centre to the edge of the brain", "mm"),
    "detector_probability": ("Highest probability of step 1 in the microbleed", None),
    "student_probability": ("Probability of step 2", None),
    "probability": ("Probability of both steps together", None),
    "region": ("Region of the Microbleed Anatomical Rating Scale", None),
    "side": ("Side of the head: left or right", None),
}


def write_dataset(out: Path, source: Path, paths: OutputPaths) -> None:
    """Describe the dataset in `out` and the images of one scan, which are there already.

    Raises UserError when `out` is a dataset of another type or cannot be written.
    """
    raw, place = _raw_dataset(source)
    write_sidecars(out, paths, f"bids:{describe_dataset(out, raw)}:{place.as_posix()}")


def write_sidecars(out: Path, paths: OutputPaths, scan: str) -> None:
    """Describe the images of one scan, whose BIDS URI is `scan`, in the dataset `out`.

    Raises UserError when a file cannot be written.
    """
    brain = f"bids::{paths.brain.relative_to(out).as_posix()}"
    common: dict[str, Any] = {"SpatialReference": scan}
    write_json(
        _sidecar(paths.brain),
        {"Description": "Brain mask", "Type": "Brain", "Sources": [scan], **common},
    )
    common |= {"Sources": [scan, brain]}
    write_json(
        _sidecar(paths.mask),
        {"Description": "Cerebral microbleeds", "Type": "Lesion", **common},
    )
    write_json(
        _sidecar(paths.dseg),
        {"Description": "Cerebral microbleeds, one number each", **common, **described(_COLUMNS)},
    )


def described(columns: Mapping[str, tuple[str, str | None]]) -> dict[str, dict[str, str]]:
    """What a BIDS sidecar says of a table's columns: from name to (words, unit or None)."""
    return {
        name: {"Description": text, **({"Units": unit} if unit else {})}
        for name, (text, unit) in columns.items()
    }


def check_dataset(out: Path) -> None:
    """Raise UserError when the folder is a BIDS dataset that results do not belong into, or one
    whose description cannot be completed.
    """
    if not is_dataset(out):
        return
    description = _read(out / DESCRIPTION)
    kind = description.get("DatasetType", "raw")
    if kind != "derivative":
        raise UserError(
            f"{out} is a {kind} BIDS dataset; choose a folder for derivatives, such as "
            f"{out / 'derivatives' / 'microbleeds'}."
        )
    if not isinstance(description.get("DatasetLinks", {}), dict):
        raise UserError(
            f"{out / DESCRIPTION} has DatasetLinks that are no JSON object; correct or remove them."
        )


def _raw_dataset(source: Path) -> tuple[Path, Path]:
    """The root of the dataset that a scan is part of, else its folder; and its path in there."""
    source = source.parent.resolve() / source.name  # a link, as DataLad's files are, stays itself
    root = next((folder for folder in source.parents if is_dataset(folder)), source.parent)
    return root, source.relative_to(root)


def is_dataset(folder: Path) -> bool:
    """Whether a folder is a BIDS dataset, raw or derivative."""
    return (folder / DESCRIPTION).is_file()


def describe_dataset(out: Path, raw: Path) -> str:
    """Write or complete the description; returns the name under which it links the raw data.

    Raises UserError when a file cannot be read or written.
    """
    description: dict[str, Any] = {
        "Name": "Microbleeds",
        "BIDSVersion": BIDS_VERSION,
        "DatasetType": "derivative",
        "GeneratedBy": [
            {
                "Name": "microbleeds",
                "Version": microbleeds.__version__,
                "Description": f"Detection of cerebral microbleeds. {RESEARCH_USE}",
            }
        ],
    }
    there = _read(out / DESCRIPTION) if is_dataset(out) else {}
    description |= there
    links: dict[str, str] = dict(description.get("DatasetLinks", {}))
    target = Path(os.path.relpath(raw, out.resolve())).as_posix()
    known = [name for name, value in links.items() if value == target]
    names = ("raw" if number == 1 else f"raw{number}" for number in count(1))
    name = known[0] if known else next(name for name in names if name not in links)
    description["DatasetLinks"] = links | {name: target}
    if description != there:  # runs side by side leave it alone
        write_json(out / DESCRIPTION, description)
    for file, text in ((".bidsignore", "\n".join(_IGNORED) + "\n"), ("README.md", _README)):
        if not (out / file).exists():
            write_text(out / file, text)
    return name


def _read(path: Path) -> dict[str, Any]:
    """A description that is there. Raises UserError when it is no JSON object."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"{path} is no readable JSON; correct or remove it.") from error
    if not isinstance(content, dict):
        raise UserError(f"{path} holds no JSON object; correct or remove it.")
    return content


def remove_results(paths: OutputPaths) -> None:
    """Remove the results of an earlier run, the record first, so that no others come under it.

    Raises UserError where a file may not be removed.
    """
    described = (_sidecar(image) for image in (paths.brain, paths.mask, paths.dseg))
    for path in (paths.report, *paths.all(), *described):
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            raise UserError(
                f"{path} cannot be written anew ({error.strerror}); choose a folder that you may "
                "write to."
            ) from error


def _sidecar(image: Path) -> Path:
    return image.with_name(f"{nifti_stem(image)}.json")
