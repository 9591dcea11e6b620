"""How often the interval of a count holds the truth.

    microbleeds detect work/accuracy/0-12-t2star/*_T2starw.nii.gz -o RESULTS --no-picture
    python benchmarks/confidence.py RESULTS work/accuracy/0-12-t2star t2star

RESULTS: of simulated heads, whose truth is in the table `truth.tsv` of the folder they are in.
A candidate is a true one when it is matched one to one with a visible microbleed within 5 mm.
"""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import typer

from microbleeds.evaluate.lesions import from_centres
from microbleeds.evaluate.matching import match
from microbleeds.models.decode import decode
from microbleeds.report.bids import REPORT, output_paths
from microbleeds.report.confidence import count_confidence
from microbleeds.report.saved import find_records
from microbleeds.report.table import read_candidates
from microbleeds.settings import Contrast, Settings
from microbleeds.steps.cleanup import judge_again


def main(results: Path, heads: Path, contrast: Contrast) -> None:
    """Print one line a scan and the shares over all."""
    with (heads / "truth.tsv").open() as file:
        truth = [row for row in csv.DictReader(file, delimiter="\t") if row["contrast"] == contrast]
    table = []
    for path in find_records(results):
        record = json.loads(path.read_text())
        subject = Path(record["source"]).name.split("_")[0]
        seen = [r for r in truth if r["subject"] == subject and float(r["volume_mm3"]) > 0]
        centres = np.array([[float(row[axis]) for axis in "xyz"] for row in seen]).reshape(-1, 3)
        paths = output_paths(path.name.removesuffix(f"{REPORT}.json"), path.parent)
        settings = decode(Settings, record["settings"])
        candidates = read_candidates(paths.candidates)
        rows = [row for row in judge_again(candidates, 0, settings.clean_up) if row.kept]
        places = np.array([row.xyz_mm for row in rows]).reshape(-1, 3)
        rated = from_centres(places, np.array([row.probability for row in rows]))
        found = match(subject, rated, from_centres(centres), "one-to-one")
        said = count_confidence(candidates, settings, contrast)
        among = sum(finding.is_lesion and finding.detected for finding in found)
        table.append((among, len(seen), said.expected, said.low, said.high))
        print(
            f"{subject}: {record['microbleeds']} reported, {said.expected:.1f} expected "
            f"({said.low} to {said.high}); {among} among the candidates, {len(seen)} in all"
        )
    among, total, expected, low, high = np.array(table).T
    for name, count in (("among the candidates", among), ("all that are visible", total)):
        held = np.mean((low <= count) & (count <= high))
        print(
            f"microbleeds {name}: {count.mean():.2f} a scan, expected {expected.mean():.2f}; the "
            f"interval holds them in {held:.0%} of {len(table)} scans, they are more in "
            f"{np.mean(count > high):.0%}, fewer in {np.mean(count < low):.0%}"
        )


if __name__ == "__main__":
    typer.run(main)
