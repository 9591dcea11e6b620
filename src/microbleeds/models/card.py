"""What a model is, wants and may be used for: `card.json` beside its weights."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path, PurePath
from typing import Any, Literal, TypeVar

from microbleeds.errors import UserError
from microbleeds.files import whole_file
from microbleeds.models.config import NetworkConfig, Triple
from microbleeds.models.decode import decode
from microbleeds.settings import (
    Calibration,
    CandidateSettings,
    Contrast,
    DiscriminateSettings,
    OperatingPoint,
    PrepareSettings,
    Settings,
)

CARD = "card.json"
_Card = TypeVar("_Card", bound="NetworkCard")
Channel = Literal["image", "symmetry", "vessels"]


@dataclass(frozen=True)
class Thresholds:
    """Probabilities from which step 1 and step 2 call something a microbleed."""

    detector: float
    student: float


@dataclass(frozen=True)
class NetworkCard:
    """What every model says of itself.

    files: name in the model's folder to SHA-256. training: data, seed, command, figures, limits.
    Raises ValueError when a file's name is more than a name.
    """

    name: str
    description: str
    licence: str
    files: dict[str, str] = field(default_factory=dict)
    training: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Keep to the model's folder."""
        if outside := [name for name in self.files if PurePath(name).name != name]:
            raise ValueError(f"file {outside[0]!r} is not a plain file name")


@dataclass(frozen=True)
class ModelCard(NetworkCard):
    """Everything about a model of the method, or of the brain mask, but its weights.

    value_range: "unit" for an image in [0, 1]; "signed" for 2v - 1 with 0.5 outside the brain.
    patch_spacing_mm: voxel size of candidate patches, but that slices thinner than that are taken
    as they are; None takes the working grid's voxels.
    detector_weight: of step 1 in the probability that step 2 gives, and calibration: what makes
    that probability hold on average, by contrast; other_calibration: of the other contrasts.
    mirrored: step 1 looks at the volume's mirror image as well, step 2 at each patch's.
    """

    contrasts: tuple[Contrast, ...] = ("t2star", "swi", "qsm")
    channels: tuple[Channel, ...] = ("image", "symmetry", "vessels")
    value_range: Literal["unit", "signed"] = "unit"
    prepare: PrepareSettings = field(default_factory=PrepareSettings)
    patch_spacing_mm: tuple[float, float, float] | None = (0.5, 0.5, 1.5)
    detector_weight: float = 0.0
    calibration: dict[Contrast, Calibration] = field(default_factory=dict)
    other_calibration: Calibration = field(default_factory=Calibration)
    mirrored: bool = False
    operating_points: dict[OperatingPoint, Thresholds] = field(default_factory=dict)
    networks: NetworkConfig = field(default_factory=NetworkConfig)

    def __post_init__(self) -> None:
        """Check what the types cannot. Raises ValueError."""
        super().__post_init__()
        if len(self.channels) != self.networks.in_channels:
            raise ValueError(
                f"channels are {', '.join(self.channels)}, but in_channels is "
                f"{self.networks.in_channels}"
            )

    @property
    def patch_shape(self) -> Triple:
        """Voxels of a candidate patch."""
        return self.networks.patch_shape

    def settings(self, point: OperatingPoint = "balanced", threads: int = 0) -> Settings:
        """Settings for detection at an operating point. Raises UserError if the model lacks it."""
        if point not in self.operating_points:
            known = ", ".join(self.operating_points) or "none"
            raise UserError(
                f"The model {self.name} has no operating point {point!r}; choose from: {known}."
            )
        thresholds = self.operating_points[point]
        return Settings(
            prepare=self.prepare,
            candidates=CandidateSettings(threshold=thresholds.detector, mirrored=self.mirrored),
            discriminate=DiscriminateSettings(
                threshold=thresholds.student,
                detector_weight=self.detector_weight,
                calibration=self.calibration,
                other_calibration=self.other_calibration,
                mirrored=self.mirrored,
                patch_shape=self.patch_shape,
                patch_spacing_mm=self.patch_spacing_mm,
                context=self.networks.context,
            ),
            threads=threads,
        )


def write_card(card: NetworkCard, folder: Path) -> None:
    """Write `card.json` into the model's folder."""
    with whole_file(folder / CARD) as path:
        path.write_text(json.dumps(asdict(card), indent=2) + "\n", encoding="utf-8")


def read_card(folder: Path) -> ModelCard:
    """Read a model folder's card. Raises UserError when it is missing or not a card."""
    return _read(folder, ModelCard)


def read_network_card(folder: Path) -> NetworkCard:
    """Read the card of a network that is not of the method. Raises UserError as `read_card`."""
    return _read(folder, NetworkCard)


def _read(folder: Path, kind: type[_Card]) -> _Card:
    path = folder / CARD
    try:
        card: _Card = decode(kind, json.loads(path.read_text(encoding="utf-8")))
    except OSError as error:
        raise UserError(f"{folder} is no model folder: {path} cannot be read.") from error
    except ValueError as error:  # broken JSON and text are ValueErrors too
        raise UserError(f"{path} is not a valid model card: {error}.") from error
    return card
