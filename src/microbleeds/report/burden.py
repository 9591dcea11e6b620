"""Classes of microbleed burden."""

from __future__ import annotations

from bisect import bisect_left

BURDEN_SOURCE = "Charidimou et al., Stroke 48(8):2084, 2017"
BURDEN_CLASSES = ("0", "1", "2 to 4", "5 to 10", "more than 10")
_HIGHEST = (0, 1, 4, 10)  # counts of the classes but the last


def burden_class(count: int) -> str:
    """The class of a count: 0, 1, 2 to 4, 5 to 10, or more than 10.

    The cut-offs are those of the pooled analysis of microbleeds before thrombolysis (Charidimou et
    al., Stroke 48(8):2084, 2017: 1, 2 to 4, 5 or more, more than 10), made to exclude each other.
    """
    return BURDEN_CLASSES[bisect_left(_HIGHEST, count)]
