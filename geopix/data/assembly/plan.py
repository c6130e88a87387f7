"""Which lines of which sets go in, before any is worked on: shards, duplicate keys, bad images, twins (§IV-A)."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Final

from geopix.data.assembly.pool import Workers, batched
from geopix.data.assembly.recipe import Recipe, Source
from geopix.data.assembly.work import Line, Tally
from geopix.data.entries import ENTRIES, SetReader
from geopix.data.foreign.found import Watch

BATCH: Final = 64
"""Entries that a worker takes at a time."""
TAKEN, ELSEWHERE, OUT = 0, 1, 2
"""Fates of a line: worked on, worked on by another shard, left out."""


@dataclass(slots=True)
class Chosen:
    """A set and the fate of each of its lines."""

    source: Source
    reader: SetReader
    fates: bytearray = field(default_factory=bytearray)
    partners: dict[str, list[int]] = field(default_factory=dict)
    """Stem of an image -> where in the joined set its entries begin."""

    def batches(self, folder: Path) -> Iterator[list[Line]]:
        """The lines that go in, with those that they are joined with."""
        yield from batched(self._lines(folder), BATCH)

    def _lines(self, folder: Path) -> Iterator[Line]:
        join = self.source.join
        if join is None:
            for number, text in enumerate(self.reader.lines()):
                if self.fates[number] == TAKEN:
                    yield Line(number, text)
            return
        with (folder / join.path / ENTRIES).open("rb") as others:
            for number, text in enumerate(self.reader.lines()):
                if self.fates[number] != TAKEN:
                    continue
                found = []
                for offset in self.partners.get(_stem(str(json.loads(text)["image"])), ()):
                    others.seek(offset)
                    found.append(others.readline())
                yield Line(number, text, tuple(found))


@dataclass(slots=True)
class Plan:
    """What goes in.

    Args:
        sets: The recipe's, in order.
        tally: What was left out so far, and for what; of a shard, its own.
        report: Pairs of twins, as lines of JSON; of a shard, its own.
        refused: Pairs for which the recipe refuses to build, in any shard.
    """

    sets: list[Chosen]
    tally: Tally = field(default_factory=Tally)
    report: list[str] = field(default_factory=list)
    refused: int = 0


def shard_of(key: str, n: int) -> int:
    """Which of n shards, counted from 1, an entry belongs to: by a hash of its key, so that all machines agree."""
    return 1 + int.from_bytes(hashlib.blake2b(key.encode(), digest_size=8).digest()) % n


def plan(recipe: Recipe, folder: Path, shard: tuple[int, int], workers: Workers, watch: Watch) -> Plan:
    """Decide about every line; images are looked at by the workers unless the recipe says not to.

    Args:
        recipe: What to build.
        folder: Where relative paths of sets start.
        shard: (i, n), i from 1.
        workers: They look at the images.
        watch: Told how far it is.

    Raises:
        EntryError: If a set can't be read, a line is no entry, or a needed library is missing.
    """
    made = Plan([_indexed(source, folder) for source in recipe.sets])
    keys: set[str] = set()
    for chosen in made.sets:
        _scan(chosen, keys, shard, made.tally, watch)
    if recipe.pixels:
        from geopix.data.assembly.compare import compare  # scipy and the hashes, where they are needed

        compare(made, recipe, folder, shard, workers, watch)
    return made


def _indexed(source: Source, folder: Path) -> Chosen:
    chosen = Chosen(source, SetReader(folder / source.path))
    if source.join is not None:
        offset, others = 0, SetReader(folder / source.join.path)
        for number, line in enumerate(others.lines()):
            chosen.partners.setdefault(_stem(others.entry(line, number).image), []).append(offset)
            offset += len(line)
    return chosen


def _scan(chosen: Chosen, keys: set[str], shard: tuple[int, int], tally: Tally, watch: Watch) -> None:
    """Fates by what stands in a line: its split, its key, its shard."""
    reader, unasked, what = chosen.reader, set(chosen.partners), f"reading {chosen.source.subset}"
    total = reader.about.counts.get("images", 0)
    for number, line in enumerate(reader.lines()):
        entry = reader.entry(line, number)
        mine = shard_of(entry.key, shard[1]) == shard[0]
        unasked.discard(_stem(entry.image))
        fate = TAKEN if mine else ELSEWHERE
        if entry.split not in chosen.source.splits:
            fate = OUT
            tally.skipped["image: of a split that the recipe does not take"] += mine
        elif entry.key in keys:
            fate = OUT
            tally.skipped["image: duplicate key"] += mine
        keys.add(entry.key)
        chosen.fates.append(fate)
        if number % 1000 == 0:
            watch(what, number, max(total, number))
    watch(what, len(chosen.fates), len(chosen.fates))
    tally.counts["join: images that the set lacks"] += sum(shard_of(stem, shard[1]) == shard[0] for stem in unasked)


def _stem(image: str) -> str:
    return PurePosixPath(image).stem
