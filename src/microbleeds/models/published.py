"""The checkpoints that the method's authors publish, into a model folder that `detect` accepts."""

from __future__ import annotations

import pickle
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from microbleeds.errors import UserError
from microbleeds.models.card import ModelCard, Thresholds
from microbleeds.models.config import PUBLISHED
from microbleeds.models.export import mismatch, write_model_folder
from microbleeds.models.networks import ClassifierHead, Detector, Student, Teacher
from microbleeds.settings import PrepareSettings

Convention = Literal["2025", "2023"]
_Part = Literal["detector", "student", "teacher", "head"]
# Training history in a checkpoint may hold numpy numbers, which are harmless.
_HARMLESS: list[Any] = [
    (np.float64(0).__reduce__()[0], "numpy.core.multiarray.scalar"),
    (np.float64(0).__reduce__()[0], "numpy._core.multiarray.scalar"),
    np.dtype,
    type(np.dtype(np.float64)),
    type(np.dtype(np.float32)),
]


def convert_published(
    files: Sequence[Path], folder: Path, convention: Convention = "2025"
) -> ModelCard:
    """Write a model folder from the authors' `.pth` files; at least detector and student.

    Which network a file holds is recognised by its keys; the teacher, which has those of the
    detector, by "teacher" in its name. The convention is the input that the weights were trained
    with, which the files do not say: see `published_card`. Raises UserError when a file cannot be
    read, holds something else, or a network is missing or given twice.
    """
    parts: dict[_Part, dict[str, Tensor]] = {}
    for path in files:
        tensors = read_checkpoint(path)
        part = _recognise(path, tensors)
        if part in parts:
            raise UserError(f"{path} is the second file with the {part}; give each network once.")
        parts[part] = tensors
    if missing := [part for part in ("detector", "student") if part not in parts]:
        raise UserError(
            f"No file holds the {' or the '.join(missing)}; give the ..._cdet_model.pth and the "
            f"..._cdisc_student_model.pth of one model."
        )
    return write_model_folder(folder, published_card(convention), _networks(parts))


def published_card(convention: Convention) -> ModelCard:
    """What the authors' weights expect as input, as their code of that year prepares it.

    "2025": image in [0, 1], vessels filled from their neighbours, symmetry with alpha 2. "2023":
    2v - 1 with 0.5 outside the brain, no filling, alpha 1. Both on the scan's own voxels, cropped
    tightly, symmetry at radii of 2 and 3 voxels.
    """
    later = convention == "2025"
    thresholds = Thresholds(detector=0.2, student=0.5)
    return ModelCard(
        name=f"published-{convention}",
        description="Weights published by Sundaresan et al. (Front. Neuroinform. 17:1204186, 2023)",
        licence="The authors state none; ask them before passing the weights on",
        channels=("image", "symmetry"),
        value_range="unit" if later else "signed",
        prepare=PrepareSettings(
            in_plane_mm=None,
            min_slice_mm=None,
            margin_mm=0.0,
            symmetry_radii_voxels=(2.0, 3.0),
            symmetry_alpha=2.0 if later else 1.0,
            paint_vessels=later,
        ),
        patch_spacing_mm=None,
        operating_points={
            "sensitive": thresholds,
            "balanced": thresholds,
            "precise": thresholds,
        },
        networks=PUBLISHED,
        training={"convention": convention},
    )


def read_checkpoint(path: Path) -> dict[str, Tensor]:
    """The state dict in a file, float32, without wrapper and "module." prefix.

    Raises UserError when the file is missing, damaged, or holds anything but plain data.
    """
    try:
        with torch.serialization.safe_globals(_HARMLESS):
            content = torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}.") from error
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError, KeyError) as error:
        raise UserError(
            f"{path} is not a checkpoint of plain weights (damaged, or with program code inside, "
            f"which is not run); get it again from the authors."
        ) from error
    if isinstance(content, Mapping):
        content = content.get("model_state_dict", content)
    if not isinstance(content, Mapping) or not content:
        raise UserError(f"{path} holds no network weights; give one of the authors' .pth files.")
    if not all(isinstance(value, Tensor) for value in content.values()):
        raise UserError(f"{path} holds other things than network weights; give the authors' file.")
    return {
        str(key).removeprefix("module."): value.float() if value.is_floating_point() else value
        for key, value in content.items()
    }


def _recognise(path: Path, tensors: Mapping[str, Tensor]) -> _Part:
    with torch.device("meta"):
        layouts: dict[_Part, nn.Module] = {
            "detector": Detector(PUBLISHED),
            "student": Student(PUBLISHED),
            "head": ClassifierHead(PUBLISHED),
        }
    for part, network in layouts.items():
        if not mismatch(network, tensors):
            return "teacher" if part == "detector" and "teacher" in path.name.lower() else part
    closest = max(layouts.values(), key=lambda n: len(n.state_dict().keys() & tensors.keys()))
    raise UserError(
        f"{path} holds none of the published networks: {mismatch(closest, tensors)} in the nearest."
    )


def _networks(
    parts: Mapping[_Part, Mapping[str, Tensor]],
) -> dict[str, Detector | Student | Teacher]:
    detector, student = Detector(PUBLISHED), Student(PUBLISHED)
    detector.load_state_dict(parts["detector"])
    student.load_state_dict(parts["student"])
    networks: dict[str, Detector | Student | Teacher] = {"detector": detector, "student": student}
    if "teacher" in parts and "head" in parts:
        teacher = Teacher(PUBLISHED)
        teacher.features_and_segmentor.load_state_dict(parts["teacher"])
        teacher.classifier.load_state_dict(parts["head"])
        networks["teacher"] = teacher
    return networks
