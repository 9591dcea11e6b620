"""Rings, bars and words on pictures."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from microbleeds.report.box import shades
from microbleeds.report.view import BAR_MM

COLOUR = "#ffb000"
_LEAST_RING_MM = 3.0
_DASH_DEG = 10


def picture(values: NDArray[np.float32], window: tuple[float, float]) -> Image.Image:
    """Values (rows, columns) in grey, ready for coloured marks. window: what is black and white."""
    return Image.fromarray(shades(values, window)).convert("RGB")


def close_up(
    values: NDArray[np.float32],
    window: tuple[float, float],
    pixel_mm: float,
    diameter_mm: float,
    dashed: bool = False,
) -> Image.Image:
    """A square picture, see `picture`, with its microbleed ringed in the middle, and a bar."""
    image = picture(values, window)
    middle = (image.width / 2, image.height / 2)
    ring(image, middle, ring_mm(diameter_mm) / pixel_mm, dashed)
    scale_bar(image, pixel_mm)
    return image


def ring_mm(diameter_mm: float) -> float:
    """Radius of the ring around a microbleed, which it leaves free."""
    return max(_LEAST_RING_MM, diameter_mm)


def ring(
    image: Image.Image, centre: tuple[float, float], radius: float, dashed: bool = False
) -> None:
    """A circle, in pixels."""
    (x, y), pen = centre, ImageDraw.Draw(image)
    around = (x - radius, y - radius, x + radius, y + radius)
    if not dashed:
        pen.ellipse(around, outline=COLOUR, width=2)
        return
    for start in range(0, 360, 2 * _DASH_DEG):
        pen.arc(around, start, start + _DASH_DEG, COLOUR, width=2)


def scale_bar(image: Image.Image, pixel_mm: float) -> None:
    """A bar of 10 mm in the lower left corner."""
    start, bottom = 9, image.height - 9
    line = (start, bottom, start + BAR_MM / pixel_mm, bottom)
    ImageDraw.Draw(image).line(line, COLOUR, 2)
    write(image, f"{BAR_MM:g} mm", (start, bottom - 5), 13, COLOUR, "ls")


def write(
    image: Image.Image,
    words: str,
    at: tuple[float, float],
    size: float,
    colour: str = "white",
    anchor: str = "mm",
) -> None:
    """Words with a dark rim; size in pixels. anchor: Pillow's, the point of them that is put `at`.

    The default is their middle.
    """
    font: Any = ImageFont.load_default(size)
    pen = ImageDraw.Draw(image)
    pen.text(at, words, colour, font, anchor, stroke_width=2, stroke_fill="black")
