"""Whether an image that is asked about shows what a training image of the same data set shows (§V)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

from geopix.data.assembly.fingerprints import fingerprint
from geopix.data.assembly.twins import RANKS, Gathered
from geopix.data.entries import EntryError
from geopix.data.foreign.found import Watch, unwatched
from geopix.data.foreign.pictures import SUFFIXES, Pictures

BITS: Final = 28
"""Of 256 of the perceptual hash that may differ; VHR-10's known pair, one port seen twice, differs in as many."""

Files = Sequence[tuple[str, Path | None]]
"""Keys, and where the images lie; None where a name does not lead to a place in its folder."""


def files_of(folder: Path) -> Files:
    """Key and file of every picture in a folder; none where there is no folder."""
    found = sorted(folder.iterdir()) if folder.is_dir() else []
    return tuple((f"{folder.name}/{path.name}", path) for path in found if path.suffix.lower() in SUFFIXES)


def files_named(source: str, folder: Path, names: Iterable[object]) -> Files:
    """Key and file of the pictures in a folder that a file of others names; it may name anything.

    Args:
        source: Put before the names in the keys.
        folder: The image folder.
        names: Paths from there.
    """
    pictures = Pictures(folder)

    def file(name: object) -> Path | None:
        try:
            return folder / pictures.find(name) if isinstance(name, str) else None
        except (EntryError, OSError):  # OSError: a name that is too long for any file
            return None

    return tuple((f"{source}/{name}", file(name)) for name in names)


def leaks(training: Files, evaluated: Files, watch: Watch = unwatched) -> tuple[frozenset[str], str]:
    """The keys of images with a twin in training, and the sentence for the footer.

    Args:
        training: Key and file of the data set's own training images.
        evaluated: The same of the images asked about.
        watch: Told how many images are looked at.
    """
    if not training:
        return frozenset(), "not done: the folder holds no training images"
    gathered, keys, unread = Gathered(), list[str](), 0
    try:
        for split, files in (("train", training), ("val", evaluated)):
            for done, (key, path) in enumerate(files, start=1 + (split == "val") * len(training)):
                watch("looking for twins", done, len(training) + len(evaluated))
                # A device or a pipe would be read without end.
                print_ = fingerprint(key, path, None) if path is not None and path.is_file() else None
                if print_ is None or print_.problem:
                    unread += 1
                    continue
                gathered.add(print_.perceptual, print_.sha256, RANKS[split])
                keys.append(key)
    except EntryError as error:
        return frozenset(), f"not done: {error}"
    pairs = [pair for pair in gathered.pairs(BITS) if pair.kind == "leak"]
    named = ", ".join(f"{keys[pair.second]} ({keys[pair.first]})" for pair in pairs[:5])
    told = f"{len(evaluated):,} images asked about against {len(training):,} training images of the data set, "
    told += f"perceptual hashes at most {BITS} of 256 bits apart: {len(pairs):,} pairs"
    told += f": {named}{' and others' if len(pairs) > 5 else ''}" if pairs else ""
    told += f"; {unread:,} images could not be read" if unread else ""
    return frozenset(keys[pair.second] for pair in pairs), told
