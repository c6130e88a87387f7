"""RSICD's captions, five an image (§V-D's task; AID's scenes under other names)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from geopix.data.entries import EntryError
from geopix.data.foreign.found import MALFORMED, Entry, Found, Place, guarded, required, skipped
from geopix.data.foreign.jsonstream import items
from geopix.data.foreign.pictures import Pictures
from geopix.data.foreign.words import sentence, text
from geopix.records import Split

_SPLITS: dict[str, Split] = {"train": "train", "val": "val", "test": "test", "jb_test": "test"}
_FILES = ("captions.json", "dataset_rsicd.json")


def read(place: Place) -> Iterator[Found]:
    """Yield an entry for every image of ``captions.json`` or, as published, of ``dataset_rsicd.json``.

    The first holds {"image", "captions", "source" or "split"} for every image, the second {"filename", "split",
    "sentences": [{"raw"}]}. An image keeps the split that RSICD has it in.
    """
    there = [place.folder / name for name in _FILES if (place.folder / name).is_file()]
    path = there[0] if there else required(place.folder / _FILES[0])
    pictures = Pictures(place.images)
    for number, (kind, row) in enumerate(items(path, place.watch), start=1):
        if kind in ("", "images"):  # beside them the published file holds its own name
            yield from guarded(f"{path.name} row {number}", _image(place, pictures, row))


def _image(place: Place, pictures: Pictures, row: dict[str, Any]) -> Iterator[Found]:
    name = text(row["image"] if "image" in row else row["filename"])
    told = row["captions"] if "captions" in row else [one["raw"] for one in row["sentences"]]
    split = _SPLITS.get(row["split"] if "split" in row else row["source"])
    if split is None:
        raise EntryError("unknown split", repr(row.get("split", row.get("source")))[:60])
    image, key = pictures.find(name), f"{place.name}/{name}"
    captions: dict[str, None] = {}
    for number, caption in enumerate(told, start=1):
        try:
            words = sentence(caption)
            if words in captions:
                raise EntryError("caption repeated", words)
            captions[words] = None
        except MALFORMED as error:
            yield skipped(error, f"{key} caption {number}")
    yield Entry(key, image, pictures.size_hw(image), (), tuple(captions), split=split, complete=False)
