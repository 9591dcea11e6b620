"""Finding, checking and loading models: the shipped ones by name, others by folder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from microbleeds.errors import UserError
from microbleeds.files import sha256
from microbleeds.models.card import CARD, ModelCard, NetworkCard, read_card, read_network_card
from microbleeds.models.engine import Engine, OnnxNetwork
from microbleeds.settings import MEMORY_GB

WEIGHTS = Path(__file__).parent.parent / "weights"
DEFAULT_MODEL = "slim"
BRAIN_MODEL = "brain"
REGION_MODEL = "regions"


@dataclass(frozen=True)
class Models:
    """The networks of steps 1 and 2, ready to run."""

    card: ModelCard
    detector: Engine
    student: Engine
    folder: Path


def list_models() -> tuple[str, ...]:
    """Names of the shipped detection models."""
    folders = (path.parent for path in WEIGHTS.glob(f"*/{CARD}"))
    others = (BRAIN_MODEL, REGION_MODEL)
    return tuple(sorted(folder.name for folder in folders if folder.name not in others))


def model_folder(name_or_folder: str | Path) -> Path:
    """The folder of a shipped model or of one's own. Raises UserError when there is none."""
    if str(name_or_folder) in list_models():
        return WEIGHTS / str(name_or_folder)
    folder = Path(name_or_folder)
    if not folder.is_dir():
        known = ", ".join(list_models()) or "none"
        raise UserError(
            f"There is no model {str(name_or_folder)!r}; give a model folder or one of the shipped "
            f"models: {known}."
        )
    return folder


def load_models(
    name_or_folder: str | Path = DEFAULT_MODEL, threads: int = 0, memory_gb: float = MEMORY_GB
) -> Models:
    """A shipped model by name, or any model by its folder, with its checksums verified.

    threads, memory_gb: see `Engine`.
    Raises UserError when the model, its card or a file is missing, malformed or changed.
    """
    folder = model_folder(name_or_folder)
    card = read_card(folder)
    return Models(
        card=card,
        detector=_engine(folder, card, "detector.onnx", threads, memory_gb),
        student=_engine(folder, card, "student.onnx", threads, memory_gb),
        folder=folder,
    )


def load_brain(threads: int = 0, memory_gb: float = MEMORY_GB) -> Engine:
    """The shipped brain-mask network. Raises UserError when it is missing or changed."""
    folder = WEIGHTS / BRAIN_MODEL
    return _engine(folder, read_card(folder), "brain.onnx", threads, memory_gb)


def load_regions(threads: int = 0) -> OnnxNetwork:
    """The shipped network of the regions. Raises UserError when it is missing or changed."""
    folder = WEIGHTS / REGION_MODEL
    return OnnxNetwork(verify(folder, read_network_card(folder), "regions.onnx"), threads)


def verify(folder: Path, card: NetworkCard, name: str) -> Path:
    """The path of one of a model's files. Raises UserError when it is missing or changed."""
    path = folder / name
    if name not in card.files:
        raise UserError(f"The card of {folder} does not list {name}; convert or export it again.")
    if not path.is_file():
        raise UserError(f"{path} is missing; copy the whole model folder or install again.")
    if sha256(path) != card.files[name]:
        raise UserError(
            f"{path} is not the file that its card describes (its checksum differs); copy the "
            f"model folder or install again."
        )
    return path


def _engine(folder: Path, card: ModelCard, name: str, threads: int, memory_gb: float) -> Engine:
    return Engine(verify(folder, card, name), threads, memory_gb, config=card.networks)
