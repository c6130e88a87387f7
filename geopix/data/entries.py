"""One image's annotations as they lie in a file: no pixels, masks as run lengths (§IV).

A set is a folder: ``entries.jsonl``, one image a line, and ``set.json``, what is known of the whole. Everything that
builds the data set reads entries and writes entries, one at a time, so a set may be larger than memory.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from PIL import Image as PillowImage

from geopix.records import Box, Instance, Sample, Split, Turn, decode_mask, run_lengths

ENTRIES, ABOUT = "entries.jsonl", "set.json"
LARGEST_SIDE = 30_000
"""Pixels of an image's side that an entry may claim."""
MOST_OBJECTS = 10_000
"""Objects that one image may hold; a file that says more is taken for broken or hostile."""
_SPLITS = ("train", "val", "test")


class EntryError(ValueError):
    """An annotation that can't be used; ``reason`` is short and the same for all of its kind, to be counted."""

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(f"{reason}: {detail}" if detail else reason)
        self.reason, self.detail = reason, detail


@dataclass(frozen=True, slots=True)
class Annotated:
    """One annotated object.

    Args:
        class_name: Canonical class (`geopix.classes.canonical`).
        box_xyxy_px: In pixels of the image.
        counts: COCO's compressed run lengths of its mask, or None where only a box is known.
        category: What its source calls the class.
        descriptions: Sentences or phrases that mean it.
        arrangement: "isolated", "line" or "cluster" once somebody found out (§IV-C), else "".
    """

    class_name: str
    box_xyxy_px: Box
    counts: str | None = None
    category: str = ""
    descriptions: tuple[str, ...] = ()
    arrangement: str = ""


@dataclass(frozen=True, slots=True)
class Entry:
    """One image with all that is annotated in it.

    Args:
        key: Unique in its set ("sior/00001").
        image: Path of the image from the set's image folder, with forward slashes.
        size_hw: Height and width in pixels.
        objects: In the source's order.
        captions, turns, split, complete: As in `geopix.records.Sample`.
        subset: The part of its set that it belongs to ("SIOR_T"), letters, digits and "_"; "" where there are no parts.

    Raises:
        EntryError: If anything about it is out of range.
    """

    key: str
    image: str
    size_hw: tuple[int, int]
    objects: tuple[Annotated, ...] = ()
    captions: tuple[str, ...] = ()
    turns: tuple[Turn, ...] = ()
    split: Split = "train"
    complete: bool = True
    subset: str = ""

    def __post_init__(self) -> None:
        check_path(self.image)
        check_size(self.size_hw)
        if len(self.objects) > MOST_OBJECTS:
            raise EntryError("too many objects in one image", f"{len(self.objects):,}, at most {MOST_OBJECTS:,}")
        if self.split not in _SPLITS:
            raise EntryError("unknown split", repr(self.split))
        if self.subset and not re.fullmatch(r"\w+", self.subset):
            raise EntryError("subset is no plain word", repr(self.subset))

    def sample(self, images: Path) -> Sample:
        """The same with its pixels and masks, as training and the describers see it.

        Args:
            images: The set's image folder.

        Raises:
            EntryError: If the image can't be read, or has another size than its annotations.
        """
        return replace_pixels(self, read_image(images / self.image, self.size_hw))


def check_path(image: str) -> None:
    """Whether a path, with forward slashes, stays inside the folder that it is told from.

    Raises:
        EntryError: If it does not, or is no path at all.
    """
    parts = PurePosixPath(image).parts
    if not parts or parts[0] == "/" or ":" in parts[0] or ".." in parts or "\\" in image or "\0" in image:
        raise EntryError("image path leaves its folder", repr(image[:200]))


def check_size(size_hw: tuple[int, int]) -> None:
    """Whether an image of this height and width in pixels is read.

    Raises:
        EntryError: If it is not.
    """
    if not all(0 < side <= LARGEST_SIDE for side in size_hw):
        raise EntryError("image size out of range", f"{size_hw}, sides of 1 to {LARGEST_SIDE:,} px are read")


def replace_pixels(entry: Entry, image: np.ndarray[Any, np.dtype[np.uint8]]) -> Sample:
    """An entry's sample around pixels that are there already, (H, W, 3) uint8."""
    instances = tuple(
        Instance(
            phrase=one.descriptions[0] if one.descriptions else one.class_name,
            class_name=one.class_name,
            box_xyxy_px=one.box_xyxy_px,
            mask=None if one.counts is None else decode_mask({"size": entry.size_hw, "counts": one.counts}),
        )
        for one in entry.objects
    )
    return Sample(entry.key, image, instances, entry.captions, entry.turns, entry.split, entry.complete)


def read_image(path: Path, size_hw: tuple[int, int] | None = None) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """A picture as (H, W, 3) uint8 RGB.

    Raises:
        EntryError: If it is missing, broken, too large, or not of the size that is expected.
    """
    try:
        with PillowImage.open(path) as picture:
            width, height = picture.size
            if size_hw is not None and (height, width) != tuple(size_hw):
                raise EntryError("image size differs from its annotation", f"{path.name}: {height} x {width}")
            if max(height, width) > LARGEST_SIDE:
                raise EntryError("image size out of range", f"{path.name}: {height} x {width}")
            return np.asarray(picture.convert("RGB"), dtype=np.uint8)
    except FileNotFoundError as error:
        raise EntryError("image missing", str(path)) from error
    except (OSError, SyntaxError, ValueError, PillowImage.DecompressionBombError) as error:
        if isinstance(error, EntryError):
            raise
        raise EntryError("image unreadable", f"{path} ({error})") from error


