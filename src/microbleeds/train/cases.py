"""Training images prepared once and kept on disk, read by memory map."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from functools import cache, partial
from pathlib import Path
from typing import Any
from uuid import uuid4

import nibabel as nib
import numpy as np
from nibabel.affines import apply_affine
from numpy.typing import NDArray
from scipy import ndimage

from microbleeds.errors import UserError
from microbleeds.files import make_folder
from microbleeds.models.card import read_card
from microbleeds.models.engine import Engine
from microbleeds.models.zoo import BRAIN_MODEL, WEIGHTS, load_brain
from microbleeds.prepare import Prepared
from microbleeds.prepare.grid import Grid, labels_to_scan
from microbleeds.scan import Scan, nibabel_silent
from microbleeds.settings import PrepareSettings
from microbleeds.steps.conspicuity import conspicuity, things_in_rings
from microbleeds.train.data import Row
from microbleeds.train.masks import imperfect_mask

FORMAT = 4  # of the cache; raise it when `prepare` changes what it returns


UNRATED = np.uint16(65535)  # in `Case.labels`: neither a microbleed nor none


@dataclass(frozen=True)
class CaseSettings:
    """How a labelled image becomes a training case.

    smallest_mm3, faintest: what is labelled but smaller, or stands out less from its surroundings
    in the prepared image (`conspicuity`), is neither taught as a microbleed nor as none.
    mask_error_mm: brain masks are moved outwards by a draw from this range; (0, 0) not at all.
    """

    prepare: PrepareSettings = field(default_factory=PrepareSettings)
    smallest_mm3: float = 0.0
    faintest: float = 0.0
    mask_error_mm: tuple[float, float] = (0.0, 0.0)


@dataclass(frozen=True)
class Case:
    """One prepared training image on its working grid.

    name: unique in its cache. array: gives the channels, the labels or the brain by that name.
    Those of a cache are opened anew each time: every memory map holds a file open, and a process
    may not open as many as there are cases.
    centres: (N, 3) float, mean voxel of microbleed 1..N.
    """

    name: str
    array: Callable[[str], NDArray[Any]]
    centres: NDArray[np.float64]
    grid: Grid

    @property
    def channels(self) -> NDArray[np.float16]:
        """Image, symmetry and vessels, (3, X, Y, Z)."""
        return self.array("channels")

    @property
    def labels(self) -> NDArray[np.uint16]:
        """0, the number of a microbleed or `UNRATED`, (X, Y, Z)."""
        return self.array("labels")

    @property
    def brain(self) -> NDArray[np.bool_]:
        """The mask, (X, Y, Z)."""
        return self.array("brain")

    @property
    def centres_mm(self) -> NDArray[np.float64]:
        """Centres of the microbleeds in scanner mm, (N, 3)."""
        return np.asarray(apply_affine(self.grid.affine, self.centres))

    @property
    def prepared(self) -> Prepared:
        """The same as the steps of detection take it."""
        image, symmetry, vessels = np.asarray(self.channels, np.float32)
        return Prepared(image, np.asarray(self.brain), symmetry, vessels, self.grid)


def prepare_cases(
    rows: Sequence[Row], settings: CaseSettings, folder: Path, workers: int = 1
) -> tuple[Case, ...]:
    """Every row prepared, from the cache in `folder` where it is there already.

    Raises UserError when an image, mask or label cannot be used.
    """
    make_folder(folder)
    todo = [row for row in rows if not _place(row, settings, folder).is_dir()]
    if workers > 1 and len(todo) > 1:
        from concurrent.futures import ProcessPoolExecutor
        from multiprocessing import get_context

        with ProcessPoolExecutor(workers, get_context("spawn")) as pool:
            list(pool.map(_prepare, todo, *zip(*[(settings, folder)] * len(todo), strict=True)))
    else:
        for row in todo:
            _prepare(row, settings, folder)
    return tuple(_load(_place(row, settings, folder)) for row in rows)


def prepare_case(row: Row, settings: CaseSettings, folder: Path) -> Case:
    """One row prepared; see `prepare_cases`."""
    return prepare_cases([row], settings, folder)[0]


def labels_on_grid(labels: NDArray[Any], scan: Scan, grid: Grid) -> NDArray[np.uint16]:
    """Microbleeds of a label image, numbered from 1 without gaps, on the working grid.

    labels: whole numbers on the scan's grid; touching voxels (26-connected) of one value are one
    microbleed, whether the values are their numbers or say how sure the rater was, as `evaluate`
    takes them too. None is lost.
    """
    from skimage.measure import label

    numbered = label(labels, connectivity=3).astype(np.int32)
    target = Scan(np.broadcast_to(np.float32(0), grid.shape), grid.affine, scan.contrast)
    shape = (labels.shape[0], labels.shape[1], labels.shape[2])
    return labels_to_scan(numbered, Grid(shape, scan.affine), target).astype(np.uint16)


def set_unrated_apart(
    labels: NDArray[np.uint16], prepared: Prepared, settings: CaseSettings
) -> NDArray[np.uint16]:
    """Microbleeds numbered anew from 1 without gaps, those not to be taught as `UNRATED`."""
    count = int(labels.max(initial=0))
    volumes = np.bincount(labels.ravel(), minlength=count + 1) * prepared.grid.spacing.prod()
    present = volumes > 0
    present[0] = False
    rated = present & (volumes >= settings.smallest_mm3)
    if settings.faintest > 0:
        shown = conspicuity(
            prepared.image, things_in_rings(labels, prepared.brain, prepared.grid.spacing)
        )
        rated[1:] &= shown >= settings.faintest
    numbers = np.where(present, UNRATED, np.uint16(0))
    numbers[rated] = np.arange(1, rated.sum() + 1)
    renumbered: NDArray[np.uint16] = numbers[labels]
    return renumbered


def read_labels(path: Path, scan: Scan) -> NDArray[np.int64]:
    """Whole-numbered label image on the scan's grid; UserError when it is anything else."""
    try:
        with nibabel_silent():
            image: Any = nib.load(path)
        values = np.squeeze(np.asarray(image.dataobj))  # a fourth axis of one
    except Exception as error:  # gzip, zlib, nibabel and NumPy each have their own
        raise UserError(f"The label {path} cannot be read as NIfTI ({error}).") from error
    if values.shape != scan.voxels.shape:
        raise UserError(
            f"The label {path} has {values.shape} voxels and its image {scan.name} "
            f"{scan.voxels.shape}; both must be on the same grid."
        )
    if not np.allclose(image.affine, scan.affine, atol=0.1 * scan.spacing.min()):
        raise UserError(
            f"The label {path} lies elsewhere in the scanner than its image {scan.name}; "
            "resample it onto the image's grid."
        )
    whole = np.round(values)
    if not np.array_equal(whole, values) or whole.min() < 0:
        raise UserError(
            f"The label {path} holds negative or broken numbers; it must hold 0 and whole numbers."
        )
    return whole.astype(np.int64)


