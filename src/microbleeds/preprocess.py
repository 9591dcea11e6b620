"""From paths to what the networks see: what the command `preprocess` does."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np

from microbleeds.errors import UserError
from microbleeds.files import make_folder
from microbleeds.models.engine import Engine
from microbleeds.models.zoo import DEFAULT_MODEL, load_brain, load_models
from microbleeds.prepare.brain import brain_mask
from microbleeds.prepare.prepare import prepare
from microbleeds.report.bids import check_free, output_stem, source_name
from microbleeds.report.files import write_json
from microbleeds.run import (
    ContrastChoice,
    check_mask,
    check_sources,
    check_writable,
    system_sentence,
)
from microbleeds.scan import read_mask, read_scan, write_nifti
from microbleeds.settings import PrepareSettings

_RECORD = "record"
_FILES = {
    "image": "_desc-prepared.nii.gz",
    "symmetry": "_desc-symmetry.nii.gz",
    "vessels": "_desc-vessels.nii.gz",
    "brain": "_space-prepared_desc-brain_mask.nii.gz",
    _RECORD: "_desc-prepared.json",
}


def preprocess_files(
    sources: Sequence[Path],
    out: Path,
    contrast: ContrastChoice = "auto",
    mask: Path | None = None,
    model: str = DEFAULT_MODEL,
    overwrite: bool = False,
    series: str | None = None,
    on_scan: Callable[[Path, Path | None, str], None] = lambda source, image, error: None,
) -> int:
    """Write what the networks see of each scan, on its working grid, and the settings behind it.

    on_scan: learns the prepared image of each scan, or why there is none. Returns how many scans
    failed; one does not stop the others.
    Raises UserError for what concerns all scans: model, output folder, mask, name clashes.
    """
    check_sources(sources, mask, series)
    stems = [output_stem(source_name(source)) for source in sources]
    plans = [{name: out / f"{stem}{end}" for name, end in _FILES.items()} for stem in stems]
    check_free(sources, [tuple(plan.values()) for plan in plans], overwrite)
    check_mask(mask, [path for plan in plans for path in plan.values()])
    check_writable(out)
    settings, brain = load_models(model).card.prepare, load_brain()
    make_folder(out)
    failed = 0
    for source, paths in zip(sources, plans, strict=True):
        try:
            _preprocess(source, paths, contrast, mask, settings, brain, series)
            on_scan(source, paths["image"], "")
        except UserError as error:
            failed += 1
            on_scan(source, None, str(error))
        except OSError as error:
            failed += 1
            on_scan(source, None, system_sentence(error))
    return failed


def _preprocess(
    source: Path,
    paths: dict[str, Path],
    contrast: ContrastChoice,
    mask: Path | None,
    settings: PrepareSettings,
    engine: Engine,
    series: str | None,
) -> None:
    """One scan; the record comes last, so where it is, all is."""
    scan = read_scan(source, contrast, series)
    brain = brain_mask(scan, engine) if mask is None else read_mask(mask, scan)
    prepared = prepare(scan, brain, settings)
    paths[_RECORD].unlink(missing_ok=True)
    for name in _FILES:
        if name != _RECORD:
            array = getattr(prepared, name)
            dtype = np.uint8 if name == "brain" else None
            write_nifti(paths[name], array, prepared.grid.affine, dtype)
    record = {"source": source.absolute(), "contrast": scan.contrast, "settings": asdict(settings)}
    write_json(paths[_RECORD], record)
