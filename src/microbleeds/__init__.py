"""Microbleeds finds cerebral microbleeds on T2*-GRE, SWI and QSM scans.

>>> from microbleeds import detect, load_brain, load_models, read_scan
>>> models, brain = load_models(), load_brain()          # once, kept warm over many scans
>>> found = detect(read_scan("scan.nii.gz"), models, brain)  # doctest: +SKIP

Research software, not a medical device.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from microbleeds.errors import UserError
    from microbleeds.models.zoo import Models, load_brain, load_models
    from microbleeds.pipeline import Detections, detect
    from microbleeds.scan import Scan, read_scan
    from microbleeds.settings import Settings

__version__ = "0.1.0"
__all__ = [
    "Detections", "Models", "Scan", "Settings", "UserError", "detect", "load_brain",
    "load_models", "read_scan",
]  # fmt: skip

_HOME = {
    "Detections": "pipeline", "detect": "pipeline", "Models": "models.zoo",
    "load_brain": "models.zoo", "load_models": "models.zoo", "Scan": "scan", "read_scan": "scan",
    "Settings": "settings", "UserError": "errors",
}  # fmt: skip


def __getattr__(name: str) -> Any:
    """Import a public name when it is first asked for, so that the command line starts fast."""
    if name not in _HOME:
        raise AttributeError(f"module 'microbleeds' has no attribute {name!r}")
    return getattr(import_module(f"microbleeds.{_HOME[name]}"), name)
