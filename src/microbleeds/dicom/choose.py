"""Which volume of a folder is meant: by rule where only one can be, else the user says."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from microbleeds.dicom.series import Volume
from microbleeds.errors import UserError
from microbleeds.scan import FEWEST_VOXELS

MOST_NAMED = 12  # volumes in a message


def choose(folder: Path, volumes: Sequence[Volume], wanted: str | None) -> tuple[Volume, str]:
    """The volume to use and, in words, why.

    wanted: a key, series number or description that the user gave. Without it: the only volume
    there is, or the only magnitude (or QSM) that is T2*, SWI or QSM by name or parameters.
    Raises UserError, which names the volumes, when that does not leave exactly one.
    """
    usable = [v for v in volumes if v.kind == "magnitude" and len(v.frames) >= FEWEST_VOXELS]
    if wanted is not None:
        return _named(folder, volumes, usable, wanted), "as --series says"
    weighted = [volume for volume in usable if volume.weighted]
    if len(weighted) == 1:
        return weighted[0], "the only T2*, SWI or QSM volume in the folder"
    if len(volumes) == 1:
        return volumes[0], "the only one in the folder, though nothing in it says T2*, SWI or QSM"
    if weighted:
        raise UserError(
            f"{folder} holds {len(weighted)} series that could be meant: {_list(weighted)}; choose "
            f"with --series, for example --series {weighted[0].key}."
        )
    large = [volume for volume in volumes if len(volume.frames) >= FEWEST_VOXELS]
    raise UserError(
        f"{folder} holds no series that says T2*, SWI or QSM magnitude, but "
        f"{_list(large or volumes)}; "
        "choose with --series NUMBER if one of them is."
    )


def _named(
    folder: Path, volumes: Sequence[Volume], usable: Sequence[Volume], wanted: str
) -> Volume:
    named = [v for v in volumes if wanted == v.key] or [
        v for v in volumes if wanted.lower() in (str(v.series_number), v.description.lower())
    ]
    if not named:
        raise UserError(
            f"{folder} has no series {wanted!r}; choose one of {_list(volumes)} by its number."
        )
    if len(named) == 1:
        return named[0]
    best = [volume for volume in named if volume in usable]
    if len(best) == 1:
        return best[0]
    raise UserError(
        f"--series {wanted} fits {len(named)} volumes of {folder}: {_list(named)}; give the "
        f"whole number, for example --series {named[0].key}."
    )


def _list(volumes: Sequence[Volume]) -> str:
    """Their titles, not too many."""
    more = [f"{len(volumes) - MOST_NAMED} more"] if len(volumes) > MOST_NAMED else []
    return ", ".join([volume.title for volume in volumes[:MOST_NAMED]] + more)
