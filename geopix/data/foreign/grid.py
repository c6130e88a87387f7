"""Boxes written into text on a grid of 0 to 100, as GeoChat and VRSBench write them (§III-A's lineage)."""

from __future__ import annotations

import math
import re
from typing import Any

from geopix.data.entries import EntryError
from geopix.records import Box

_NUMBER = r"<\s*(-?\d{1,9}(?:\.\d{1,9})?)\s*>"
BOX = re.compile(r"\{\s*" + _NUMBER * 4 + r"(?:\s*\|\s*" + _NUMBER + r")?\s*\}")
"""{<x1><y1><x2><y2>}, or {<x1><y1><x2><y2>|<degrees>} for one that is turned about its centre."""


def boxes(text: str) -> list[tuple[float, ...]]:
    """Every box of a text: x1, y1, x2, y2 on the grid, and the angle in degrees, 0 where there is none."""
    return [tuple(float(value or 0) for value in found) for found in BOX.findall(text)]


def box_px(box: tuple[float, ...], size_hw: tuple[int, int]) -> Box:
    """The upright box around a box of the grid, in pixels.

    Raises:
        EntryError: If it is degenerate or leaves the grid.
    """
    x1, y1, x2, y2, degrees = box
    if not all(0 <= value <= 100 for value in (x1, y1, x2, y2)):
        raise EntryError("box out of the image", f"{box[:4]} on a grid of 100")
    if x2 <= x1 or y2 <= y1:
        raise EntryError("box degenerate", f"{box[:4]} on a grid of 100")
    height, width = size_hw
    x1, y1, x2, y2 = x1 * width / 100, y1 * height / 100, x2 * width / 100, y2 * height / 100
    if degrees:
        angle = math.radians(degrees)
        cos, sin = abs(math.cos(angle)), abs(math.sin(angle))
        half_x = ((x2 - x1) * cos + (y2 - y1) * sin) / 2
        half_y = ((x2 - x1) * sin + (y2 - y1) * cos) / 2
        x, y = (x1 + x2) / 2, (y1 + y2) / 2
        x1, y1, x2, y2 = x - half_x, y - half_y, x + half_x, y + half_y
    return max(0.0, x1), max(0.0, y1), min(float(width), x2), min(float(height), y2)


def hull(corners: Any, size_hw: tuple[int, int]) -> Box:
    """The upright box, in pixels and cut to the image, around corners in shares of width and height (x, y, x, y, ...).

    Raises:
        EntryError: If nothing of it lies in the image.
        TypeError, ValueError: If they are no numbers.
    """
    shares = [float(value) for value in corners]
    if len(shares) < 4 or len(shares) % 2 or not all(map(math.isfinite, shares)):
        raise ValueError("corners are pairs of numbers")
    height, width = size_hw
    x = [min(max(value, 0.0), 1.0) * width for value in shares[::2]]
    y = [min(max(value, 0.0), 1.0) * height for value in shares[1::2]]
    if max(x) <= min(x) or max(y) <= min(y):
        raise EntryError("box degenerate", f"{shares}")
    return min(x), min(y), max(x), max(y)
