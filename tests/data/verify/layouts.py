"""Random layouts with lone objects, rows, columns, diagonals and clusters, as annotations without pixels."""

from __future__ import annotations

import numpy as np

from geopix.data.entries import Annotated, Entry
from geopix.records import Box

CLASSES = ("ship", "harbor", "tennis court", "storage tank")


def layout(seed: int) -> Entry:
    """One image of 400 to 1,000 px a side with two to five groups of one to four objects."""
    rng = np.random.default_rng(seed)
    height, width = (int(side) for side in rng.integers(400, 1000, 2))
    objects: list[tuple[str, Box]] = []
    for _ in range(int(rng.integers(2, 6))):
        objects += _group(rng, height, width)
    return Entry(f"layout/{seed}", "layout.png", (height, width), tuple(Annotated(name, box) for name, box in objects))


def _group(rng: np.random.Generator, height: int, width: int) -> list[tuple[str, Box]]:
    name, count = str(rng.choice(CLASSES)), int(rng.integers(1, 5))
    w, h = rng.uniform(18, 90, 2)
    step = rng.uniform(1.1, 1.7)
    ways = {"across": (w, 0.0), "down": (0.0, h), "falling": (w, h), "rising": (w, -h), "cluster": (w, h)}
    form = str(rng.choice(list(ways)))
    x, y = rng.uniform(0, max(width - w, 1)), rng.uniform(0, max(height - h, 1))
    made = []
    for index in range(count):
        along, off = (index, index) if form != "cluster" else (index % 2, index // 2)
        dx, dy = ways[form]
        left = x + along * dx * step + rng.normal(0, 0.06) * w
        top = y + off * dy * step + rng.normal(0, 0.06) * h
        scale = rng.uniform(0.8, 1.25)
        box = (float(left), float(top), float(left + w * scale), float(top + h * scale))
        if box[0] >= 0 and box[1] >= 0 and box[2] <= width and box[3] <= height:
            made.append((name, box))
    return made
