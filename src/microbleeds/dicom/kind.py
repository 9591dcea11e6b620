"""What kind of image a DICOM header describes, and whether it is one that shows microbleeds."""

from __future__ import annotations

import re
from contextlib import suppress
from typing import Any, Literal

Kind = Literal["magnitude", "phase", "real", "imaginary", "projection"]

_PARTS: dict[str, Kind] = {
    "P": "phase", "PHASE": "phase", "PHASE MAP": "phase", "VELOCITY MAP": "phase",
    "R": "real", "REAL": "real", "I": "imaginary", "IMAGINARY": "imaginary",
}  # fmt: skip
_PROJECTION_WORDS = {"minip", "mip", "mnip", "projection"}
_GE_IMAGE_TYPE = (0x0043, 0x102F)  # private: 0 magnitude, 1 phase, 2 real, 3 imaginary
_GE_KINDS: dict[int, Kind] = {1: "phase", 2: "real", 3: "imaginary"}
_WEIGHTED_WORDS = {
    "swi", "swip", "swan", "eswan", "venbold", "t2*", "t2star", "t2starw", "t2s", "gre", "hemo",
    "heme", "susceptibility", "qsm", "chimap",
}  # fmt: skip
_OTHER_WORDS = {"t1", "t1w", "field", "fieldmap", "mapping", "map", "fmap", "tof", "localizer"}
_LONG_ECHO_MS = 10.0  # a gradient echo this late is T2*-weighted; angiograms and T1 have 2-7


def words(dataset: Any) -> set[str]:
    """The words of a series' name, protocol and image type, in small letters."""
    parts = [dataset.get("SeriesDescription"), dataset.get("ProtocolName")]
    parts += _several(dataset.get("ImageType"))
    return set(re.findall(r"[a-z0-9*]+", " ".join(str(part or "") for part in parts).lower()))


def image_kind(dataset: Any, frame_type: Any = None) -> Kind:
    """Magnitude unless something says otherwise.

    frame_type: of a frame in a multi-frame file, which overrules the image type of the whole.
    """
    types = [str(value).upper() for value in _several(frame_type or dataset.get("ImageType"))]
    spoken = words(dataset)
    if _PROJECTION_WORDS & spoken or "PROJECTION IMAGE" in types:
        return "projection"
    component = str(dataset.get("ComplexImageComponent") or "")
    if component and component not in ("MIXED", "MAGNITUDE"):
        return _PARTS.get(component, "magnitude")
    for value in types[2:]:
        if value in _PARTS:
            return _PARTS[value]
    with suppress(KeyError, TypeError, ValueError):  # not there, empty, several or in unknown form
        return _GE_KINDS.get(int(dataset[_GE_IMAGE_TYPE].value), "magnitude")
    return "phase" if {"phase", "pha"} & spoken else "magnitude"


def is_weighted(dataset: Any, echo_ms: float | None) -> bool:
    """Whether name or parameters say T2*-weighted gradient echo, SWI or QSM.

    By parameters: a gradient echo, not echo-planar and not inversion-prepared, with an echo time
    of 10 ms or more.
    """
    spoken = words(dataset)
    if _OTHER_WORDS & spoken:
        return False
    if _WEIGHTED_WORDS & spoken:
        return True
    sequence = _several(dataset.get("ScanningSequence"))
    gradient = "GR" in sequence or dataset.get("EchoPulseSequence") == "GRADIENT"
    planar = "EP" in sequence or dataset.get("EchoPlanarPulseSequence") == "YES"
    inverted = "IR" in sequence or dataset.get("InversionRecovery") == "YES"
    return gradient and not planar and not inverted and (echo_ms or 0) >= _LONG_ECHO_MS


def _several(value: Any) -> list[Any]:
    """The values of an attribute; pydicom gives a single one by itself."""
    return [value] if isinstance(value, str) else list(value or ())
