"""Two visits of simulated heads compared: new microbleeds found, and falsely called new.

    python benchmarks/visits.py                # 15 pairs; table, and docs/visits.png of one of them
    python benchmarks/visits.py --most-new 0 --picture x.png  # nothing is new: how often so said
    python benchmarks/visits.py --tuning --seed 79 --picture x.png    # to choose rules on

Heads in T2*-GRE are from label maps 17-20 of ../shared/anatomy, which no network was trained on
and no rule was chosen on (--tuning: from maps 1-16), with 0-12 microbleeds at baseline and 0-12
more at follow-up. There the head lies otherwise (4 degrees, 8 mm), noise, motion and tilt are
others, and half the time the slices too. Everything is kept in work/visits, so that a run can be
continued. Microbleeds that look smaller than 2 mm count neither way, as in accuracy.py. A
microbleed that was there at baseline and is called new is false, even if baseline showed nothing of
it.
"""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, replace
from io import BytesIO
from pathlib import Path
from typing import Annotated, Any, get_args

import numpy as np
import typer
from numpy.typing import NDArray

from microbleeds import load_models
from microbleeds.evaluate.lesions import Lesions, from_centres
from microbleeds.evaluate.matching import Finding, match
from microbleeds.report.bids import output_paths
from microbleeds.run import detect_files
from microbleeds.settings import OperatingPoint
from microbleeds.simulate import HeadSettings
from microbleeds.simulate.anatomy import load_anatomy
from microbleeds.simulate.dataset import PHYSICS, SUFFIX, check_same, write_head
from microbleeds.simulate.scanner import random_protocol
from microbleeds.simulate.visits import Visit as Scanned
from microbleeds.simulate.visits import random_return, simulate_visits
from microbleeds.steps.cleanup import judge_again
from microbleeds.study.compare import Comparison, compare, follow
from microbleeds.study.longitudinal import Change, Rules
from microbleeds.study.page import draw_pair, grey_windows, slice_plane
from microbleeds.study.visit import Visit, read_visit

ROOT = Path(__file__).parents[1]
ANATOMY = ROOT.parent / "shared" / "anatomy"
MAPS = [ANATOMY / f"training_seg_{n:02d}.nii.gz" for n in range(1, 21)]
TUNING, HELD_OUT = MAPS[:16], MAPS[16:]
SMALLEST_MM3 = np.pi / 6 * 2.0**3
RULES = {
    "matching alone": Rules(same_mm=4.0, second_look=2.0, trace=2.0, trace_of_sure=2.0),
    "and candidates below the threshold": Rules(same_mm=4.0, trace=2.0, trace_of_sure=2.0),
    "and darkness (as shipped)": Rules(),
}


@dataclass(frozen=True)
class Pair:
    """One simulated head at two visits, compared.

    new: the true new microbleeds in the follow-up. old: (baseline mm, follow-up mm) of the others.
    """

    name: str
    found: Comparison
    new: Lesions
    old: tuple[NDArray[np.float64], NDArray[np.float64]]

    @property
    def error_mm(self) -> float:
        """Of the registration at the worst microbleed that was there at baseline."""
        if not len(self.old[0]):
            return float("nan")
        there = self.found.registration.to_follow_up(self.old[0])
        return float(np.linalg.norm(there - self.old[1], axis=1).max())


def simulate(
    folder: Path, seed: int, number: int, whole: bool, maps: list[Path], most_new: int
) -> str:
    """Two scans of one head, if they are not there yet; returns what their files begin with."""
    subject = f"sub-{number:02d}"
    done = folder / f"{subject}_ses-2.json"
    if not done.exists():
        rng = np.random.default_rng([seed, number, 3])
        protocol, new = random_protocol(rng), int(rng.integers(0, most_new + 1))
        anatomy = load_anatomy(maps[number % len(maps)])
        heads = simulate_visits(
            anatomy, (Scanned(protocol), random_return(protocol, new, rng)), ("t2star",),
            HeadSettings(whole_head=whole), (seed, number),
        )  # fmt: skip
        for session, head in enumerate(heads, start=1):
            record = {"physics": PHYSICS, "anatomy": anatomy.name, "contrasts": ["t2star"]}
            write_head(folder, f"{subject}_ses-{session}", head, record)
    else:
        check_same(done, {"physics": PHYSICS})
    return subject


def visit(folder: Path, scan: str) -> Visit:
    """A scan with the results of detect, which runs if it has not yet."""
    record = output_paths(f"{scan}_{SUFFIX['t2star']}", folder / "results").report
    if not record.exists():
        source = folder / f"{scan}_{SUFFIX['t2star']}.nii.gz"
        (outcome,) = detect_files(
            [source], folder / "results", picture=False, overwrite=True, regions=False
        )
        if outcome.error:
            raise SystemExit(outcome.error)
    return read_visit(record, load_models().card.settings("sensitive"))


def pair(folder: Path, subject: str) -> Pair:
    """Both visits compared, with the truth."""
    one, two = (
        json.loads((folder / f"{subject}_ses-{n}.json").read_text())["microbleeds"] for n in (1, 2)
    )
    before = len(one)
    volumes = np.array([bleed["volume_mm3"]["t2star"] for bleed in two[before:]])
    old = places(one), places(two[:before])
    new = from_centres(places(two[before:]), volumes_mm3=volumes)
    found = compare(visit(folder, f"{subject}_ses-1"), visit(folder, f"{subject}_ses-2"))
    return Pair(subject, found, new, old)


