"""UC Merced's captions and questions (§IV; stand in for VRSBench's image-level tasks)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from geopix.data.entries import EntryError
from geopix.data.foreign.found import MALFORMED, Entry, Found, Place, Skipped, guarded, skipped
from geopix.data.foreign.jsonstream import items
from geopix.data.foreign.pictures import Pictures
from geopix.data.foreign.spool import Spool, key_of
from geopix.data.foreign.words import sentence, text
from geopix.records import Sample, Split, Turn

_SPLITS: dict[str, Split] = {"train": "train", "val": "val", "test": "test"}


def read(place: Place, with_gaps: bool = False) -> Iterator[Found]:
    """Yield an entry for every image of ``captions.json`` with its captions, and its questions of ``vqa.json``.

    The split of an image is its captions' split, so that no image is asked about in training and scored later. Some
    questions were made from a pattern whose noun stayed empty ("How many  in the picture?"): they are left out,
    except ``with_gaps``.
    """
    pictures = Pictures(place.images)
    with Spool() as rows, Spool() as images:
        if (place.folder / "vqa.json").is_file():
            for _, row in items(place.folder / "vqa.json", place.watch):
                try:
                    rows.add(key_of(row["image"]), [row["question"], row["answer"]])
                except MALFORMED as error:
                    yield skipped(error, "vqa.json")
        for _, row in items(place.folder / "captions.json", place.watch):
            try:
                images.add(key_of(row["image"]), row)
            except MALFORMED as error:
                yield skipped(error, "captions.json")
        for number, key in enumerate(images, start=1):
            first, *others = images.take(key)
            yield from (Skipped("duplicate id", f"captions.json {key}") for _ in others)
            yield from guarded(f"{place.name}/{key}", _image(place, pictures, key, first, rows, with_gaps))
            place.watch("images", number, len(images))
        for key in rows:
            if key not in images:
                yield Skipped("question about no image", key)


def read_ucm(root: Path, split: Split) -> Iterator[Sample]:
    """Yield every image of a split with its captions and its question-answer pairs, gaps included, as nano saw them.

    Raises:
        EntryError: If an image can't be read, or a text can't be used.
        OSError: If a file can't be read.
    """
    for found in read(Place(root, root, "ucm"), with_gaps=True):
        if isinstance(found, Entry):
            if found.split == split:
                yield found.sample(root)
        elif found.reason not in ("caption repeated", "question about no image"):
            raise EntryError(found.reason, found.detail)


def _image(
    place: Place, pictures: Pictures, key: str, row: dict[str, Any], rows: Spool, with_gaps: bool
) -> Iterator[Found]:
    image = pictures.find(text(key))
    size_hw = pictures.size_hw(image)
    captions, turns = dict[str, None](), list[Turn]()
    for number, told in enumerate(row["captions"], start=1):
        try:
            caption = sentence(told)
            if caption in captions:
                raise EntryError("caption repeated", caption)
            captions[caption] = None
        except MALFORMED as error:
            yield skipped(error, f"{place.name}/{key} caption {number}")
    for number, (question, answer) in enumerate(rows.take(key), start=1):
        try:
            if text(question) != question and not with_gaps:
                raise EntryError("question with a gap", repr(question))
            turns.append(Turn(question, text(answer), "vqa"))
        except MALFORMED as error:
            yield skipped(error, f"{place.name}/{key} question {number}")
    yield Entry(
        f"{place.name}/{key}", image, size_hw, (), tuple(captions), tuple(turns), _SPLITS[row["split"]], complete=False
    )
