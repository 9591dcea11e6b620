"""The page of the group level: one HTML file that links to the pages of single scans."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from itertools import islice
from pathlib import Path
from typing import Any
from urllib.parse import quote

import microbleeds
from microbleeds.mni.atlas import GROUPS
from microbleeds.report.burden import BURDEN_CLASSES, BURDEN_SOURCE
from microbleeds.report.html import CONTRASTS, fill_template, flat
from microbleeds.report.results import RESEARCH_USE
from microbleeds.report.unusual import TRAIT_NAMES
from microbleeds.study.group_charts import count_chart, share_bar, value_chart
from microbleeds.study.group_files import FailedScan
from microbleeds.study.group_row import ScanRow
from microbleeds.study.group_tally import Counts, Histogram, Tally

FAR = 3.5  # robust standard deviations, Iglewicz and Hoaglin 1993
_FEW = 4  # scans, too few for quartiles
_FAILURES = 50  # that are on the page
_FLAGS = {
    "no-candidate": "nothing became a candidate",
    "no-microbleed": "candidates, but all of them dropped",
    "no-regions": "not registered to the atlas, so without regions",
}


def render(out: Path, tally: Tally, failures: Iterable[FailedScan], warnings: list[str]) -> str:
    """The page as text, self-contained; links lead to files in the folder `out`."""
    content = {
        **_answer(tally),
        **_charts(tally),
        **_look(out, tally),
        **_made(tally),
        "warnings": warnings,
        "failures": list(islice(failures, _FAILURES)),
        "failed": tally.failed.total,
        "contrasts": CONTRASTS,
        "version": microbleeds.__version__,
        "research_use": RESEARCH_USE,
    }
    return fill_template("group.html", content)


def _answer(tally: Tally) -> dict[str, Any]:
    """Numbers of all scans and by contrast."""
    every = tally.every
    known = [name for name in CONTRASTS if name in tally.contrasts or name in tally.failed.counts]
    columns = [
        (CONTRASTS[name], tally.contrasts.get(name, Counts()), tally.failed.counts[name])
        for name in known
    ]
    return {
        "every": every,
        "columns": [*columns, ("All", every, tally.failed.total)] if len(columns) != 1 else columns,
        "unknown_failed": tally.failed.total - sum(failed for *_, failed in columns),
        "burden_classes": BURDEN_CLASSES,
        "burden_source": BURDEN_SOURCE,
    }


def _charts(tally: Tally) -> dict[str, Any]:
    """Distributions; each chart as (heading, drawing, words below)."""
    counts = [
        (CONTRASTS[name], count_chart(CONTRASTS[name], one.by_count, "microbleeds"), _told(one))
        for name, one in ((name, tally.contrasts.get(name)) for name in CONTRASTS)
        if one is not None
    ]
    measures = [
        (heading, value_chart(heading, values, unit), _middle(values, unit))
        for heading, values, unit in (
            ("Brain in the mask (cm³)", tally.brain_cm3, "cm³"),
            ("Microbleeds in scans with any (mm³)", tally.bleed_mm3, "mm³"),
            ("Time of a scan (s)", tally.seconds, "s"),
        )
    ]
    most = max(tally.regions.values(), default=0) or 1
    return {
        "count_charts": counts,
        "measure_charts": measures,
        "regions": {
            group: [
                (name, tally.regions[name], share_bar(tally.regions[name] / most))
                for name in members
            ]
            for group, members in GROUPS.items()
        },
        "placed": tally.regions.total(),
        "registered": tally.registered,
        "steps": {step: total / tally.every.scans for step, total in tally.step_seconds.items()}
        if tally.every.scans
        else {},
    }


def _told(counts: Counts) -> str:
    plural = "" if counts.scans == 1 else "s"
    return (
        f"{counts.scans:,} scan{plural}, {counts.microbleeds / counts.scans:.1f} microbleeds a scan"
    )


def _middle(values: Histogram, unit: str) -> str:
    if values.total < _FEW:
        return f"{values.total} scan{'' if values.total == 1 else 's'}"
    low, middle, high = (f"{values.quantile(share):,.0f}" for share in (0.25, 0.5, 0.75))
    return f"half of them between {low} and {high} {unit}, median about {middle} {unit}"


def _look(out: Path, tally: Tally) -> dict[str, Any]:
    """Lists of scans that are worth a look, each row (name, link or None, contrast, words...)."""

    def linked(rows: Iterable[ScanRow], *words: Any) -> list[dict[str, Any]]:
        return [
            {"scan": row.scan, "link": page_link(out, row), "contrast": CONTRASTS[row.contrast],
             "cells": [say(row) for say in words]}
            for row in rows
        ]  # fmt: skip

    return {
        "far": FAR,
        "most": linked(
            tally.most.rows(),
            lambda row: row.microbleeds,
            lambda row: row.definite,
            lambda row: f"{row.expected:.1f}",
        ),
        "brains": linked(
            unusual_brains(tally),
            lambda row: f"{row.brain_cm3:,.0f}",
            lambda row: f"{tally.brain_cm3.deviation(row.brain_cm3):+.1f}".replace("-", "−"),
        ),
        "unlike": linked(
            tally.unlike.rows(),
            lambda row: "; ".join(_trait(name).lower() for name in row.unlike),
        ),
        "unlike_seen": tally.unlike.seen,
        "widest": linked(
            (row for row in tally.widest.rows() if row.high > row.low),
            lambda row: row.microbleeds,
            lambda row: f"{row.low} to {row.high}",
        ),
        "flags": {
            flag_words(flag): tally.flags.counts[flag] for flag in sorted(tally.flags.counts)
        },
    }


def unusual_brains(tally: Tally) -> list[ScanRow]:
    """Those of the smallest and largest masks that are far from the median, smallest first."""
    extremes = (*tally.smallest.rows(), *reversed(tally.largest.rows()))
    far = [row for row in extremes if abs(tally.brain_cm3.deviation(row.brain_cm3)) >= FAR]
    return list({row.record: row for row in far}.values())  # of a few scans all are extremes


def flag_words(flag: str) -> str:
    """A flag as the page names it."""
    kind, _, trait = flag.partition(":")
    return f"unlike the training: {_trait(trait).lower()}" if trait else _FLAGS.get(kind, flag)


def page_link(out: Path, row: ScanRow) -> str | None:
    """Where the scan's own page is, or its picture, from the folder `out`; None without either."""
    record = Path(row.record)
    for suffix in (".html", ".png"):
        if (out / record.with_suffix(suffix)).is_file():
            return quote(os.fsencode(record.with_suffix(suffix)))
    return None


def _trait(name: str) -> str:
    return TRAIT_NAMES.get(name, name)


def _made(tally: Tally) -> dict[str, Any]:
    """What made the results: of each part the number of scans, and its own facts."""

    def facts(part: str) -> list[tuple[str, Any]]:
        value = json.loads(part)
        if not isinstance(value, Mapping):
            return [("", value)]
        return sorted(flat(value), key=lambda fact: fact[0] != "name")  # the name first

    return {
        "made": {
            name: [(number, facts(part)) for part, number in seen.counts.items()]
            for name, seen in tally.made.items()
        },
    }
