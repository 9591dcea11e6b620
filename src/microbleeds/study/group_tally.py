"""What the group level keeps of all scans together: the same size however many they are."""

from __future__ import annotations

import heapq
import math
from bisect import bisect_right
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from microbleeds.settings import Contrast
from microbleeds.study.group_row import STEPS, ScanRow

_SHOWN = 10  # scans in each list of the most outlying
_NAMES = 20  # different names that are counted one by one
_SPREAD = 1.349  # interquartile ranges to standard deviations, of a normal distribution
_MOST = 20  # microbleeds of a scan that have a bar of their own
BRAIN_CM3 = tuple(range(0, 3025, 25))
BLEED_MM3 = (0, 5, 10, 20, 50, 100, 200, 500, 1000, 2000)
SECONDS = (  # a third more from one to the next
    *range(10),
    *(n * 10**power for power in range(4) for n in (10, 12, 15, 20, 25, 30, 40, 50, 65, 80)),
)


@dataclass
class Histogram:
    """How many values lie from each edge up to the next; the last bin has no end."""

    edges: Sequence[float]
    counts: list[int]

    @classmethod
    def empty(cls, edges: Sequence[float]) -> Histogram:
        """Without any value yet."""
        return cls(edges, [0] * len(edges))

    @property
    def total(self) -> int:
        """How many values were counted."""
        return sum(self.counts)

    def add(self, value: float) -> None:
        """Count a value; one below the first edge goes to the first bin."""
        self.counts[max(bisect_right(self.edges, value) - 1, 0)] += 1

    def quantile(self, share: float) -> float:
        """The value below which a share of all lies, as if even within each bin; NaN of none."""
        if not self.total:
            return math.nan
        left = share * self.total
        for (low, high), count in zip(pairwise(self.edges), self.counts, strict=False):
            if count and left <= count:
                return low + (high - low) * left / count
            left -= count
        return self.edges[-1]

    def deviation(self, value: float) -> float:
        """Distance from the median in robust standard deviations; 0 where all are alike."""
        spread = (self.quantile(0.75) - self.quantile(0.25)) / _SPREAD
        return (value - self.quantile(0.5)) / spread if spread > 0 else 0.0


@dataclass
class Extremes:
    """The scans with the highest scores; of equals those that came first."""

    size: int = _SHOWN
    seen: int = 0
    _heap: list[tuple[float, int, ScanRow]] = field(default_factory=list)

    def add(self, score: float, row: ScanRow) -> None:
        """Keep the scan if it is among the highest."""
        self.seen += 1
        push = heapq.heappush if len(self._heap) < self.size else heapq.heappushpop
        push(self._heap, (score, -self.seen, row))

    def rows(self) -> tuple[ScanRow, ...]:
        """Highest first."""
        return tuple(row for _, _, row in sorted(self._heap, reverse=True))


@dataclass
class Names:
    """How often each name was seen, of the first few different ones; `others`: all the rest."""

    counts: Counter[str] = field(default_factory=Counter)
    others: int = 0

    def add(self, name: str) -> None:
        """Count a name."""
        if name in self.counts or len(self.counts) < _NAMES:
            self.counts[name] += 1
        else:
            self.others += 1

    @property
    def total(self) -> int:
        """How many names were counted."""
        return self.counts.total() + self.others

    @property
    def different(self) -> str:
        """How many different ones there were, in words."""
        return f"more than {_NAMES}" if self.others else str(len(self.counts))


@dataclass
class Counts:
    """Sums over the scans of one contrast."""

    scans: int = 0
    with_any: int = 0
    microbleeds: int = 0
    definite: int = 0
    burden: Counter[str] = field(default_factory=Counter)
    by_count: Histogram = field(default_factory=lambda: Histogram.empty(tuple(range(_MOST + 2))))

    def add(self, row: ScanRow) -> None:
        """Count a scan."""
        self.scans += 1
        self.with_any += row.microbleeds > 0
        self.microbleeds += row.microbleeds
        self.definite += row.definite
        self.burden[row.burden] += 1
        self.by_count.add(row.microbleeds)


@dataclass
class Tally:
    """Everything the page says of the scans, as they come by.

    registered: scans with regions. made: of each thing that results depend on, what was seen.
    """

    every: Counts = field(default_factory=Counts)
    contrasts: dict[Contrast, Counts] = field(default_factory=dict)
    failed: Names = field(default_factory=Names)  # by contrast
    registered: int = 0
    regions: Counter[str] = field(default_factory=Counter)
    flags: Names = field(default_factory=Names)
    step_seconds: dict[str, float] = field(default_factory=lambda: dict.fromkeys(STEPS, 0.0))
    made: dict[str, Names] = field(default_factory=dict)
    brain_cm3: Histogram = field(default_factory=lambda: Histogram.empty(BRAIN_CM3))
    bleed_mm3: Histogram = field(default_factory=lambda: Histogram.empty(BLEED_MM3))
    seconds: Histogram = field(default_factory=lambda: Histogram.empty(SECONDS))
    most: Extremes = field(default_factory=Extremes)
    smallest: Extremes = field(default_factory=Extremes)
    largest: Extremes = field(default_factory=Extremes)
    unlike: Extremes = field(default_factory=Extremes)
    widest: Extremes = field(default_factory=Extremes)

    def add(self, row: ScanRow) -> None:
        """Count a scan."""
        self.every.add(row)
        self.contrasts.setdefault(row.contrast, Counts()).add(row)
        if row.regions is not None:
            self.registered += 1
            self.regions.update(row.regions)
        for flag in row.flags:
            self.flags.add(flag)
        for name, part in row.made.items():
            self.made.setdefault(name, Names()).add(part)
        for step in STEPS:
            self.step_seconds[step] += row.seconds.get(step, 0.0)
        self.seconds.add(sum(row.seconds.values()))
        self.brain_cm3.add(row.brain_cm3)
        if row.microbleeds:
            self.bleed_mm3.add(row.volume_mm3)
        self._rank(row)

    def _rank(self, row: ScanRow) -> None:
        self.smallest.add(-row.brain_cm3, row)
        self.largest.add(row.brain_cm3, row)
        self.widest.add(row.high - row.low, row)
        if row.microbleeds:
            self.most.add(row.microbleeds, row)
        if row.unlike:
            self.unlike.add(len(row.unlike), row)
