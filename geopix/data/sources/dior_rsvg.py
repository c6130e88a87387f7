"""DIOR-RSVG: boxes of DIOR with sentences that mean them, which the join puts on SAMRS's masks (§IV-B)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING
from xml.etree.ElementTree import ParseError

from defusedxml import DefusedXmlException
from defusedxml.ElementTree import parse

from geopix.data.entries import MOST_OBJECTS, Annotated, EntryError
from geopix.data.foreign.found import Entry, Found, Place, Skipped, guarded, numbers, required, sift, skipped
from geopix.data.foreign.pictures import Pictures
from geopix.data.foreign.words import class_names, text
from geopix.records import Split

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

LARGEST = 4_000_000
"""Bytes of an annotation file that are read."""
_SPLITS: tuple[Split, ...] = ("train", "val", "test")


def read(place: Place) -> Iterator[Found]:
    """Yield an entry for every image and split in it, from ``Annotations/<id>.xml``.

    ``train.txt``, ``val.txt`` and ``test.txt`` list running numbers: the objects of all files counted from 0, the
    files sorted by name. One image may have objects in several splits, and then gives an entry to each; so a set of
    one split holds just what its list says. Without lists, all is training data.

    Raises:
        EntryError: If a file can't be read and there are lists, for nobody knows then which objects they mean.
    """
    files = sorted(path for path in required(place.folder / "Annotations").iterdir() if path.suffix == ".xml")
    splits = _splits(place.folder)
    pictures = Pictures(place.images)
    running = 0
    for number, path in enumerate(files, start=1):
        try:
            root = _parse(path)
            members = root.findall("object")
        except EntryError as error:
            if splits is not None:
                raise EntryError(
                    f"{path} can't be read, and the numbers in the split lists count on its objects", str(error)
                ) from error
            yield skipped(error, f"{place.name}/{path.stem}")
            continue
        groups: dict[Split, list[Element]] = defaultdict(list)
        for place_in_file, member in enumerate(members):
            split = "train" if splits is None else splits.pop(running + place_in_file, None)
            if split is None:
                yield Skipped("object in no split", f"{path.name}, number {running + place_in_file}")
            else:
                groups[split].append(member)
        running += len(members)
        for split, group in groups.items():
            key = f"{place.name}/{split}/{path.stem}"
            yield from guarded(key, _image(place, pictures, key, root, group, split))
        place.watch("images", number, len(files))
    for missing in splits or {}:
        yield Skipped("number without an object", f"{missing}, of {running}")


def _image(
    place: Place, pictures: Pictures, key: str, root: Element, members: list[Element], split: Split
) -> Iterator[Found]:
    image = pictures.find(text(root.findtext("filename")))
    claimed = (int(_within(root, "size/height")), int(_within(root, "size/width")))
    if place.looks and pictures.size_hw(image) != claimed:
        raise EntryError("image size differs from its annotation", f"{pictures.size_hw(image)}, annotated {claimed}")
    objects, left_out = sift(members, _object, claimed, key)
    yield from left_out
    yield Entry(key, image, claimed, _merged(objects), split=split, complete=False)


def _object(member: Element) -> Annotated:
    name, category = class_names(member.findtext("name"))
    x1, y1, x2, y2 = numbers([_within(member, f"bndbox/{side}") for side in ("xmin", "ymin", "xmax", "ymax")], 4)
    return Annotated(name, (x1, y1, x2, y2), None, category, (text(member.findtext("description")),))


def _merged(objects: tuple[Annotated, ...]) -> tuple[Annotated, ...]:
    """Objects of one class and box as one object with all their descriptions."""
    merged: dict[object, Annotated] = {}
    for one in objects:
        key = (one.class_name, one.box_xyxy_px)
        before = merged[key].descriptions if key in merged else ()
        told = tuple(dict.fromkeys((*before, *one.descriptions)))
        merged[key] = Annotated(one.class_name, one.box_xyxy_px, None, one.category, told)
    return tuple(merged.values())


def _within(element: Element, path: str) -> str:
    found = element.findtext(path)
    if found is None:
        raise LookupError(f"no {path}")
    return found


def _parse(path: Path) -> Element:
    """The root of an XML file.

    Raises:
        EntryError: If it is too large, broken, or declares a document type, as entity bombs do.
    """
    if path.stat().st_size > LARGEST:
        raise EntryError("XML too large", f"{path.name}, more than {LARGEST:,} bytes")
    try:
        root = parse(path, forbid_dtd=True).getroot()
    except DefusedXmlException as error:
        raise EntryError("XML with a document type", path.name) from error
    except (ParseError, ValueError, LookupError) as error:
        raise EntryError("XML broken", f"{path.name} ({error})") from error
    if root is None or len(root) > MOST_OBJECTS:
        raise EntryError("too many objects in one image", f"{path.name}, at most {MOST_OBJECTS:,}")
    return root


def _splits(folder: Path) -> dict[int, Split] | None:
    """Running number -> split; None where there are no lists."""
    splits: dict[int, Split] = {}
    there = [split for split in _SPLITS if (folder / f"{split}.txt").is_file()]
    for split in there:
        path = folder / f"{split}.txt"
        try:
            listed = [int(number) for number in path.read_text(encoding="utf-8").split()]
        except ValueError as error:
            raise EntryError(f"{path} is no list of numbers", str(error)[:100]) from error
        for number in listed:
            if splits.setdefault(number, split) != split:
                raise EntryError(f"{path} lists {number}", f"which is in {splits[number]} as well")
    return splits if there else None
