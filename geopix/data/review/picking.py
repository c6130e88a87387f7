"""Which images people look at: so many of every class and arrangement, by lot (§IV-C: 100 of each)."""

from __future__ import annotations

import hashlib
import heapq
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TypeAlias

from geopix.data.entries import Entry
from geopix.records import Split

UNKNOWN = "unknown"
"""The arrangement of an object that nobody has looked at yet."""

Group: TypeAlias = tuple[str, str]
"""Class and arrangement."""


@dataclass(frozen=True, slots=True)
class Wish:
    """How many of what to pick.

    Args:
        images: Of every class and arrangement, at most.
        seed: Another one picks others.
        split: Only of this split; None picks from all.
        texts: Of every object, at most, from its first on.
    """

    images: int = 100
    seed: int = 0
    split: Split | None = "train"
    texts: int = 1


@dataclass(frozen=True, slots=True)
class Picked:
    """What the lot fell on.

    Args:
        keys: Of the entries.
        groups: Class and arrangement -> how many of its images are picked for it, and how many there are.
    """

    keys: frozenset[str]
    groups: dict[Group, tuple[int, int]]


def groups_of(entry: Entry) -> set[Group]:
    """Every class with every arrangement that an image has of it."""
    return {(one.class_name, one.arrangement or UNKNOWN) for one in entry.objects}


def pick(entries: Iterable[Entry], wish: Wish) -> Picked:
    """The images to look at; the same from the same set and seed, in whatever order it comes.

    Every image draws one number, and a group takes its lowest: by lot within each group, while an image that is picked
    for one group is likely to be picked for its others, so that people look at fewer images in all.
    """
    lowest: dict[Group, list[tuple[int, str]]] = {}
    there: dict[Group, int] = {}
    for entry in entries:
        if wish.split is not None and entry.split != wish.split:
            continue
        text = f"{wish.seed}/{entry.key}".encode(errors="surrogatepass")
        draw = int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "big")
        for group in groups_of(entry):
            there[group] = there.get(group, 0) + 1
            kept = lowest.setdefault(group, [])
            if len(kept) < wish.images:
                heapq.heappush(kept, (-draw, entry.key))
            else:
                heapq.heappushpop(kept, (-draw, entry.key))
    keys = frozenset(key for kept in lowest.values() for _, key in kept)
    return Picked(keys, {group: (len(lowest[group]), n) for group, n in sorted(there.items())})
