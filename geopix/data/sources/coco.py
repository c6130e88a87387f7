"""COCO instance annotations: NWPU VHR-10, the Sentinel-2 ports, and anyone's own (§IV-A; our small SAMRS)."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from geopix.data.entries import Annotated, EntryError, check_size
from geopix.data.foreign.found import (
    MALFORMED,
    Entry,
    Found,
    Place,
    Skipped,
    Watch,
    guarded,
    numbers,
    required,
    sift,
    skipped,
    unwatched,
)
from geopix.data.foreign.jsonstream import items
from geopix.data.foreign.pictures import Pictures
from geopix.data.foreign.segmentation import counts_and_box
from geopix.data.foreign.spool import Spool, key_of
from geopix.data.foreign.words import class_names, text
from geopix.records import Sample, Split

SPLITS: tuple[Split, ...] = ("train", "val", "test")


@dataclass(frozen=True)
class Table:
    """A COCO file and what is to be made of it.

    Args:
        annotations: The file; segmentations may be polygons, compressed or uncompressed run lengths.
        source: Name put before the file name in every key.
        split: The split of all its images.
        splits: File name -> split, instead of ``split``; an image without one is left out.
        keep: File names to read; all when None.
        complete: Whether every object of the file's classes is annotated.
        described: For files of referring expressions, annotation id -> its expressions; only these are read then.
    """

    annotations: Path
    source: str
    split: Split = "train"
    splits: Mapping[str, Split] | None = None
    keep: Collection[str] | None = None
    complete: bool = True
    described: Mapping[str, tuple[str, ...]] | None = None


def read(place: Place) -> Iterator[Found]:
    """Yield an entry for every image: of ``annotations.json``, or else of every ``*train*.json`` and the like.

    ``split.json`` ({"train": [file names], "val": [...]}), where it is there, says which image is in which split.
    """
    pictures = Pictures(place.images)
    splits = read_splits(place.folder / "split.json", place.watch)
    for path, split in _tables(place.folder):
        table = Table(path, place.name, split=split, splits=splits)
        yield from entries(table, pictures, looks=place.looks, watch=place.watch)


def entries(table: Table, pictures: Pictures, *, looks: bool = True, watch: Watch = unwatched) -> Iterator[Found]:
    """Yield an entry for every image of a COCO file, in the file's order; memory does not grow with the file.

    An object with a mask has its mask's box; ``bbox`` counts only where there is no segmentation. Groups of objects
    (``iscrowd``) are left out.
    """
    with ExitStack() as stack:
        images, objects = stack.enter_context(Spool()), stack.enter_context(Spool())
        names, ids = {}, set[str]()
        for kind, record in items(table.annotations, watch):
            try:
                if kind == "categories":
                    names[key_of(record["id"])] = class_names(record["name"])
                elif kind == "images" and (table.keep is None or record["file_name"] in table.keep):
                    images.add(key_of(record["id"]), record)
                elif kind == "annotations":
                    own = key_of(record["id"]) if "id" in record else None
                    if own in ids:
                        yield Skipped("duplicate id", f"{table.annotations.name} annotation {own}")
                        continue
                    if own is not None:
                        ids.add(own)
                    objects.add(key_of(record["image_id"]), record)
            except MALFORMED as error:
                yield skipped(error, f"{table.annotations.name} {kind}")
        for number, key in enumerate(images, start=1):
            first, *others = images.take(key)
            yield from (Skipped("duplicate id", f"{table.annotations.name} image {key}") for _ in others)
            where = f"{table.source}/{first.get('file_name', key)}"
            yield from guarded(where, _image(table, pictures, first, key, objects, names, looks))
            watch("images", number, len(images))
        if table.keep is None:
            for key in objects:
                if key not in images:
                    yield Skipped("object of no image", f"{table.annotations.name} image {key}")


def read_coco(
    annotations: Path,
    images: Path,
    *,
    source: str,
    split: Split = "train",
    keep: Collection[str] | None = None,
    complete: bool = True,
) -> Iterator[Sample]:
    """Yield a sample for every annotated image of a COCO file, for training; objects without pixels are left out.

    Args:
        annotations: The JSON file.
        images: Folder of the images; where a name is not there, the same stem with another suffix is taken.
        source, split, keep, complete: As in `Table`.

    Raises:
        EntryError: If a segmentation does not fit its image, or an image can't be read.
        OSError: If the file can't be read.
    """
    table = Table(annotations, source, split=split, keep=keep, complete=complete)
    for found in entries(table, Pictures(images)):
        if isinstance(found, Entry):
            yield found.sample(images)
        elif found.reason != "mask empty":
            raise EntryError(found.reason, found.detail)


def read_vhr10(root: Path, split: Split) -> list[Sample]:
    """One split of NWPU VHR-10 as whole images; the folder holds annotations.json, split.json and images/.

    Raises:
        OSError: If a file is missing or can't be read.
    """
    keep = set(json.loads((root / "split.json").read_text(encoding="utf-8"))[split])
    return list(read_coco(root / "annotations.json", root / "images", source="nwpu_vhr10", split=split, keep=keep))


def read_splits(path: Path, watch: Watch = unwatched) -> dict[str, Split] | None:
    """File name -> split, from a file of lists of names; None where there is no such file.

    Raises:
        EntryError: If it is something else, or a name stands in two lists.
    """
    if not path.is_file():
        return None
    splits: dict[str, Split] = {}
    for kind, name in items(path, watch):
        split = next((split for split in SPLITS if split == kind), None)
        if split is None or not isinstance(name, str):
            raise EntryError(f"{path} is no split", 'it holds {"train": [file names], "val": [...], "test": [...]}')
        if splits.setdefault(name, split) != split:
            raise EntryError(f"{path} names an image twice", f"{name} in {splits[name]} and in {split}")
    return splits


def _tables(folder: Path) -> list[tuple[Path, Split]]:
    if (folder / "annotations.json").is_file():
        return [(folder / "annotations.json", "train")]
    others = [path for path in sorted(required(folder).glob("*.json")) if path.name != "split.json"]
    if len(others) == 1:
        return [(others[0], _split_in(others[0].stem) or "train")]
    named = [(path, split) for path in others if (split := _split_in(path.stem)) is not None]
    if not named or len(named) < len(others):
        raise EntryError(
            f"{folder} holds {len(others)} JSON files", "name one annotations.json, or all with train, val or test"
        )
    return named


def _split_in(stem: str) -> Split | None:
    return next((split for split in SPLITS if re.search(rf"(?<![a-z]){split}", stem.lower())), None)


def _image(
    table: Table,
    pictures: Pictures,
    image: dict[str, Any],
    key: str,
    objects: Spool,
    names: Mapping[str, tuple[str, str]],
    looks: bool,
) -> Iterator[Found]:
    file = text(image["file_name"])
    split = table.split if table.splits is None else table.splits.get(file)
    if split is None:
        raise EntryError("image in no split")
    path = pictures.find(file)
    known = image.get("height") is not None and image.get("width") is not None
    size_hw = (int(image["height"]), int(image["width"])) if known else pictures.size_hw(path)
    check_size(size_hw)
    if looks and known and pictures.size_hw(path) != size_hw:
        raise EntryError("image size differs from its annotation", f"{pictures.size_hw(path)}, annotated {size_hw}")
    raws = objects.take(key)

    def make(raw: dict[str, Any]) -> Annotated:
        if raw.get("iscrowd"):
            raise EntryError("crowd")
        name, category = names[key_of(raw["category_id"])]
        described: tuple[str, ...] = ()
        if table.described is not None:
            described = table.described.get(key_of(raw["id"]), ())
            if not described:
                raise EntryError("object without an expression")
        if raw.get("segmentation") is None or ("bbox" in raw and raw["segmentation"] == []):
            x, y, width, height = numbers(raw["bbox"], 4)
            return Annotated(name, (x, y, x + width, y + height), None, category, described)
        counts, box = counts_and_box(raw["segmentation"], size_hw)
        return Annotated(name, box, counts, category, described)

    kept, left_out = sift(raws, make, size_hw, f"{table.source}/{file}")
    yield from left_out
    complete = table.complete and not left_out
    yield Entry(f"{table.source}/{file}", path, size_hw, kept, split=split, complete=complete)
