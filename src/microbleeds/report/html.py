"""What all pages share: how a template is filled, and words."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from typing import TYPE_CHECKING, Any

from microbleeds.settings import Contrast

if TYPE_CHECKING:
    from jinja2 import Environment

CONTRASTS: Mapping[Contrast, str] = {"t2star": "T2*-GRE", "swi": "SWI", "qsm": "QSM"}


def fill_template(name: str, content: Mapping[str, Any]) -> str:
    """The page that a template of `report` or `study` makes of its content.

    Everything is escaped but what passes the filter `picture`: drawings of this package.
    """
    return _templates().get_template(name).render(content)


@cache
def _templates() -> Environment:
    """Kept, since to compile a template takes longer than to fill it."""
    from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined
    from markupsafe import Markup

    packages = ("microbleeds.report", "microbleeds.study")
    pages = Environment(
        loader=ChoiceLoader([PackageLoader(package) for package in packages]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    pages.filters["picture"] = Markup
    return pages


def flat(settings: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, Any]]:
    """Nested settings as (name, value), the names joined by dots."""
    for name, value in settings.items():
        if isinstance(value, Mapping):
            yield from flat(value, f"{before}{name}.")
        else:
            yield f"{before}{name}", value
