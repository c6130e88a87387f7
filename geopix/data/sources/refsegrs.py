"""RefSegRS: phrases with masks of all that they mean (one of the sets that Table I compares with)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image as PillowImage

from geopix.data.entries import Annotated, EntryError, check_size
from geopix.data.foreign.found import Entry, Found, Place, Skipped, guarded, required, sift
from geopix.data.foreign.pictures import Pictures, image_size
from geopix.data.foreign.talk import named_class
from geopix.data.foreign.words import text
from geopix.records import Mask, Split, encode_mask, mask_box

_SPLITS: tuple[Split, ...] = ("train", "val", "test")


def read(place: Place) -> Iterator[Found]:
    """Yield an entry for every line ``<number> <phrase>`` of ``output_phrase_{train,val,test}.txt``.

    A mask holds everything that its phrase means ("road", "vehicle in the parking area"), not one object of it;
    pixels above 0 belong to it.

    Raises:
        EntryError: If no list is there, or one is no UTF-8 text.
    """
    lists = [(split, place.folder / f"output_phrase_{split}.txt") for split in _SPLITS]
    there = [(split, path) for split, path in lists if path.is_file()] or [(lists[0][0], required(lists[0][1]))]
    pictures, masks = Pictures(place.images), Pictures(place.folder / "masks")
    seen: set[str] = set()
    for split, path in there:
        lines = _lines(path)
        for place_in_file, line in enumerate(lines, start=1):
            where = f"{path.name} line {place_in_file}"
            number, _, phrase = line.strip().partition(" ")
            if number in seen:
                yield Skipped("duplicate id", where)
            elif number:
                seen.add(number)
                yield from guarded(where, _image(place, pictures, masks, number, phrase, split))
            place.watch(f"images of {split}", place_in_file, len(lines))


def _image(
    place: Place, pictures: Pictures, masks: Pictures, number: str, phrase: str, split: Split
) -> Iterator[Found]:
    image, key = pictures.find(f"{number}.tif"), f"{place.name}/{number}"
    drawn = masks.root / masks.find(f"{number}.tif")
    size_hw = pictures.size_hw(image) if place.looks else image_size(drawn)
    check_size(size_hw)

    def make(words: str) -> Annotated:
        mask = _mask(drawn, size_hw)
        if not mask.any():
            raise EntryError("mask empty")
        told = text(words)
        return Annotated(named_class(told), mask_box(mask), encode_mask(mask)["counts"], "", (told,))

    objects, left_out = sift([phrase], make, size_hw, key)
    yield from left_out
    if objects:
        yield Entry(key, image, size_hw, objects, split=split, complete=False)


def _mask(path: Path, size_hw: tuple[int, int]) -> Mask:
    if image_size(path) != size_hw:
        raise EntryError("mask of the wrong size", f"{image_size(path)} for an image of {size_hw}")
    try:
        with PillowImage.open(path) as picture:
            values = np.asarray(picture)
    except (OSError, SyntaxError, ValueError) as error:
        raise EntryError("mask unreadable", f"{path} ({error})") from error
    return np.asarray(values.reshape(*size_hw, -1).max(axis=2) > 0)


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError as error:
        raise EntryError(f"{path} is not UTF-8 text", str(error.reason)) from error
