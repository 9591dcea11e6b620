"""A model folder applied to the rows of a training table, exactly as `detect` would."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from microbleeds.models.engine import Engine
from microbleeds.models.zoo import Models, load_brain
from microbleeds.pipeline import Detections, detect
from microbleeds.scan import Scan, read_mask, read_scan
from microbleeds.settings import Settings
from microbleeds.train.data import Row


def detect_rows(
    rows: Sequence[Row], models: Models, settings: Settings
) -> Iterator[tuple[Row, Scan, Detections]]:
    """Every row with its image and what is detected there, in the row's mask where it has one.

    Raises UserError when an image or mask cannot be used.
    """
    brain_engine: Engine | None = None
    for row in rows:
        scan = read_scan(row.image, row.contrast)
        mask = read_mask(row.mask, scan) if row.mask else None
        if mask is None and brain_engine is None:
            brain_engine = load_brain()
        yield row, scan, detect(scan, models, brain_engine, settings, mask)
