"""A foreign set becomes a set of ours: every entry checked and written, everything left out counted (§IV)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal, TypeAlias

from geopix.data.entries import About, Entry, EntryError, read_image
from geopix.data.foreign.found import Found, Place, Skipped, Watch, unwatched
from geopix.data.foreign.pictures import image_size
from geopix.data.foreign.words import writable
from geopix.data.sources.kinds import KINDS
from geopix.data.writing import SetWriter
from geopix.records import Split

Check: TypeAlias = Literal["none", "size", "pixels"]
"""How closely images are looked at: not at all, at their headers, or at every pixel."""


@dataclass(frozen=True, slots=True)
class Wish:
    """What to import, and how.

    Args:
        kind: One of `KINDS`.
        folder: Where the foreign set lies.
        images: Its image folder, or None for the one that its kind usually has.
        name: What keys begin with, or None for the kind's or the folder's name.
        only: The split to keep, or None for all.
        called: The split that every image gets whatever its source says, or None.
        complete: False where objects of the classes may lack annotation, whatever the reader thinks.
        check: How closely images are looked at.
    """

    kind: str
    folder: Path
    images: Path | None = None
    name: str | None = None
    only: Split | None = None
    called: Split | None = None
    complete: bool = True
    check: Check = "size"


_COUNTED = (
    "images", "images of train", "images of val", "images of test", "objects", "masks", "descriptions", "captions",
    "questions",
)  # fmt: skip


@dataclass(slots=True)
class Tally:
    """What was kept and what was not.

    Args:
        counts: Kind of thing -> how many were kept.
        skipped: Reason -> how often something was left out for it.
        examples: Reason -> where it was first met.
    """

    counts: dict[str, int] = field(default_factory=lambda: dict.fromkeys(_COUNTED, 0))
    skipped: Counter[str] = field(default_factory=Counter)
    examples: dict[str, str] = field(default_factory=dict)

    def keep(self, entry: Entry) -> None:
        """Count an entry and what is in it."""
        self.counts["images"] += 1
        self.counts[f"images of {entry.split}"] += 1
        self.counts["objects"] += len(entry.objects)
        self.counts["masks"] += sum(one.counts is not None for one in entry.objects)
        self.counts["descriptions"] += sum(len(one.descriptions) for one in entry.objects)
        self.counts["captions"] += len(entry.captions)
        self.counts["questions"] += len(entry.turns)

    def leave(self, skipped: Skipped) -> None:
        """Count something that was left out."""
        self.skipped[skipped.reason] += 1
        self.examples.setdefault(skipped.reason, skipped.detail)


def import_set(wish: Wish, out: Path, *, overwrite: bool = False, watch: Watch = unwatched, step: str = "") -> Tally:
    """Read a foreign set and write it as one of ours; nothing is written unless all of it could be read.

    Args:
        wish: What to read.
        out: A new folder, or with ``overwrite`` a set that is replaced.
        watch: Told how far it is.
        step: The command that did it, for the set's history.

    Raises:
        EntryError: If the folder is no such set, the output is taken, or nothing in it can be used.
        OSError: If a file can't be read or written.
    """
    place = _place(wish, watch)
    tally = Tally()
    with SetWriter(out, overwrite) as writer:
        for found in checked_entries(wish, place):
            if isinstance(found, Skipped):
                tally.leave(found)
            else:
                writer.add(found)
                tally.keep(found)
        if not tally.counts["images"]:
            told = "; ".join(f"{count:,} {reason}" for reason, count in tally.skipped.most_common(3)) or "it is empty"
            raise EntryError(f"nothing in {wish.folder} can be used as {wish.kind}", told)
        about = About(
            name=out.name,
            images=str(place.images.absolute()),
            sources={place.name: KINDS[wish.kind].terms},
            counts={name: count for name, count in tally.counts.items() if count},
            skipped=dict(tally.skipped),
            steps=(step,) if step else (),
        )
        writer.finish(about)
    return tally


def checked_entries(wish: Wish, place: Place) -> Iterator[Found]:
    """What the reader finds, each key once, in the splits wished for, with images of the annotated size."""
    seen: set[str] = set()
    for found in KINDS[wish.kind].read(place):
        if isinstance(found, Skipped):
            yield found
            continue
        entry = replace(found, split=wish.called or found.split, complete=found.complete and wish.complete)
        if wish.only is not None and entry.split != wish.only:
            continue
        if not writable(entry.key + entry.image):
            yield Skipped("file name that is no text", ascii(entry.key))
            continue
        if entry.key in seen:
            yield Skipped("duplicate key", entry.key)
            continue
        seen.add(entry.key)
        try:
            _look(entry, place.images, wish.check)
        except EntryError as error:
            yield Skipped(error.reason, f"{entry.key}: {error.detail}")
            continue
        yield entry


def _place(wish: Wish, watch: Watch) -> Place:
    if not wish.folder.is_dir():
        raise EntryError(f"{wish.folder} is no folder", "name the one that holds the set")
    kind = KINDS[wish.kind]
    images = wish.folder / kind.images if wish.images is None else wish.images
    if wish.check != "none" and not images.is_dir():
        raise EntryError(
            f"there are no images in {images}", "name their folder with --images, or read none with --check none"
        )
    name = wish.name or (wish.folder.resolve().name if kind.anyones else wish.kind)
    if not name or "/" in name or any(ord(character) < 32 for character in name):
        raise EntryError(f"{name!r} can't begin a key", "give a plain word with --name")
    return Place(wish.folder, images, name, looks=wish.check != "none", watch=watch)


def _look(entry: Entry, images: Path, check: Check) -> None:
    if check == "pixels":
        read_image(images / entry.image, entry.size_hw)
    elif check == "size":
        found = image_size(images / entry.image)
        if found != tuple(entry.size_hw):
            raise EntryError("image size differs from its annotation", f"{found}, annotated {entry.size_hw}")
