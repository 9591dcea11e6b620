"""Options that several commands share."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer


class PointOption(StrEnum):
    """Where on the curve of true against false positives the thresholds stand."""

    sensitive = "sensitive"
    balanced = "balanced"
    precise = "precise"


Model = Annotated[str, typer.Option(help="A shipped model's name, or a model folder")]
Memory = Annotated[
    float, typer.Option(min=0.1, help="GB a network may take; larger scans are done in pieces")
]
Point = Annotated[PointOption, typer.Option(help="Which thresholds")]
