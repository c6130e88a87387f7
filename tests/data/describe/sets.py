"""Small sets with pictures, every image with two or three objects at places of its own, and what is true of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from geopix.data.entries import About, Annotated, Entry, SetReader
from geopix.data.writing import SetWriter

SIDE = 120


def entries(count: int) -> list[Entry]:
    """Images with a ship on the left, one on the right, and in every third a harbor."""
    made = []
    for number in range(count):
        y = 10.0 + number % 90
        objects = [
            Annotated("ship", (8.0 + number // 90, y, 20.0 + number // 90, y + 10), category="Ship"),
            Annotated("ship", (90.0, y, 102.0, y + 12), category="Ship"),
        ]
        if number % 3 == 0:
            objects.append(Annotated("harbor", (50.0, y, 70.0, y + 8)))
        made.append(Entry(f"toy/{number:03}", f"{number:03}.png", (SIDE, SIDE), tuple(objects)))
    return made


def truth(made: list[Entry]) -> list[dict[int, str]]:
    """A true description for every object, all of them different."""
    words = ("the leftmost ship", "the rightmost ship", "the harbor between the two ships")
    return [{index: words[index] for index in range(len(entry.objects))} for entry in made]


def make(folder: Path, made: list[Entry]) -> SetReader:
    """The entries as a set, with pictures beside it."""
    images = folder.with_name("pictures")
    images.mkdir(exist_ok=True)
    rng = np.random.default_rng(0)
    for entry in made:
        pixels = rng.integers(0, 255, (SIDE, SIDE, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(images / entry.image)
    with SetWriter(folder) as writer:
        for entry in made:
            writer.add(entry)
        writer.finish(About("toy", "../pictures", {"toy": "made by script"}))
    return SetReader(folder)
