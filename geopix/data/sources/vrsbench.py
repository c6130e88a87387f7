"""VRSBench: captions, questions and referring sentences; the first stage trains on it, Tables IV, V and VII ask it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from geopix.data.entries import EntryError
from geopix.data.foreign.found import MALFORMED, Found, Place, guarded, skipped
from geopix.data.foreign.grid import box_px, boxes, hull
from geopix.data.foreign.jsonstream import items
from geopix.data.foreign.pictures import Pictures
from geopix.data.foreign.spool import Spool, key_of
from geopix.data.foreign.talk import Talk
from geopix.data.foreign.words import class_names, text
from geopix.records import Split

SIDE_PX = 512
"""Height and width of every image."""

_TRAIN = "VRSBench_train.json"
_EVALUATION = ("VRSBench_EVAL_Cap.json", "VRSBench_EVAL_referring.json", "VRSBench_EVAL_vqa.json")


def read(place: Place) -> Iterator[Found]:
    """Yield an entry for every image, with all that the files say of it.

    The training file's images are split "train", those of the three evaluation files "test". Of an evaluation box
    the corners are used, which are finer than the grid of ``ground_truth``; where ``ground_truth`` itself is
    degenerate (13 of 16,159), no answer could be right, and it is left out.

    Raises:
        EntryError: If none of the files is there, or one is no JSON.
    """
    there = [name for name in (_TRAIN, *_EVALUATION) if (place.folder / name).is_file()]
    if not there:
        raise EntryError(f"{place.folder} holds none of {', '.join((_TRAIN, *_EVALUATION))}", "name their folder")
    folders = ("Images_train", "Images_val", "")
    pictures = {
        "train": Pictures(place.images, folders),
        "test": Pictures(place.images, ("Images_val", "Images_train", "")),
    }
    with Spool() as rows:
        for name in there:
            told, field = ("train", "image") if name == _TRAIN else ("test", "image_id")
            for _, row in items(place.folder / name, place.watch):
                try:
                    rows.add(f"{told}/{key_of(row[field])}", row)
                except MALFORMED as error:
                    yield skipped(error, name)
        for number, key in enumerate(rows, start=1):
            told, _, image = key.partition("/")
            split: Split = "train" if told == "train" else "test"
            found = _image(place, pictures[split], image, split, rows, key)
            yield from guarded(f"{place.name}/{key}", found)
            place.watch("images", number, len(rows))


def _image(place: Place, pictures: Pictures, name: str, split: Split, rows: Spool, key: str) -> Iterator[Found]:
    image = pictures.find(text(name))
    size_hw = pictures.size_hw(image) if place.looks else (SIDE_PX, SIDE_PX)
    talk = Talk(f"{place.name}/{split}/{name}", image, size_hw, split)
    for row in rows.take(key):
        try:
            if split == "train":
                yield from talk.hear(row["conversations"])
            else:
                _evaluated(talk, row)
        except MALFORMED as error:
            yield skipped(error, f"{talk.key} {row.get('question_id', row.get('id', ''))}")
    yield from talk.entry()


def _evaluated(talk: Talk, row: dict[str, Any]) -> None:
    if row["type"] == "caption":
        talk.caption(row["ground_truth"])
    elif row["type"] == "ref":
        truth = boxes(row["ground_truth"])
        if len(truth) != 1:
            raise EntryError("answer without a box", str(row["ground_truth"])[:80])
        box = box_px(truth[0], talk.size_hw)
        if row.get("obj_corner"):
            box = hull(row["obj_corner"], talk.size_hw)
        name, category = class_names(row["obj_cls"])
        talk.point(box, text(row["question"]), category, name)
    else:
        talk.ask(row["question"], row["ground_truth"])
