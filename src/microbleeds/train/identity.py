"""What a training is: a digest of all that it depends on, so that no other one continues it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from microbleeds.files import sha256
from microbleeds.settings import OperatingPoint
from microbleeds.train.data import Row
from microbleeds.train.heads import BrainRow
from microbleeds.train.loop import TrainSettings
from microbleeds.train.settings import Recipe, Start
from microbleeds.train.store import KINDS, Kind

# How long a training goes on and how often it looks may change when it is resumed.
_MAY_CHANGE = ("steps", "warmup", "validate_every", "save_every", "patience", "threads")
_NO_MATTER = ("validation_cases", "detector_weight", "mirrored")  # of detection, not of training


def identity_of(
    kind: Kind, rows: Sequence[Row], recipe: Recipe, start: Start | None, *networks: Path | None
) -> str:
    """Digest of a training; networks: files that it learns from, such as its teacher's."""
    facts = {k: v for k, v in asdict(recipe).items() if k not in (*KINDS, *_NO_MATTER)}
    own = _lasting(getattr(recipe, kind))
    others = [_content(path) for path in networks]
    before = start and [sha256(start.folder / f"{kind}.safetensors"), *start.frozen]
    return _digest(kind, _images(rows), facts, own, others, before)


def identity_of_brain(
    learn: Sequence[BrainRow],
    held_out: Sequence[BrainRow],
    settings: TrainSettings,
    weights: Path | None,
) -> str:
    """Digest of a training of the brain mask; weights: file that it goes on from."""
    return _digest(*map(_heads, (learn, held_out)), _lasting(settings), _content(weights))


def identity_of_fold(
    others: Sequence[Row], held_out: Sequence[Row], recipe: Recipe, point: OperatingPoint
) -> str:
    """Digest of a fold of cross-validation, which is not continued, so that its steps count."""
    return _digest(*map(_images, (others, held_out)), asdict(recipe), point)


def _images(rows: Sequence[Row]) -> list[tuple[str | None, ...]]:
    """Images by name, as they are large and folders may be moved; labels and masks by content."""
    return [
        (
            row.image.name,
            sha256(row.label),
            row.contrast,
            _content(row.mask),
            row.subject,
            _content(row.unrated),
        )
        for row in rows
    ]


def _heads(rows: Sequence[BrainRow]) -> list[tuple[str | None, ...]]:
    """The same of the rows of the brain mask, whose label maps count by content."""
    return [
        (
            row.subject,
            _content(row.anatomy),
            row.image.name if row.image else None,
            _content(row.mask),
        )
        for row in rows
    ]


def _content(path: Path | None) -> str | None:
    return sha256(path) if path else None


def _lasting(settings: TrainSettings) -> dict[str, Any]:
    return {k: v for k, v in asdict(settings).items() if k not in _MAY_CHANGE}


def _digest(*facts: Any) -> str:
    return hashlib.sha256(json.dumps(facts, default=str).encode()).hexdigest()
