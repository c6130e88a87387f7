"""A described set of small pictures, made by script, and what a browser would save of a review of it."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from geopix.data.entries import About, Annotated, Entry
from geopix.data.writing import SetWriter
from geopix.records import Box, Split, encode_mask

HOSTILE = '</script><img src=x onerror=alert(1)> "the" & <b>ship</b>\u2028'
SIZE_HW = (40, 60)


def thing(name: str, box: Box, *texts: str, arrangement: str = "", mask: bool = True) -> Annotated:
    """An object, its mask the box without its upper left pixel."""
    filled = np.zeros(SIZE_HW, np.bool_)
    x1, y1, x2, y2 = map(int, box)
    filled[y1:y2, x1:x2] = True
    filled[y1, x1] = False
    return Annotated(name, box, encode_mask(filled)["counts"] if mask else None, name, texts, arrangement)


def entry(number: int, *objects: Annotated, split: Split = "train") -> Entry:
    """An image with objects."""
    return Entry(f"toy/{number}", f"{number}.png", SIZE_HW, objects, split=split)


def pair(number: int, split: Split = "train") -> Entry:
    """Two ships beside each other."""
    return entry(
        number,
        thing("ship", (2, 2, 12, 12), "the left ship", arrangement="cluster"),
        thing("ship", (30, 20, 50, 35), "the right ship", arrangement="cluster", mask=False),
        split=split,
    )


def tiny_set(folder: Path, entries: Sequence[Entry]) -> Path:
    """Write a set, with a picture for every entry."""
    pictures = folder.parent / f"{folder.name}-pictures"
    pictures.mkdir(exist_ok=True)
    for place, one in enumerate(entries):
        shade = np.random.default_rng(place).integers(0, 255, (*one.size_hw, 3), dtype=np.uint8)
        Image.fromarray(shade).save(pictures / one.image)
    with SetWriter(folder) as writer:
        for one in entries:
            writer.add(one)
        writer.finish(About("toy", str(pictures), {"toy": "made by script"}, steps=("made",)))
    return folder


def page_of(review: Path) -> dict[str, Any]:
    """What stands in a review's page, as its script reads it."""
    page = (review / "index.html").read_text(encoding="utf-8")
    found = re.search(r'<script id="review" type="application/json">(.*?)</script>', page, re.DOTALL)
    assert found is not None
    read: dict[str, Any] = json.loads(found[1])
    return read


def saved(review: Path, said: Mapping[tuple[str, int, int], tuple[str, str]], path: Path) -> Path:
    """What the page saves: for every text by key, object and number the verdict and the words (`asJson` in page.js)."""
    page = page_of(review)
    objects = {image["key"]: image["objects"] for image in page["images"]}
    corrections = [
        {
            "key": key,
            "object": place,
            "text": text,
            "was": objects[key][place]["texts"][text],
            "verdict": verdict,
            "words": words or (objects[key][place]["texts"][text] if verdict == "accepted" else ""),
        }
        for (key, place, text), (verdict, words) in said.items()
    ]
    head = {"format": "geopix-review", "version": 1, **{name: page[name] for name in ("set_sha256", "review", "texts")}}
    path.write_text(json.dumps({**head, "saved": "2026-11-24T12:00:00.000Z", "corrections": corrections}))
    return path
