"""Which contrast a scan is: QSM told from magnitude by its values, T2* from SWI by its name."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from microbleeds.errors import UserError
from microbleeds.settings import Contrast

QSM_NEGATIVE = 0.1  # of the sum of absolute values: near half in QSM, none in magnitude
SWI_WORDS = {"swi", "swan", "venbold", "swip", "minip"}
# parts of a complex image: by the entity of BIDS, or at the end, as dcm2niix has it
_PARTS = re.compile(
    r"_part-(phase|real|imag)(?![a-z0-9])|(?<![a-z0-9])(phase[12]?|pha?|real|imag(inary)?)$"
)
SIDECAR_FIELDS = ("SeriesDescription", "ProtocolName", "PulseSequenceDetails", "ImageType")


def negative_share(voxels: NDArray[np.float32]) -> float:
    """What part of the sum of absolute values is negative: 0 magnitude, about 0.5 QSM."""
    total = float(np.abs(voxels).sum(dtype=np.float64))
    return (total - float(voxels.sum(dtype=np.float64))) / (2 * total) if total else 0.0


def guess_contrast(
    voxels: NDArray[np.float32], name: str = "", sidecar: str = ""
) -> tuple[Contrast, str]:
    """The contrast and, in words, the reason.

    Susceptibility lies to both sides of zero; a magnitude is never negative, and after a
    resampling only a little. T2*-GRE and SWI are treated alike, so words suffice to tell them.

    voxels: any shape. name: the file name without ending; its last word is the BIDS suffix.
    sidecar: text that describes the sequence (see `sidecar_text`).
    Raises UserError for a phase, real or imaginary image, which can have values like any contrast.
    """
    words = re.findall(r"[a-z0-9*]+", f"{sidecar} {name}".lower())
    share = negative_share(voxels)
    spoken = share >= QSM_NEGATIVE and {"phase", "ph", "pha"} & set(words)
    if spoken or _PARTS.search(name.lower()):
        raise UserError(
            f"{name} is a phase, real or imaginary image by its name or sidecar; give the "
            "magnitude or the QSM made from the phase, and --contrast if this is one after all."
        )
    if share >= QSM_NEGATIVE:
        return "qsm", f"negative values make up {share:.0%} of the signal"
    if words and words[-1] in {"qsm", "chimap"}:
        return "qsm", f"the file name ends in {words[-1]}"
    if SWI_WORDS & set(words):
        return "swi", "values of a magnitude image, and its name or sidecar says SWI"
    return "t2star", "values of a magnitude image, and nothing says SWI"


def sidecar_text(path: Path) -> str:
    """What the BIDS sidecar (`.json` beside the image) says of the sequence; empty without one."""
    stem = path.name.removesuffix(".gz").removesuffix(".nii")
    try:
        fields = json.loads(path.with_name(f"{stem}.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return ""
    if not isinstance(fields, dict):
        return ""
    return " ".join(str(fields.get(field, "")) for field in SIDECAR_FIELDS)
