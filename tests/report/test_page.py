"""The page as HTML: what stands where, and that it needs nothing else."""

import json
import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from microbleeds.report.page import write_page
from microbleeds.report.results import RESEARCH_USE

from .conftest import KEPT, ROWS, write


class Page(HTMLParser):
    """Tags with their attributes, and all text."""

    def __init__(self, html: str):
        super().__init__()
        self.tags: list[tuple[str, dict]] = []
        self.words = ""
        self.open: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in {"meta", "link", "image", "path", "circle"}:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag
        self.words += " "

    def handle_data(self, data):
        self.words += data

    def all(self, tag: str) -> list[dict]:
        return [attributes for name, attributes in self.tags if name == tag]


def page(paths, scan=None) -> Page:
    return Page(write_page(paths.report, scan).read_text())


def text(page: Page) -> str:
    return re.sub(r"\s+", " ", page.words)


def test_count_and_class_come_first(saved):
    words = text(page(saved))
    assert re.search(
        r"2 microbleeds Burden class 2 to 4 Expected number 1.6 95 % interval 0 to 3", words
    )
    assert words.index("Burden class") < words.index("seen through") < words.index("Of 1 dropped")
    assert words.count(RESEARCH_USE) == 2


def test_every_microbleed_has_place_size_probability_and_pictures(saved):
    made = page(saved)
    words = text(made)
    assert "31.0, 41.0, 10.0 mm" in words and "−21.0, −31.0, −10.0 mm" in words
    assert "24, 29, 12" in words  # voxel of the first, by the file's own axes
    assert "4.0 mm" in words and "33.5 mm³" in words and "0.90" in words
    labels = [svg["aria-label"] for svg in made.all("svg")]
    for kind in ("microbleed 1", "microbleed 2", "candidate 3"):
        assert sum(label.startswith(f"{kind},") for label in labels) == 4
    assert "Dropped in step 2: probability 0.100 < 0.5" in words


def test_nothing_is_loaded_and_every_link_leads_somewhere(saved):
    made = page(saved)
    html = saved.page.read_text()
    for name in ("href", "src", "xlink:href"):
        for _, attributes in made.tags:
            link = attributes.get(name, "#")
            assert link.startswith(("#", "data:")), link
    assert not made.all("script") and "@import" not in html and "url(" not in html
    ids = [attributes["id"] for _, attributes in made.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    links = {a["href"] for a in made.all("a")}
    assert {"#bleed-1", "#bleed-2"} <= links and all(link[1:] in ids for link in links)
    assert not made.open  # every element is closed


def test_warnings_settings_models_and_versions(saved):
    record = json.loads(saved.report.read_text())
    record["warnings"] = ["the first <reason>"]
    saved.report.write_text(json.dumps(record))
    words = text(page(saved))
    assert "Warning: the first <reason>." in words
    assert "prepare.in_plane_mm" in words and "discriminate.threshold" in words
    for model in (record["model"], record["brain_mask"]):
        assert model["files"] and all(digest in words for digest in model["files"].values())
        assert model["licence"] in words
    assert record["version"] in words and record["software"]["openvino"] in words
    assert record["scan_sha256"] in words


def test_region_side_burden_and_pattern_where_there_are(saved):
    lines = saved.table.read_text().splitlines()
    columns = ("region\tside", "frontal\tright", "occipital\tleft")
    saved.table.write_text("\n".join(map("\t".join, zip(lines, columns, strict=True))) + "\n")
    record = json.loads(saved.report.read_text())
    saved.report.write_text(json.dumps(record | {"burden": "few", "pattern": "strictly lobar"}))
    words = text(page(saved))
    assert "Burden class few Pattern strictly lobar" in words
    assert "Microbleed 1: right frontal" in words and words.count("left occipital") == 3


def test_no_microbleed_is_said_with_what_was_looked_at(tmp_path, head, brain):
    words = text(page(write(tmp_path, head, brain, (replace(ROWS[2], index=1),))))
    assert "0 microbleeds" in words and "No microbleed was found" in words
    assert "the most probable one had probability 0.10" in words
    assert "does not prove" in words
    words = text(page(write(tmp_path, head, brain, ())))
    assert "Nothing became a candidate: the highest probability" in words and "0.12" in words


def test_one_microbleed_is_one(tmp_path, head, brain):
    words = text(page(write(tmp_path, head, brain, (KEPT,))))
    assert "1 microbleed " in words and "No candidate was dropped" in words


def test_thirty_microbleeds_stay_under_three_megabytes(tmp_path, head, brain):
    rows = tuple(
        replace(KEPT, index=n + 1, xyz_mm=(2.0 * n - 30, 40 - 2.0 * n, 0.0)) for n in range(30)
    )
    paths = write(tmp_path, head, brain, rows)
    assert "30 microbleeds" in text(page(paths))
    assert paths.page.stat().st_size < 3e6


def test_names_from_outside_are_escaped(tmp_path, head, brain):
    paths = write(tmp_path, replace(head, name="<b>x&y"), brain, ROWS)
    html = write_page(paths.report).read_text()
    assert "&lt;b&gt;x&amp;y" in html and "<b>x" not in html


def test_a_probability_that_was_never_calibrated(saved):
    record = json.loads(saved.report.read_text())
    record["confidence"]["calibrated"] = False
    saved.report.write_text(json.dumps(record))
    assert "never calibrated" in text(page(saved))


@pytest.mark.parametrize("contrast", ["swi", "qsm"])
def test_other_contrasts(contrast, tmp_path, head, brain):
    scan = replace(
        head, contrast=contrast, voxels=-head.voxels if contrast == "qsm" else head.voxels
    )
    words = text(page(write(tmp_path, scan, brain, ROWS)))
    assert f"Scan: {contrast.upper()}, voxels of 2.00 × 2.00 × 5.00 mm" in words
    assert ("maximum intensity" in words) == (contrast == "qsm")
