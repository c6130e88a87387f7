"""Sets made by script: noise of its own for every image, rectangles for objects."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from geopix.data.entries import About, Annotated, Entry
from geopix.data.writing import SetWriter
from geopix.records import encode_mask


def rectangle(
    class_name: str, box: tuple[int, int, int, int], size_hw: tuple[int, int], *descriptions: str
) -> Annotated:
    """An object whose mask fills its box."""
    mask = np.zeros(size_hw, dtype=np.bool_)
    mask[box[1] : box[3], box[0] : box[2]] = True
    left, top, right, bottom = map(float, box)
    counts = str(encode_mask(mask)["counts"])
    return Annotated(class_name, (left, top, right, bottom), counts, class_name.title(), descriptions)


def ships(*lefts: int, size_hw: tuple[int, int] = (60, 80)) -> tuple[Annotated, ...]:
    """Ships side by side, eight pixels wide."""
    return tuple(rectangle("ship", (left, 10, left + 8, 30), size_hw) for left in lefts)


def entry(name: str, objects: Sequence[Annotated] = (), **more: Any) -> Entry:
    """An image of 60 x 80 pixels, called after its name."""
    return replace(Entry(f"toy/{name}", f"{name}.png", (60, 80), tuple(objects)), **more)


def noise(seed: int, size_hw: tuple[int, int] = (60, 80)) -> Image.Image:
    """Blotches that no other seed has."""
    small = np.random.default_rng(seed).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    return Image.fromarray(small).resize((size_hw[1], size_hw[0]), Image.Resampling.BICUBIC)


def make_set(folder: Path, entries: Sequence[Entry], seed: int = 0) -> Path:
    """A set with a picture for every entry."""
    for number, one in enumerate(entries):
        path = folder.with_name(f"{folder.name}-images") / one.image
        path.parent.mkdir(parents=True, exist_ok=True)
        noise(1000 * seed + number, one.size_hw).save(path)
    with SetWriter(folder) as writer:
        for one in entries:
            writer.add(one)
        terms = {folder.name: "made by script, public domain"}
        writer.finish(About(folder.name, f"../{folder.name}-images", terms, steps=(f"make {folder.name}",)))
    return folder
