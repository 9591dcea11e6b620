"""Bar charts as inline SVG, in one colour, with their numbers in words for those who cannot see."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from microbleeds.study.group_tally import Histogram

_WIDTH, _HEIGHT = 360, 194
_TOP, _BOTTOM, _RIGHT = 10, 28, 22
_LETTER = 6.5  # width of a figure
_BARS = 16  # at most, of an even histogram


@dataclass(frozen=True)
class Bar:
    """name: what is counted, in words. tick: what stands below; empty for nothing."""

    name: str
    count: int
    tick: str = ""


def count_chart(label: str, histogram: Histogram, unit: str) -> str:
    """A chart of a histogram of whole numbers: a tick below every fifth, the last for the rest."""
    last = len(histogram.edges) - 1
    bars = []
    for number, count in enumerate(histogram.counts):
        name = f"more than {number - 1}" if number == last else str(number)
        tick = f">{number - 1}" if number == last else "" if number % 5 else str(number)
        bars.append(Bar(f"{name} {unit}", count, tick if number != last - 1 else ""))
    return bar_chart(label, bars)


def value_chart(label: str, histogram: Histogram, unit: str) -> str:
    """A chart of the part of a histogram that is not empty; the ticks are where bars begin."""
    filled = [place for place, count in enumerate(histogram.counts) if count]
    if not filled:
        return bar_chart(label, [])
    width = 1
    while filled[-1] // width - filled[0] // width >= _BARS:
        width *= 2
    edges = [*histogram.edges, math.inf]
    bars = []
    for start in range(filled[0] // width * width, filled[-1] + 1, width):
        low, high = edges[start], edges[min(start + width, len(edges) - 1)]
        name = f"{low:,} and more" if high == math.inf else f"{low:,} to {high:,}"
        bars.append(Bar(f"{name} {unit}", sum(histogram.counts[start : start + width]), f"{low:,}"))
    return bar_chart(label, bars, end=f"{high:,}" if high < math.inf else "", between=True)


def bar_chart(label: str, bars: Sequence[Bar], end: str = "", between: bool = False) -> str:
    """The SVG element.

    between: the ticks stand at the beginning of their bars, `end` at the end of the last, and as
    many as have room; else each stands in the middle.
    """
    top, step = _scale(max((bar.count for bar in bars), default=0))
    left = 10 + _LETTER * len(f"{top:,}")
    width = (_WIDTH - _RIGHT - left) / max(len(bars), 1)
    parts = [_line(level, top, left) for level in range(0, top + 1, step)]
    for place, bar in enumerate(bars):
        x, y = left + (place + 0.08) * width, _y(bar.count, top)
        parts.append(
            f'<rect x="{x:.1f}" y="{y:.1f}" width="{0.84 * width:.1f}" '
            f'height="{_y(0, top) - y:.1f}"><title>{escape(bar.name)}: {bar.count:,}</title></rect>'
        )
    ticks = [bar.tick for bar in bars] + ([end] if between else [])
    room = max((len(tick) for tick in ticks), default=0) * _LETTER + 6
    every = math.ceil(room / width) if between else 1
    parts += [
        _text(tick, left + (place + (0 if between else 0.5)) * width, _HEIGHT - 7, "middle")
        for place, tick in enumerate(ticks)
        if place % every == 0
    ]
    told = ", ".join(f"{bar.name}: {bar.count:,}" for bar in bars if bar.count) or "nothing"
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" class="chart" role="img" '
        f'aria-label="{escape(label)}. {escape(told)}" viewBox="0 0 {_WIDTH} {_HEIGHT}">'
        f"{''.join(parts)}</svg>"
    )


def share_bar(share: float) -> str:
    """A bar across a table's cell; the number stands beside it."""
    return (
        '<svg class="share" aria-hidden="true" viewBox="0 0 100 10" preserveAspectRatio="none">'
        f'<rect width="{100 * share:.1f}" height="10"/></svg>'
    )


def _scale(most: int) -> tuple[int, int]:
    """The top of the axis and the distance of its lines: three to five round numbers."""
    step = 1
    while most > 4 * step:
        step = step * 5 // 2 if str(step)[0] == "2" else step * 2
    return max(math.ceil(most / step), 1) * step, step


def _y(count: float, top: int) -> float:
    return _TOP + (_HEIGHT - _TOP - _BOTTOM) * (1 - count / top)


def _line(level: int, top: int, left: float) -> str:
    y = _y(level, top)
    line = f'<line x1="{left:.1f}" x2="{_WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>'
    return line + _text(f"{level:,}", left - 5, y + 4, "end")


def _text(words: str, x: float, y: float, anchor: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(words)}</text>'
