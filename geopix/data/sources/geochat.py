"""GeoChat-Instruct: 318,000 conversations about images, many with boxes in words (a lineage of §III-A's dialogue)."""

from __future__ import annotations

from collections.abc import Iterator

from geopix.data.foreign.found import MALFORMED, Found, Place, guarded, skipped
from geopix.data.foreign.jsonstream import items
from geopix.data.foreign.pictures import Pictures
from geopix.data.foreign.spool import Spool, key_of
from geopix.data.foreign.talk import Talk
from geopix.data.foreign.words import text


def read(place: Place) -> Iterator[Found]:
    """Yield an entry for every image, with all conversations about it; all of it is training data.

    Images must be there: boxes are shares of a size that only they tell. Some of the published archives are broken,
    some boxes leave the grid; each is left out alone.
    """
    pictures = Pictures(place.images)
    with Spool() as rows:
        for _, row in items(place.folder / "GeoChat_Instruct.json", place.watch):
            try:
                rows.add(key_of(row["image"]), row["conversations"])
            except MALFORMED as error:
                yield skipped(error, "GeoChat_Instruct.json")
        for number, key in enumerate(rows, start=1):
            yield from guarded(f"{place.name}/{key}", _image(place, pictures, key, rows))
            place.watch("images", number, len(rows))


def _image(place: Place, pictures: Pictures, name: str, rows: Spool) -> Iterator[Found]:
    image = pictures.find(text(name))
    talk = Talk(f"{place.name}/{name}", image, pictures.size_hw(image), "train")
    for conversation in rows.take(name):
        try:
            yield from talk.hear(conversation)
        except MALFORMED as error:
            yield skipped(error, talk.key)
    yield from talk.entry()
