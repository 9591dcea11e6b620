"""For many tests: a head of ellipsoids with FreeSurfer numbers, the command line, a browser."""

import shutil
import sys
from pathlib import Path

import numpy as np
import pytest

from microbleeds.cli import main


def run(*words: object, entry=main) -> int:
    """Exit code of `microbleeds WORDS`."""
    argv, sys.argv = sys.argv, ["microbleeds", *map(str, words)]
    try:
        entry()
    except SystemExit as end:
        return int(end.code or 0)
    finally:
        sys.argv = argv
    return 0


@pytest.fixture(scope="module")
def browser():
    """Chromium; tests that need it are skipped where it is not installed."""
    playwright = pytest.importorskip("playwright.sync_api")
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        pytest.skip("Chromium is not installed")
    with playwright.sync_playwright() as driver:
        started = driver.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        yield started
        started.close()


@pytest.fixture
def open_page(browser):
    """Opens a file at a width; whatever the page logs or asks for is collected."""
    tabs = []

    def open_at(file: Path, width: int):
        tab = browser.new_page(viewport={"width": width, "height": 800})
        tab.complaints, tab.requests = [], []
        tab.on("console", lambda message: tab.complaints.append(message.text))
        tab.on("pageerror", lambda error: tab.complaints.append(str(error)))
        tab.on("request", lambda request: tab.requests.append(request.url))
        tab.goto(file.as_uri(), wait_until="load")
        tabs.append(tab)
        return tab

    yield open_at
    for tab in tabs:
        tab.close()


def ellipsoid(shape, centre, radii):
    axes = np.indices(shape).transpose(1, 2, 3, 0)
    return (((axes - np.array(centre)) / np.array(radii)) ** 2).sum(-1) <= 1


@pytest.fixture(scope="session")
def head_numbers():
    """Label map (80, 100, 95), RAS, life-size at 2 mm: skin, skull, fluid, brain, neck, a sinus."""
    shape, centre = (80, 100, 95), np.array([40, 49, 56])
    numbers = np.zeros(shape, np.int16)
    numbers[27:53, 30:60, :40] = 507  # neck
    for radii, label in (((38, 47, 37), 507), ((35, 44, 34), 515), ((33, 42, 32), 24)):
        numbers[ellipsoid(shape, centre, radii)] = label
    right = np.arange(shape[0])[:, None, None] >= centre[0]
    for offset, radii, left_label, right_label in (
        ((0, 0, 0), (31, 40, 30), 3, 42),
        ((0, 0, 0), (28, 36, 27), 2, 41),
        ((0, 3, 3), (6, 17, 5), 4, 43),
        ((0, -22, -21), (21, 13, 10), 8, 47),
    ):
        part = ellipsoid(shape, centre + offset, radii)
        numbers[part & ~right], numbers[part & right] = left_label, right_label
    stem = ellipsoid(shape, (40, 40, 30), (6, 6, 100))
    numbers[stem & (np.arange(shape[2]) < 37)] = 16
    sinus = ellipsoid(shape, centre + np.array([0, 40, -22]), (7, 8, 8))
    numbers[sinus & ~np.isin(numbers, (2, 41, 3, 42))] = 0
    return numbers


@pytest.fixture(scope="session")
def monkeypatch_session():
    with pytest.MonkeyPatch.context() as patch:
        yield patch


@pytest.fixture(scope="session")
def simulated(tmp_path_factory, monkeypatch_session):
    """Folder with one coarse whole head in T2*-GRE, its labels and its table, on disk."""
    from microbleeds.simulate import HeadSettings
    from microbleeds.simulate.anatomy import SHIPPED_ANATOMY, load_anatomy
    from microbleeds.simulate.dataset import write_head, write_tables
    from microbleeds.simulate.head import simulate_head
    from microbleeds.simulate.lesions import LesionRanges
    from microbleeds.simulate.scanner import Protocol

    folder = tmp_path_factory.mktemp("simulated")
    # tests/simulate narrows the field of view for a whole session
    monkeypatch_session.setattr("microbleeds.simulate.head.HEAD_MM", (190, 230, 190))
    protocol = Protocol(acquired_mm=0.9, pixel_mm=0.9, slice_mm=4.0, snr=40, te_ms=25)
    ranges = LesionRanges(count=(8, 8), median_radius_mm=0.9, radius_log_sd=0.2)
    head = simulate_head(
        load_anatomy(SHIPPED_ANATOMY),
        protocol,
        ("t2star",),
        HeadSettings(lesions=ranges),
        np.random.default_rng(11),
    )
    write_head(folder, "sub-01", head, {"anatomy": "head", "contrasts": ["t2star"]})
    write_tables(folder)
    return folder
