"""Classes of a count."""

import pytest

from microbleeds.report.burden import burden_class


@pytest.mark.parametrize(
    ("count", "name"),
    [(0, "0"), (1, "1"), (2, "2 to 4"), (4, "2 to 4"), (5, "5 to 10"), (10, "5 to 10"),
     (11, "more than 10"), (300, "more than 10")],
)  # fmt: skip
def test_classes(count, name):
    assert burden_class(count) == name
