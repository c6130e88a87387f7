"""RSICap: 2,585 images with captions that people wrote at length, on which the rows of Table VI are tuned."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from geopix.data.foreign.found import Found, Place, guarded
from geopix.data.foreign.jsonstream import items
from geopix.data.foreign.pictures import Pictures
from geopix.data.foreign.talk import Talk
from geopix.data.foreign.words import text


def read(place: Place) -> Iterator[Found]:
    """Yield an entry for every row of ``captions.json``; all of it is training data."""
    pictures = Pictures(place.images)
    for number, (kind, row) in enumerate(items(place.folder / "captions.json", place.watch), start=1):
        if kind == "annotations":
            yield from guarded(f"{place.name} row {number}", _image(place, pictures, row))


def _image(place: Place, pictures: Pictures, row: dict[str, Any]) -> Iterator[Found]:
    name = text(row["filename"])
    image = pictures.find(name)
    talk = Talk(f"{place.name}/{name}", image, pictures.size_hw(image), "train")
    talk.caption(row["text_output"])
    yield from talk.entry()