def _place(row: Row, settings: CaseSettings, folder: Path) -> Path:
    """Where the case is kept: a name made of all that it depends on."""
    files = [row.image, row.label, *filter(None, (row.mask, row.unrated))]
    facts = [(str(file.resolve()), file.stat().st_mtime_ns, file.stat().st_size) for file in files]
    brain = None if row.mask else read_card(WEIGHTS / BRAIN_MODEL).files  # what makes the mask
    text = json.dumps([FORMAT, asdict(settings), row.contrast, brain, facts])
    return (
        folder / f"{row.image.name.split('.')[0]}-{hashlib.sha256(text.encode()).hexdigest()[:16]}"
    )


def _prepare(row: Row, settings: CaseSettings, folder: Path) -> None:
    """Prepare a row and keep it under its place in the cache."""
    from microbleeds.prepare.prepare import prepare
    from microbleeds.scan import read_mask, read_scan

    scan = read_scan(row.image, row.contrast)
    labels = read_labels(row.label, scan)
    mask = read_mask(row.mask, scan) if row.mask else _computed_mask(scan)
    place = _place(row, settings, folder)
    if settings.mask_error_mm != (0.0, 0.0):
        rng = np.random.default_rng(list(row.image.name.encode()))  # wherever the file lies
        mask = imperfect_mask(mask, scan.spacing, settings.mask_error_mm, rng)
    prepared = prepare(scan, mask, settings.prepare)
    on_grid = labels_on_grid(labels, scan, prepared.grid) * prepared.brain
    on_grid = set_unrated_apart(on_grid, prepared, settings)
    if row.unrated:
        doubtful = labels_on_grid(read_labels(row.unrated, scan), scan, prepared.grid) > 0
        on_grid[doubtful & prepared.brain & (on_grid == 0)] = UNRATED
    temporary = place.with_name(f"{place.name}.{uuid4().hex}.tmp")
    temporary.mkdir()
    stack = np.stack([prepared.image, prepared.symmetry, prepared.vessels])
    np.save(temporary / "channels.npy", stack.astype(np.float16))
    np.save(temporary / "labels.npy", on_grid)
    np.save(temporary / "brain.npy", prepared.brain)
    np.save(temporary / "affine.npy", prepared.grid.affine)
    np.save(temporary / "centres.npy", _centres(on_grid))
    if place.exists():  # another process was faster
        shutil.rmtree(temporary)
    else:
        temporary.rename(place)


def _load(place: Path) -> Case:
    array = partial(_kept_array, place)
    x, y, z = array("brain").shape
    grid = Grid((x, y, z), np.load(place / "affine.npy"))
    return Case(place.name, array, np.load(place / "centres.npy"), grid)


def _kept_array(place: Path, name: str) -> NDArray[Any]:
    kept: NDArray[Any] = np.load(place / f"{name}.npy", mmap_mode="r")
    return kept


def _centres(labels: NDArray[np.uint16]) -> NDArray[np.float64]:
    numbers = np.arange(1, int(labels.max(where=labels != UNRATED, initial=0)) + 1)
    return np.array(ndimage.center_of_mass(labels > 0, labels, numbers)).reshape(-1, 3)


def _computed_mask(scan: Scan) -> NDArray[np.bool_]:
    from microbleeds.prepare.brain import brain_mask

    return brain_mask(scan, _brain())


@cache
def _brain() -> Engine:
    return load_brain()
