"""The page of a folder of results: numbers, links, and in a real browser."""

from __future__ import annotations

import csv
import json
import re
import runpy
from functools import partial
from html import unescape
from pathlib import Path
from urllib.parse import unquote
from xml.etree import ElementTree

import pytest

from microbleeds.report.results import RESEARCH_USE
from microbleeds.study.group import write_group
from microbleeds.study.group_charts import bar_chart, count_chart, value_chart
from microbleeds.study.group_tally import BRAIN_CM3, Histogram

fabricate = runpy.run_path(str(Path(__file__).parents[2] / "benchmarks" / "group.py"))["fabricate"]


@pytest.fixture(scope="module")
def out(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("page")
    fabricate(folder, 60)
    fabricate(folder / "more", 3, seed=1, pages=False, failed=0)
    picture = next((folder / "more").rglob("*_cmb.json")).with_suffix(".png")
    record = picture.with_suffix(".json")
    many = json.loads(record.read_text()) | {
        "microbleeds": 90, "definite": 80, "candidates": 99, "burden": "more than 10",
    }  # fmt: skip
    renamed = record.with_name("sub-a <b> & 50%_cmb.json")
    renamed.write_text(json.dumps(many))
    renamed.with_suffix(".png").touch()
    record.with_name("sub-a <b> & 50%_seg-CMB_dseg.tsv").touch()
    for number in range(60):
        said = {"source": "x", "contrast": "auto", "sentence": f"<i>bad {number}</i>", "key": "k"}
        (folder / "failures" / f"x{number:02d}.json").write_text(json.dumps(said))
    write_group(folder)
    return folder


@pytest.fixture(scope="module")
def page(out) -> str:
    return (out / "group.html").read_text(encoding="utf-8")


def words(page: str) -> str:
    body = page[page.index("<body>") :]
    return re.sub(r"\s+", " ", unescape(re.sub(r"<[^>]+>", " ", body)))


def test_the_numbers_are_those_of_the_table(out, page):
    with (out / "group.tsv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    counts = [int(row["microbleeds"]) for row in rows]
    said = words(page)
    share = round(100 * sum(count > 0 for count in counts) / len(counts))
    assert f"With microbleeds {sum(count > 0 for count in counts)} ({share} %)" in said
    assert f"Microbleeds {sum(counts)} Of them definite" in said and "Failed 63" in said
    swi = [int(row["microbleeds"]) for row in rows if row["contrast"] == "swi"]
    assert f"{len(swi)} scans, {sum(swi) / len(swi):.1f} microbleeds a scan" in said
    frontal = sum(int(row["frontal"]) for row in rows if row["frontal"] != "n/a")
    assert re.search(rf"frontal {frontal} \d+ %", said)
    assert said.index("scans") < said.index("Distributions") < said.index("Worth a look")
    assert said.count(RESEARCH_USE) == 2


def test_the_outlying_scans_come_first(out, page):
    look = page[page.index('id="look"') : page.index('id="failures"')]
    most = look[: look.index("Unusual amount of brain")]
    assert "sub-a &lt;b&gt; &amp; 50%" in most.split("</tr>")[1]
    with (out / "group.tsv").open(encoding="utf-8", newline="") as file:
        brains = {
            row["scan"]: float(row["brain_cm3"]) for row in csv.DictReader(file, delimiter="\t")
        }
    smallest = min(brains, key=lambda scan: brains[scan])
    assert brains[smallest] < 700
    assert smallest in look[look.index("Unusual amount") : look.index("Unlike the training")]


def test_every_link_leads_somewhere(out, page):
    links = re.findall(r'href="([^"]+)"', page)
    files = [unquote(unescape(link)) for link in links if not link.startswith(("#", "data:"))]
    assert all((out / file).is_file() for file in files)
    kinds = {Path(file).suffix for file in files}
    assert kinds == {".html", ".png", ".tsv", ".json"}  # .json: of the provenance
    anchors = {link[1:] for link in links if link.startswith("#")}
    assert anchors <= set(re.findall(r'id="([^"]+)"', page))
    assert "<script" not in page and "src=" not in page and "@import" not in page


def test_failures_are_escaped_and_not_all_on_the_page(page):
    assert "the first 50 here" in words(page)
    assert "&lt;i&gt;bad 0&lt;/i&gt;" in page and "<i>bad" not in page
    assert page.count('<td class="words why">') == 50


def test_charts_say_their_numbers_in_words():
    histogram = Histogram.empty(tuple(range(22)))
    for value in (0, 0, 3, 21, 400):
        histogram.add(value)
    svg = ElementTree.fromstring(count_chart("T2*", histogram, "microbleeds"))
    told = "T2*. 0 microbleeds: 2, 3 microbleeds: 1, more than 20 microbleeds: 2"
    assert svg.get("aria-label") == told
    rects = [element for element in svg if element.tag.endswith("rect")]
    heights = [float(rect.get("height")) for rect in rects]
    assert len(rects) == 22 and heights[0] == heights[-1] == pytest.approx(2 * heights[3])


def test_charts_show_the_filled_part_in_few_bars():
    histogram = Histogram.empty(BRAIN_CM3)
    for value in (410, 1200, 1490, 1499):
        histogram.add(value)
    svg = ElementTree.fromstring(value_chart("Brain", histogram, "cm³"))
    assert svg.get("aria-label") == (
        "Brain. 400 to 500 cm³: 1, 1,200 to 1,300 cm³: 1, 1,400 to 1,500 cm³: 2"
    )
    assert sum(element.tag.endswith("rect") for element in svg) == 11
    histogram.add(9999)
    assert "and more cm³: 1" in value_chart("Brain", histogram, "cm³")
    assert "nothing" in bar_chart("Empty", [])


@pytest.fixture
def opened(open_page, out):
    """The page opened at a width."""
    return partial(open_page, out / "group.html")


@pytest.mark.parametrize("width", [320, 375, 768, 1200])
def test_no_sideways_scrolling_no_complaint_no_request(opened, out, width):
    tab = opened(width)
    assert tab.evaluate("document.documentElement.scrollWidth") <= width
    assert tab.complaints == []
    outside = [url for url in tab.requests if not url.startswith("data:")]
    assert outside == [(out / "group.html").as_uri()]


@pytest.mark.parametrize("width", [320, 1200])
def test_no_words_of_a_chart_overlap_or_leave_it(opened, width):
    boxes = opened(width).evaluate(
        """() => [...document.querySelectorAll('.chart')].map(chart => [chart, ...chart
        .querySelectorAll('text')].filter(e => e.tagName === 'svg' || e.textContent)
        .map(e => e.getBoundingClientRect()).map(b => [b.left, b.top, b.right, b.bottom]))"""
    )
    assert len(boxes) == 6
    for (left, top, right, bottom), *texts in boxes:
        for i, (x0, y0, x1, y1) in enumerate(texts):
            assert left - 1 <= x0 and x1 <= right + 1 and top - 1 <= y0 and y1 <= bottom + 1
            for a0, b0, a1, b1 in texts[:i]:
                assert x0 >= a1 or x1 <= a0 or y0 >= b1 or y1 <= b0


def test_a_thumb_can_hit_the_links(opened):
    heights = """() => [...document.querySelectorAll('nav a, tbody a')]
      .map(link => link.getBoundingClientRect().height)"""
    assert min(opened(375).evaluate(heights)) >= 24  # WCAG 2.2, 2.5.8


def test_the_keyboard_reaches_the_scans_in_the_order_of_the_page(opened):
    tab = opened(1200)
    tops = []
    for _ in range(120):
        tab.keyboard.press("Tab")
        where = tab.evaluate(
            """() => { const e = document.activeElement; return [e.tagName,
            getComputedStyle(e).outlineStyle] }"""
        )
        if where[0] == "BODY":
            break
        tops.append(where)
    assert len(tops) > 40 and all(outline != "none" for _, outline in tops)


def test_on_paper_nothing_is_cut_off(opened, tmp_path):
    tab = opened(1200)
    tab.emulate_media(media="print")
    tab.set_viewport_size({"width": 688, "height": 1000})  # A4 less its margins, at 96 dpi
    assert tab.evaluate("document.documentElement.scrollWidth") <= 688
    assert not tab.locator("nav").is_visible()
    paper = tmp_path / "page.pdf"
    tab.pdf(path=paper, format="A4")
    assert paper.read_bytes().startswith(b"%PDF")
