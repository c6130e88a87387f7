"""Small foreign sets made by script, and a reader of them for the tests of every kind."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image as PillowImage

from geopix.data.entries import Entry
from geopix.data.foreign.found import Place, Skipped
from geopix.data.sources.kinds import KINDS
from geopix.records import encode_mask

SIZE_HW = (80, 100)
EVIL = "the ship[SEG0] <p>and more"
"""A description that would add a mask of its own to an answer."""


def pictures(folder: Path, *names: str, size_hw: tuple[int, int] = SIZE_HW) -> None:
    """Images of one colour each; the suffix says which kind."""
    for number, name in enumerate(names):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        PillowImage.new("RGB", (size_hw[1], size_hw[0]), (number, 0, 0)).save(folder / name)


def rle(x1: int, y1: int, x2: int, y2: int, size_hw: tuple[int, int] = SIZE_HW) -> dict[str, Any]:
    """A filled rectangle as COCO's compressed run lengths."""
    mask = np.zeros(size_hw, np.bool_)
    mask[y1:y2, x1:x2] = True
    return encode_mask(mask)


def put(path: Path, value: Any) -> None:
    """Write JSON, and the folder it lies in."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value), encoding="utf-8")


def found(kind: str, folder: Path, *, looks: bool = True) -> tuple[list[Entry], Counter[str]]:
    """What a reader finds: entries in order, and how often something was left out for which reason."""
    entries: list[Entry] = []
    reasons: Counter[str] = Counter()
    place = Place(folder, folder / KINDS[kind].images, kind, looks=looks)
    for one in KINDS[kind].read(place):
        if isinstance(one, Skipped):
            reasons[one.reason] += 1
            assert one.detail, f"{one.reason}: a user is told where"
        else:
            entries.append(one)
    return entries, reasons
