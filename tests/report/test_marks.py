"""Marks on pictures, found again in the pixels."""

import numpy as np
import pytest
from PIL import Image, ImageColor

from microbleeds.report.marks import COLOUR, picture, ring, ring_mm, scale_bar, write


def coloured(image: Image.Image) -> np.ndarray:
    """(N, 2) columns and rows of the pixels in the colour of the marks."""
    same = np.asarray(image) == ImageColor.getrgb(COLOUR)
    return np.argwhere(same.all(axis=2))[:, ::-1]


def empty() -> Image.Image:
    return Image.new("RGB", (100, 80))


def test_a_picture_is_grey_in_its_window():
    grey = np.asarray(picture(np.array([[0, 50, 100, 400]], np.float32), (0, 100)))
    assert grey.shape == (1, 4, 3)
    assert grey[0].tolist() == [[0] * 3, [127] * 3, [255] * 3, [255] * 3]


def test_a_ring_lies_at_its_radius_and_a_dashed_one_is_half_of_it():
    whole, dashed = empty(), empty()
    ring(whole, (60, 40), 30)
    ring(dashed, (60, 40), 30, dashed=True)
    for image in (whole, dashed):
        distance = np.linalg.norm(coloured(image) - [60, 40], axis=1)
        assert distance.min() > 27 and distance.max() < 31.5
    share = len(coloured(dashed)) / len(coloured(whole))
    assert share == pytest.approx(0.5, abs=0.1)


def test_a_ring_leaves_the_microbleed_free():
    assert ring_mm(2.0) == 3.0 and ring_mm(9.0) == 9.0


def test_the_bar_is_10_mm_long():
    image = Image.new("RGB", (240, 240))
    scale_bar(image, 0.125)
    along, rows = coloured(image).T
    bar = along[rows == np.bincount(rows).argmax()]
    assert np.ptp(bar) * 0.125 == pytest.approx(10, abs=0.2)


def test_words_stand_where_they_are_put():
    image = empty()
    write(image, "mmm", (50, 40), 20, COLOUR)
    assert coloured(image).mean(axis=0) == pytest.approx((50, 40), abs=4)