def checked(one: Annotated, size_hw: tuple[int, int]) -> Annotated:
    """An object whose box and mask fit its image; a box that leaves it by a pixel or less is cut to it.

    Raises:
        EntryError: If the box is degenerate or out of the image, or the mask is empty or of another size.
    """
    height, width = size_hw
    x1, y1, x2, y2 = one.box_xyxy_px
    if not all(map(math.isfinite, one.box_xyxy_px)):
        raise EntryError("box not finite", str(one.box_xyxy_px))
    if x2 <= x1 or y2 <= y1:
        raise EntryError("box degenerate", str(one.box_xyxy_px))
    if x1 < -1 or y1 < -1 or x2 > width + 1 or y2 > height + 1:
        raise EntryError("box out of the image", f"{one.box_xyxy_px} in {width} x {height} px")
    inside = (max(0.0, x1), max(0.0, y1), min(float(width), x2), min(float(height), y2))
    if one.counts is not None:
        try:
            runs = run_lengths(one.counts, size_hw)
        except ValueError as error:
            raise EntryError("mask of the wrong size", str(error)) from error
        if not any(runs[1::2]):
            raise EntryError("mask empty")
    return replace(one, box_xyxy_px=inside)


@dataclass(frozen=True, slots=True)
class About:
    """What is known of a whole set.

    Args:
        name: What to call it.
        images: Its image folder, absolute or from the set's folder.
        sources: Terms of every source: name -> origin and licence in a sentence.
        counts: Numbers that its making told: "images", "objects", and what each step kept.
        skipped: Reason -> how often something was left out for it.
        steps: What was done, in order, as commands or settings that could be run again.
    """

    name: str
    images: str
    sources: dict[str, str] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)
    skipped: dict[str, int] = field(default_factory=dict)
    steps: tuple[str, ...] = ()


class SetReader:
    """A set on disk, read one entry at a time, as often as one likes.

    Args:
        folder: That `geopix.data.writing.SetWriter` wrote.

    Raises:
        EntryError: If it is no set.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        try:
            raw = json.loads((folder / ABOUT).read_text(encoding="utf-8"))
            self.about = About(**{**raw, "steps": tuple(raw.get("steps", ()))})
            numbers = (*self.about.counts.values(), *self.about.skipped.values())
            words = (self.about.name, self.about.images, *self.about.sources.values(), *self.about.steps)
            if not all(isinstance(one, int) for one in numbers) or not all(isinstance(one, str) for one in words):
                raise TypeError("a number or a text was expected and is not")
        except (OSError, ValueError, TypeError, AttributeError) as error:
            raise EntryError(
                f"{folder} is no set of annotations", f"{error}; make one with: geopix data import"
            ) from error

    @property
    def images(self) -> Path:
        """The folder that the entries' image paths start from."""
        return self.folder / self.about.images  # an absolute path stays itself

    def __iter__(self) -> Iterator[Entry]:
        for number, line in enumerate(self.lines()):
            yield self.entry(line, number)

    def lines(self) -> Iterator[bytes]:
        """The entries as they lie in the file, for those who count them or hand them on."""
        with (self.folder / ENTRIES).open("rb") as file:
            yield from file

    def entry(self, line: bytes, number: int) -> Entry:
        """An entry from its line, counted from 0.

        Raises:
            EntryError: If the line is no entry, naming it.
        """
        try:
            raw = json.loads(line)
            if b"\\u" in line:  # halves of surrogate pairs are no text, and could not be written again
                json.dumps(raw, ensure_ascii=False).encode()
            return from_json(raw)
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise EntryError(f"{self.folder / ENTRIES} line {number + 1}", str(error)) from error


def from_json(raw: dict[str, Any]) -> Entry:
    """The inverse of `geopix.data.writing.to_json`; masks are checked when they are decoded, not here.

    Raises:
        ValueError, KeyError, TypeError: If the line is no entry.
    """
    height, width = raw["size_hw"]
    return Entry(
        key=str(raw["key"]),
        image=str(raw["image"]),
        size_hw=(int(height), int(width)),
        objects=tuple(_object(one) for one in raw["objects"]),
        captions=tuple(map(str, raw["captions"])),
        turns=tuple(Turn(str(question), str(answer), task) for question, answer, task in raw["turns"]),
        split=raw["split"],
        complete=bool(raw["complete"]),
        subset=str(raw.get("subset", "")),
    )


def _object(raw: dict[str, Any]) -> Annotated:
    x1, y1, x2, y2 = map(float, raw["box_xyxy_px"])
    counts = raw["counts"]
    if counts is not None and not isinstance(counts, str):
        raise TypeError("counts are no text")
    return Annotated(
        class_name=str(raw["class"]),
        box_xyxy_px=(x1, y1, x2, y2),
        counts=counts,
        category=str(raw["category"]),
        descriptions=tuple(map(str, raw["descriptions"])),
        arrangement=str(raw["arrangement"]),
    )
