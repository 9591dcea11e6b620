"""The page in a real browser: on a phone, on a desk, by keyboard and on paper."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import pytest

from microbleeds.report.page import write_page

from .conftest import KEPT, ROWS, write

BROKEN = """() => Promise.all([...document.querySelectorAll('image')].map(async element => {
  const picture = new Image(); picture.src = element.getAttribute('href');
  try { await picture.decode(); return picture.naturalWidth > 0; } catch { return false; }
})).then(whole => [whole.length, whole.filter(good => !good).length])"""
SMALLEST_LINK = """() => Math.min(...[...document.querySelectorAll('nav a, tbody a')]
  .map(link => link.getBoundingClientRect().height))"""
ABOVE_BACKGROUND = """() => [...document.querySelectorAll('p, dt, dd, th, td, figcaption')]
  .filter(element => element.textContent.trim())
  .map(element => getComputedStyle(element).color.match(/\\d+/g).slice(0, 3).map(Number))"""


@pytest.fixture(scope="module")
def page_file(tmp_path_factory, head, brain):
    many = tuple(
        replace(KEPT, index=n + 1, xyz_mm=(4.0 * n - 30, 20.0 - n, 10.0)) for n in range(16)
    )
    return write_page(
        write(
            tmp_path_factory.mktemp("page"), head, brain, (*many, replace(ROWS[2], index=17))
        ).report
    )


@pytest.fixture
def opened(open_page, page_file):
    """The page opened at a width."""
    return partial(open_page, page_file)


@pytest.mark.parametrize("width", [320, 375, 768, 1200])
def test_no_sideways_scrolling_no_complaint_no_request(opened, page_file, width):
    tab = opened(width)
    assert tab.evaluate("document.documentElement.scrollWidth") <= width
    assert tab.complaints == []
    outside = [url for url in tab.requests if not url.startswith("data:")]
    assert outside == [page_file.as_uri()]


def test_no_picture_is_broken(opened):
    count, broken = opened(1200).evaluate(BROKEN)
    assert broken == 0 and count == 3 + 17 * 4 + 19


def test_every_anchor_leads_to_something(opened):
    tab = opened(375)
    for link in tab.locator("a").all():
        assert tab.locator(link.get_attribute("href")).count() == 1
    tab.locator("tbody a").nth(9).click()
    assert tab.url.endswith("#bleed-10")
    assert -1 <= tab.locator("#bleed-10").bounding_box()["y"] < 100


def test_the_keyboard_reaches_everything_in_the_order_of_the_page(opened):
    tab = opened(1200)
    places = []
    for _ in range(60):
        tab.keyboard.press("Tab")
        where = tab.evaluate("""() => { const e = document.activeElement; return [e.tagName,
          e.getAttribute('href'), e.getBoundingClientRect().top + scrollY,
          getComputedStyle(e).outlineStyle] }""")
        if where[0] == "BODY":
            break
        places.append(where)
    links = [href for tag, href, _, _ in places if tag == "A"]
    assert links[:2] == ["#microbleeds", "#result"]
    assert [f"#bleed-{n}" for n in range(1, 17)] == [x for x in links if x.startswith("#bleed")]
    heights = [top for _, _, top, _ in places[1:]]  # the first is the link that skips the rest
    assert heights == sorted(heights)
    assert all(outline != "none" for *_, outline in places)
    assert {"SUMMARY", "DIV"} <= {tag for tag, *_ in places}


def test_a_thumb_can_hit_the_links(opened):
    assert opened(375).evaluate(SMALLEST_LINK) >= 24  # WCAG 2.2, 2.5.8


def test_text_is_dark_enough_without_colour(opened):
    def luminance(rgb):
        parts = [c / 255 / 12.92 if c <= 10 else ((c / 255 + 0.055) / 1.055) ** 2.4 for c in rgb]
        return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2]

    colours = opened(375).evaluate(ABOVE_BACKGROUND)
    assert colours and all(1.05 / (luminance(rgb) + 0.05) >= 4.5 for rgb in colours)


def test_on_paper_nothing_is_cut_off(opened, tmp_path):
    tab = opened(1200)
    tab.emulate_media(media="print")
    tab.set_viewport_size({"width": 688, "height": 1000})  # A4 less its margins, at 96 dpi
    assert tab.evaluate("document.documentElement.scrollWidth") <= 688
    assert not tab.locator("nav").is_visible()
    paper = tmp_path / "page.pdf"
    tab.pdf(path=paper, format="A4")
    assert paper.read_bytes().startswith(b"%PDF") and paper.stat().st_size > 50_000
