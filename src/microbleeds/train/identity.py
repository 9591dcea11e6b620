"""What a training is: a digest of all that it depends on, so that no other one continues it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from microbleeds.files import sha256
from microbleeds.train.data import Row
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
    own = {k: v for k, v in asdict(getattr(recipe, kind)).items() if k not in _MAY_CHANGE}
    images = [(row.image.name, row.label.name, row.contrast, row.subject) for row in rows]
    others = [path and sha256(path) for path in networks]
    before = start and [sha256(start.folder / f"{kind}.safetensors"), *start.frozen]
    text = json.dumps([kind, images, facts, own, others, before], default=str)
    return hashlib.sha256(text.encode()).hexdigest()
