"""Whether the JSON record of a scan holds what `detect` writes, so far as results are read back."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from functools import reduce
from operator import getitem
from typing import Any, get_args

from microbleeds.settings import Contrast


def misfit(record: Mapping[str, Any]) -> str:
    """The first part of a record that is missing or of another kind; empty when there is none."""
    for place, fits in _PARTS.items():
        try:
            part = reduce(getitem, place.split("."), record)
        except (KeyError, TypeError):
            return place
        if not fits(part):
            return place
    return ""


def _is(*kinds: type) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, kinds)


def _is_number(value: Any) -> bool:
    """JSON has integers that are no floating-point number, and what reads it has NaN."""
    return isinstance(value, int | float) and abs(value) <= sys.float_info.max


def _are_numbers(value: Any) -> bool:
    """Of a list or of an object."""
    items = value.values() if isinstance(value, dict) else value
    return isinstance(value, dict | list) and all(map(_is_number, items))


def _is_model(value: Any) -> bool:
    said = ("name", "description", "licence", "files")
    return isinstance(value, dict) and value.keys() >= {*said} and isinstance(value["files"], dict)


_PARTS: Mapping[str, Callable[[Any], bool]] = {
    "microbleeds": _is_number,
    "highest_detector_probability": _is_number,
    "confidence.expected": _is_number,
    "confidence.low": _is_number,
    "confidence.high": _is_number,
    "confidence.level": _is_number,
    "confidence.candidates": _is_number,
    "confidence.calibrated": _is(bool),
    "confidence.excludes": _is(str),
    "warnings": _is(list),
    "notes": _is(list),
    "traits": lambda value: value is None or _are_numbers(value),
    "source": _is(str),
    "scan_sha256": _is(str),
    "contrast": lambda value: value in get_args(Contrast),
    "voxel_mm": _are_numbers,
    "brain_cm3": _is_number,
    "model": _is_model,
    "settings.prepare": _is(dict),
    "settings.candidates": _is(dict),
    "settings.discriminate.threshold": _is_number,
    "seconds": _are_numbers,
    "version": _is(str),
    "software": _is(dict),
    "series": _is(str, type(None)),
    "brain_mask": lambda value: isinstance(value, str) or _is_model(value),
    "region_model": lambda value: value is None or _is_model(value),
}
#: What a record must name to be read back.
NEEDED = tuple(dict.fromkeys(place.split(".")[0] for place in _PARTS))
