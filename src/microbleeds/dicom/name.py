"""What outputs of a DICOM folder are called: like the folder, unless that tells the patient."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from microbleeds.console import extra
from microbleeds.errors import UserError

_FEWEST_LETTERS, _FEWEST_DIGITS = 3, 4  # fewer are in many a folder's name by chance
_ONE_LETTER = str.maketrans({"ø": "o", "ł": "l", "đ": "d", "æ": "ae"})  # not taken apart
_TWO_LETTERS = str.maketrans({"ä": "ae", "ö": "oe", "ü": "ue", "ø": "oe", "å": "aa", "æ": "ae"})
_TAGS = ["PatientName", "PatientID", "AccessionNumber", "StudyInstanceUID"]


def folder_name(folder: Path) -> str:
    """What outputs of a folder are called: its name, unless the patient's name or number is in it.

    Then it is `study-` and eight digits made from the study's UID. A number that stands for the
    patient's name as well is a pseudonym. Raises UserError when a file cannot be read.
    """
    name = folder.resolve().name
    for header in _headers(folder):
        person, *numbers, study = (str(header.get(tag) or "") for tag in _TAGS)
        if _names(name, person) or any(_numbers(name, n) for n in numbers if n != person):
            return f"study-{hashlib.sha256(study.encode()).hexdigest()[:8]}"
        if _words(person):
            break
    return name


def _headers(folder: Path) -> Iterator[Any]:
    """Patient and study of every DICOM file; a DICOMDIR is one too, but says neither."""
    with extra("dicom"):
        import pydicom
        from pydicom.misc import is_dicom
    for path in sorted(folder.rglob("*")):
        try:
            if path.is_file() and is_dicom(path):
                yield pydicom.dcmread(path, specific_tags=_TAGS)
        except Exception as error:  # pydicom raises many kinds for a file that is truncated
            if isinstance(error, OSError) and error.errno is not None:
                raise UserError(
                    f"{folder} cannot be read ({error.strerror}); give a folder that you may read."
                ) from error


def _names(folder: str, person: str) -> bool:
    """Whether a word of a person's name, or all of them where they are short, are in a folder's.

    The name may be written in several scripts, with `=` between them.
    """
    return any(
        len("".join(some)) >= _FEWEST_LETTERS and all(word in place for word in some)
        for written in person.split("=")
        for words in map(_words, _spellings(written))
        for some in (words, *([word] for word in words))
        for place in _spellings(folder)
    )


def _numbers(folder: str, number: str) -> bool:
    """Whether a patient's number is in a folder's name, however it is divided there.

    One that begins with the `sub-` of BIDS was made to be.
    """
    wanted, place = (re.sub(r"[\W_]", "", text.casefold()) for text in (number, folder))
    return len(wanted) >= _FEWEST_DIGITS and wanted in place and not number.startswith("sub-")


def _words(text: str) -> list[str]:
    """Runs of letters but the `sub` of BIDS."""
    return [word for word in re.findall(r"[^\W\d_]+", text) if word != "sub"]


def _spellings(text: str) -> list[str]:
    """In small letters without accents; and the same with umlauts as two letters."""
    small = unicodedata.normalize("NFC", text).casefold()
    return [
        "".join(c for c in unicodedata.normalize("NFKD", form) if not unicodedata.combining(c))
        for form in (small.translate(_ONE_LETTER), small.translate(_TWO_LETTERS))
    ]
