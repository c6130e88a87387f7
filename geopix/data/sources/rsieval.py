"""RSIEval: a hundred images with captions and questions by people; Tables V and VI ask it, nothing trains on it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from geopix.data.foreign.found import MALFORMED, Found, Place, guarded, skipped
from geopix.data.foreign.jsonstream import items
from geopix.data.foreign.pictures import Pictures
from geopix.data.foreign.talk import Talk
from geopix.data.foreign.words import text


def read(place: Place) -> Iterator[Found]:
    """Yield an entry for every image of ``annotations.json``, all of split "test"."""
    pictures = Pictures(place.images)
    for number, (kind, row) in enumerate(items(place.folder / "annotations.json", place.watch), start=1):
        if kind == "annotations":
            yield from guarded(f"{place.name} row {number}", _image(place, pictures, row))


def _image(place: Place, pictures: Pictures, row: dict[str, Any]) -> Iterator[Found]:
    name = text(row["filename"])
    image = pictures.find(name)
    talk = Talk(f"{place.name}/{name}", image, pictures.size_hw(image), "test")
    try:
        talk.caption(row["caption"])
    except MALFORMED as error:
        yield skipped(error, f"{talk.key} caption")
    for number, pair in enumerate(row["qa_pairs"], start=1):
        try:
            talk.ask(pair["question"], pair["answer"])
        except MALFORMED as error:
            yield skipped(error, f"{talk.key} question {number}")
    yield from talk.entry()