def places(bleeds: list[dict[str, Any]]) -> NDArray[np.float64]:
    """Centres (N, 3)."""
    return np.array([bleed["xyz_mm"] for bleed in bleeds]).reshape(-1, 3)


def judged(one: Visit, threshold: float) -> Visit:
    """The visit as if detected at another threshold of step 2."""
    settings = load_models().card.settings().clean_up
    return replace(one, table=judge_again(one.table, threshold, settings))


def changes(case: Pair, threshold: float, rules: Rules) -> tuple[Change, ...]:
    """The fates at a threshold, by some rules."""
    first, second = (judged(v, threshold) for v in (case.found.baseline, case.found.follow_up))
    return follow(first, second, case.found.registration, rules)


def score(case: Pair, fates: tuple[Change, ...], status: str = "new") -> tuple[Finding, ...]:
    """True new microbleeds among those called new (or another fate), and false ones."""
    called = [c.follow_up.xyz_mm for c in fates if c.status == status and c.follow_up]
    return match(case.name, from_centres(np.array(called)), case.new, "one-to-one",
                 smallest_mm3=SMALLEST_MM3)  # fmt: skip


def line(cases: list[Pair], name: str, threshold: float, rules: Rules) -> str:
    """One line of the table."""
    hits = lesions = still = 0
    false = []
    for case in cases:
        fates = changes(case, threshold, rules)
        rows = score(case, fates)
        lesions += sum(row.is_lesion for row in rows)
        hits += sum(row.is_lesion and row.detected for row in rows)
        false.append(sum(not row.is_lesion for row in rows))
        still += sum(r.is_lesion and r.detected for r in score(case, fates, "persisting"))
    return (
        f"| {name} | {hits} of {lesions} ({hits / max(lesions, 1):.2f}) | {still} "
        f"| {lesions - hits - still} | {np.mean(false):.2f} "
        f"| {sum(n == 0 for n in false)} of {len(cases)} |"
    )


def draw(case: Pair, path: Path, most: int = 6) -> None:
    """The pictures of the first microbleeds of a pair as one PNG."""
    from matplotlib.figure import Figure
    from matplotlib.image import imread

    plane, windows = slice_plane(case.found.baseline), grey_windows(case.found)
    by_fate = sorted(case.found.changes, key=lambda c: c.number)
    shown = [c for fate in ("new", "persisting", "gone") for c in by_fate if c.status == fate][
        :most
    ]
    figure = Figure(figsize=(9, 2.5 * -(-len(shown) // 2)), layout="constrained")
    grid = np.atleast_1d(figure.subplots(-(-len(shown) // 2), 2)).ravel()
    for axes in grid:
        axes.set_axis_off()
    for axes, change in zip(grid, shown, strict=False):
        axes.imshow(imread(BytesIO(draw_pair(case.found, change, plane, windows))))
        axes.set_title(change.status, fontsize=9)
    figure.savefig(path, dpi=90)


def main(
    pairs: Annotated[int, typer.Option(help="How many")] = 15,
    seed: Annotated[int, typer.Option(help="Of the series")] = 78,
    whole: Annotated[
        bool, typer.Option("--whole/--brains", help="Whole heads, or brains with their rim")
    ] = True,
    tuning: Annotated[bool, typer.Option(help="Heads from label maps 1-16")] = False,
    most_new: Annotated[int, typer.Option(help="New microbleeds of a head at most")] = 12,
    picture: Annotated[Path, typer.Option(help="PNG of a pair")] = ROOT / "docs" / "visits.png",
) -> None:
    """Print the tables."""
    maps = TUNING if tuning else HELD_OUT
    folder = ROOT / "work" / "visits" / f"{seed}-{'tuning' if tuning else 'held'}-{most_new}"
    folder.mkdir(parents=True, exist_ok=True)
    cases = []
    for number in range(pairs):
        cases.append(pair(folder, simulate(folder, seed, number, whole, maps, most_new)))
        case, quality = cases[-1], cases[-1].found.registration
        fates = Counter(change.status for change in case.found.changes)
        print(
            f"  {case.name}: {len(case.old[0])} and {len(case.new)} new; {dict(fates)}; overlap "
            f"{quality.overlap:.3f}, similarity {quality.similarity:.2f}, off by "
            f"{case.error_mm:.2f} mm, {case.found.seconds['registration']:.0f} s",
            flush=True,
        )
    card = load_models().card
    head = "new found | called persisting | not reported | false new a pair | pairs without |"
    print(f"| rules (sensitive) | {head}\n|---|---|---|---|---|---|")
    sensitive = card.operating_points["sensitive"].student
    for name, rules in RULES.items():
        print(line(cases, name, sensitive, rules))
    print(f"| operating point | {head}\n|---|---|---|---|---|---|")
    for point in get_args(OperatingPoint):
        print(line(cases, point, card.operating_points[point].student, Rules()))
    draw(max(cases, key=lambda case: len(case.found.changes)), picture)


if __name__ == "__main__":
    typer.run(main)
