"""A set in our own format, of rectangles, with everything that a set may say of an image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from PIL import Image as PillowImage

from geopix.data.entries import About, Annotated, Entry
from geopix.data.writing import SetWriter
from geopix.records import Sample, Turn, encode_mask
from tests.tiny import scene

SHIPS = "The ship in the upper left corner", "the leftmost ship"


def entry_of(sample: Sample, descriptions: Sequence[Sequence[str]] = (), **more: Any) -> Entry:
    """A sample's annotations as a set has them; the image is `KEY.png`."""
    said = [*descriptions, *([()] * len(sample.instances))]
    objects = tuple(
        Annotated(
            one.class_name,
            one.box_xyxy_px,
            None if one.mask is None else encode_mask(one.mask)["counts"],
            one.class_name,
            tuple(said[index]),
        )
        for index, one in enumerate(sample.instances)
    )
    given: dict[str, Any] = {
        "captions": sample.captions, "turns": sample.turns, "split": sample.split, "complete": sample.complete,
    }  # fmt: skip
    return Entry(sample.key, f"{sample.key}.png", sample.size_hw, objects, **{**given, **more})


def bare(entry: Entry) -> Entry:
    """The same without masks."""
    return replace(entry, objects=tuple(replace(one, counts=None) for one in entry.objects))


TWO = scene([("ship", (5, 5, 45, 30)), ("ship", (60, 60, 95, 95))], (100, 120), key="two")
BRIDGE = scene([("bridge", (10, 40, 110, 60))], (100, 120), key="bridge")
TALL = scene([("harbor", (10, 40, 30, 90)), ("ship", (5, 5, 35, 25))], (100, 40), key="tall")
BOXES = scene([("ship", (20, 20, 60, 60))], (90, 90), key="boxes", complete=False)
TOLD = scene(
    [], (60, 60), key="told", captions=("Many trees.",), turns=(Turn("Is there a road?", "No."),), complete=False
)
KEPT = scene([("airplane", (20, 10, 70, 30))], (40, 80), key="kept", split="val")

SAMPLES = (TWO, BRIDGE, TALL, BOXES, TOLD, KEPT)
ENTRIES = (
    entry_of(TWO, [SHIPS, ["the ship in the lower right corner"]], subset="A_T"),
    entry_of(BRIDGE, captions=("A bridge on the left.", "A bridge."), subset="A_T"),
    entry_of(TALL, [[], ["the ship above the harbor"]], subset="B_T"),
    bare(entry_of(BOXES, [["The gray ship that sails past {<1>}."]], subset="B_T")),
    entry_of(TOLD, subset="B_T"),
    entry_of(KEPT, subset="A_T"),
)


def tiny_set(
    folder: Path, entries: Sequence[Entry] = ENTRIES, samples: Sequence[Sample] = SAMPLES, overwrite: bool = False
) -> Path:
    """Write a set and its pictures, and give its folder back."""
    images = folder.with_name(f"{folder.name}-images")
    images.mkdir(parents=True, exist_ok=True)
    for sample in samples:
        PillowImage.fromarray(sample.image).save(images / f"{sample.key}.png")
    with SetWriter(folder, overwrite) as writer:
        for entry in entries:
            writer.add(entry)
        writer.finish(About(folder.name, str(images.absolute())))
    return folder
