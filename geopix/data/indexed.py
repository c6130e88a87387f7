"""A set's entries by number, for training on more than memory holds (§III-C): an offset a line, nothing else kept."""

from __future__ import annotations

import hashlib
import os
from array import array
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np

from geopix.classes import UNKNOWN
from geopix.data.entries import ENTRIES, Entry, EntryError, SetReader
from geopix.records import Split


class IndexedSet:
    """Some entries of a set, found by one pass over it and read again whenever they are asked for.

    ``fingerprint`` is the SHA-256 of all entries of the file; ``classes`` what is annotated in every subset, which an
    image without an object of that class can be asked about.

    Args:
        folder: The set.
        split: Only entries of this split are kept.
        subsets: Only entries of these subsets are kept; all where none is named.
        wanted: Which of these entries are of use.
        watch: Told how many bytes of how many have been read.

    Raises:
        EntryError: If it is no set, a line is broken, or there is no such subset.
    """

    def __init__(
        self,
        folder: Path,
        split: Split = "train",
        subsets: Sequence[str] = (),
        wanted: Callable[[Entry], bool] = lambda entry: True,
        watch: Callable[[int, int], None] = lambda done, total: None,
    ) -> None:
        self.reader = SetReader(folder)
        self.path = folder / ENTRIES
        self.starts, self.numbers = array("q"), array("q")
        self.in_split = 0
        try:
            self.size = self.path.stat().st_size
            self._pass(split, subsets, wanted, watch)
        except FileNotFoundError as error:
            raise EntryError(f"{self.path} is missing", "import or build the set again") from error
        missing = sorted(set(subsets) - self.classes.keys())
        if missing:
            there = ", ".join(filter(None, sorted(self.classes))) or "no subsets at all"
            raise EntryError(f"{folder} has no subset {missing[0]!r}", f"it has {there}")

    def _pass(
        self,
        split: Split,
        subsets: Sequence[str],
        wanted: Callable[[Entry], bool],
        watch: Callable[[int, int], None],
    ) -> None:
        names: dict[str, set[str]] = defaultdict(set)
        digest, at = hashlib.sha256(), 0
        for number, line in enumerate(self.reader.lines()):
            digest.update(line)
            entry = self.reader.entry(line, number)
            names[entry.subset].update(one.class_name for one in entry.objects)
            if entry.split == split and (not subsets or entry.subset in subsets):
                self.in_split += 1
                if wanted(entry):
                    self.starts.append(at)
                    self.numbers.append(number)
            at += len(line)
            if number % 500 == 0:
                watch(at, self.size)
        watch(self.size, self.size)
        self.fingerprint = digest.hexdigest()
        self.classes = {subset: tuple(sorted(found - {UNKNOWN})) for subset, found in names.items()}

    def __len__(self) -> int:
        return len(self.starts)

    def __getitem__(self, place: int) -> Entry:
        """An entry, read from the file.

        Raises:
            EntryError: If the file is another than the one that was indexed.
        """
        with self.path.open("rb") as file:
            if os.fstat(file.fileno()).st_size != self.size:
                raise EntryError(f"{self.path} changed while it was read", "start again")
            file.seek(self.starts[place])
            return self.reader.entry(file.readline(), self.numbers[place])

    def __iter__(self) -> Iterator[Entry]:
        return (self[place] for place in range(len(self)))

    def draw(self, count: int, seed: int) -> str:
        """Keep so many entries at random, in the set's order.

        Args:
            count: How many.
            seed: Names the draw.

        Returns:
            The SHA-256 of their keys, one a line.

        Raises:
            EntryError: If there are fewer.
        """
        if count > len(self):
            raise EntryError(f"{self.reader.folder} has {len(self):,} images to train on", f"{count:,} are to be taken")
        chosen = np.sort(np.random.default_rng(seed).permutation(len(self))[:count])
        self.starts = array("q", [self.starts[place] for place in chosen])
        self.numbers = array("q", [self.numbers[place] for place in chosen])
        return keys_hash(entry.key for entry in self)


def keys_hash(keys: Iterator[str]) -> str:
    """The SHA-256 of keys, one a line."""
    digest = hashlib.sha256()
    for key in keys:
        digest.update(f"{key}\n".encode())
    return digest.hexdigest()
