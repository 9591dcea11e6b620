"""Classes of microbleed burden."""

from __future__ import annotations

BURDEN_SOURCE = "Charidimou et al., Stroke 48(8):2084, 2017"
_CLASSES = ((0, "0"), (1, "1"), (4, "2 to 4"), (10, "5 to 10"))


def burden_class(count: int) -> str:
    """The class of a count: 0, 1, 2 to 4, 5 to 10, or more than 10.

    The cut-offs are those of the pooled analysis of microbleeds before thrombolysis (Charidimou et
    al., Stroke 48(8):2084, 2017: 1, 2 to 4, 5 or more, more than 10), made to exclude each other.
    """
    for most, name in _CLASSES:
        if count <= most:
            return name
    return "more than 10"
