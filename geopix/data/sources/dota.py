"""DOTA's text files of oriented boxes, such as GDIT's airports (§IV-A: SOTA's boxes come from DOTA).

An oriented box becomes the upright one around it, without a mask. Its four corners could be filled and called a mask,
but a mask is an object's own pixels here: a model would learn that airplanes are rectangles, and the set's numbers
would count masks that nobody drew.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from geopix.data.entries import MOST_OBJECTS, Annotated, EntryError
from geopix.data.foreign.found import Entry, Found, Place, guarded, numbers, required, sift
from geopix.data.foreign.pictures import SUFFIXES, Pictures
from geopix.data.foreign.words import class_names

LARGEST = 4_000_000
"""Bytes of a text file that are read."""


def read(place: Place) -> Iterator[Found]:
    """Yield an entry for every file of ``labelTxt/``: lines ``x1 y1 x2 y2 x3 y3 x4 y4 class difficult``, in pixels.

    Lines such as "imagesource:GoogleEarth" and "gsd:0.146" are passed over, difficult objects are kept.
    """
    files = sorted(path for path in required(place.folder / "labelTxt").iterdir() if path.suffix == ".txt")
    pictures = Pictures(place.images)
    for number, path in enumerate(files, start=1):
        yield from guarded(f"{place.name}/{path.stem}", _image(place, pictures, path))
        place.watch("images", number, len(files))


def _image(place: Place, pictures: Pictures, path: Path) -> Iterator[Found]:
    if path.stat().st_size > LARGEST:
        raise EntryError("too many objects in one image", f"{path.name}, more than {LARGEST:,} bytes")
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError as error:
        raise EntryError("text not UTF-8", str(error.reason)) from error
    records = [fields for line in lines if (fields := line.split()) and not _is_heading(fields)]
    if len(records) > MOST_OBJECTS:
        raise EntryError("too many objects in one image", f"{len(records):,}, at most {MOST_OBJECTS:,}")
    image, key = pictures.find(f"{path.stem}{SUFFIXES[0]}"), f"{place.name}/{path.stem}"
    size_hw = pictures.size_hw(image)
    objects, left_out = sift(records, _object, size_hw, key)
    yield from left_out
    yield Entry(key, image, size_hw, objects, complete=not left_out)


def _is_heading(fields: list[str]) -> bool:
    return fields[0].partition(":")[0] in ("imagesource", "gsd", "acquisition", "acquisition dates")


def _object(fields: list[str]) -> Annotated:
    if len(fields) not in (9, 10):
        raise ValueError(f"{len(fields)} fields, where eight coordinates, a class and a difficulty were expected")
    corners = numbers(fields[:8], 8)
    name, category = class_names(fields[8])
    x, y = corners[::2], corners[1::2]
    return Annotated(name, (min(x), min(y), max(x), max(y)), None, category)
