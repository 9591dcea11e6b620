"""Golden hand-made findings: 5 hits, 4 false detections, 5 missed, over three scans."""

import pytest

from microbleeds.evaluate.matching import Finding, Findings

ORIGIN = (0.0, 0.0, 0.0)


def hit(subject: str, confidence: float, dice: float | None = None) -> Finding:
    return Finding(subject, True, True, confidence, ORIGIN, 1.0, dice)


def false(subject: str, confidence: float) -> Finding:
    return Finding(subject, False, True, confidence, ORIGIN)


def missed(subject: str) -> Finding:
    return Finding(subject, True, False, 0.0, ORIGIN)


@pytest.fixture
def golden() -> Findings:
    """a: 4 hits, 1 false, 1 missed; b: 1 hit, 1 false, 4 missed; c: no lesion, 2 false."""
    return Findings(
        (
            *(hit("a", p, d) for p, d in ((0.9, 0.8), (0.8, 0.6), (0.7, None), (0.5, 0.4))),
            false("a", 0.6),
            missed("a"),
            hit("b", 0.95, 1.0),
            false("b", 0.3),
            *(missed("b") for _ in range(4)),
            false("c", 0.85),
            false("c", 0.2),
        ),
        ("a", "b", "c"),
    )
