"""COCO's instances JSON, written as it is read: images, then annotations, then categories (§IV)."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO, Any, Final

from geopix.data import rle
from geopix.data.entries import Annotated, EntryError, SetReader
from geopix.data.foreign.found import Watch, unwatched

FILE: Final = "instances.json"


def write(reader: SetReader, folder: Path, categories: dict[str, str], watch: Watch = unwatched) -> None:
    """Write a set as one COCO file; masks are compressed run lengths, objects without one have a box only.

    Ids of images, annotations and categories count from 1. Beside COCO's own fields an image tells its key, split,
    subset and captions, an annotation its descriptions and arrangement.

    Args:
        reader: The set; read twice.
        folder: Where the file goes.
        categories: Every category of the set with its canonical class, in the order of their ids.
        watch: Told how far it is.

    Raises:
        EntryError: If a mask does not fit its image.
        OSError: If it can't be written.
    """
    ids = {name: number for number, name in enumerate(categories, start=1)}
    total = 2 * reader.about.counts.get("images", 0)
    with (folder / FILE).open("w", encoding="utf-8") as file:
        info = {"description": reader.about.name, "sources": reader.about.sources}
        file.write('{"info": ' + json.dumps(info, ensure_ascii=False) + ',\n"images": [')
        _listed(file, _images(reader, total, watch))
        file.write('],\n"annotations": [')
        _listed(file, _annotations(reader, ids, total, watch))
        file.write('],\n"categories": [')
        _listed(file, ({"id": ids[name], "name": name, "supercategory": of} for name, of in categories.items()))
        file.write("]}\n")


def _listed(file: IO[str], rows: Iterable[dict[str, Any]]) -> None:
    for number, row in enumerate(rows):
        file.write(("," if number else "") + "\n" + json.dumps(row, ensure_ascii=False))


def _images(reader: SetReader, total: int, watch: Watch) -> Iterator[dict[str, Any]]:
    for number, entry in enumerate(reader, start=1):
        height, width = entry.size_hw
        row = {"id": number, "file_name": entry.image, "height": height, "width": width, "key": entry.key}
        yield row | {"split": entry.split, "subset": entry.subset, "captions": list(entry.captions)}
        watch("writing COCO", number, total)


def _annotations(reader: SetReader, ids: dict[str, int], total: int, watch: Watch) -> Iterator[dict[str, Any]]:
    number = 0
    for image, entry in enumerate(reader, start=1):
        for one in entry.objects:
            number += 1
            row = {"id": number, "image_id": image, "category_id": ids[one.category or one.class_name], "iscrowd": 0}
            yield row | _shape(one, entry.size_hw, entry.key)
        watch("writing COCO", total // 2 + image, total)


def _shape(one: Annotated, size_hw: tuple[int, int], key: str) -> dict[str, Any]:
    x1, y1, x2, y2 = one.box_xyxy_px
    told = {"bbox": [x1, y1, x2 - x1, y2 - y1], "descriptions": list(one.descriptions), "arrangement": one.arrangement}
    if one.counts is None:
        return {"area": (x2 - x1) * (y2 - y1), "segmentation": []} | told
    try:
        area = rle.area(one.counts, size_hw)
    except ValueError as error:
        raise EntryError(f"{key} holds a mask of the wrong size", str(error)) from error
    return {"area": area, "segmentation": {"size": list(size_hw), "counts": one.counts}} | told
