"""Images that are there twice, across splits and evaluation sets: found, reported, left out (§IV-A, §V)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from geopix.data.assembly.recipe import Twins
from geopix.data.entries import EntryError

RANKS: Final = {"train": 0, "val": 1, "test": 2, "evaluation": 3}
"""How far from training an image is kept; of two twins the nearer one goes."""
MOST_PAIRS: Final = 1_000_000
"""More say that the hashes do not tell these images apart."""
_BLOCK: Final = 2048


@dataclass(frozen=True, slots=True)
class Pair:
    """Two images of one place.

    Args:
        first, second: Their places in the order they were given in, the first before the second.
        bits: In how many of 256 bits their perceptual hashes differ.
        same_file: Whether the files are alike to the byte.
        kind: "leak" across splits, "duplicate" within one.
    """

    first: int
    second: int
    bits: int
    same_file: bool
    kind: Literal["leak", "duplicate"]


class Gathered:
    """Fingerprints of all images in order, 72 bytes each."""

    def __init__(self) -> None:
        self._hashes, self._files, self._ranks = bytearray(), bytearray(), bytearray()

    def add(self, perceptual: str, sha256: str, rank: int) -> None:
        """Append an image."""
        self._hashes += bytes.fromhex(perceptual)
        self._files += bytes.fromhex(sha256)
        self._ranks.append(rank)

    def __len__(self) -> int:
        return len(self._ranks)

    @property
    def ranks(self) -> NDArray[np.uint8]:
        """(n,) of `RANKS`."""
        return np.frombuffer(self._ranks, dtype=np.uint8)

    def pairs(self, bits: int) -> Iterator[Pair]:
        """Every pair that differs in so few bits; of images with equal hashes, each with the first of them."""
        hashes = np.frombuffer(self._hashes, dtype=np.uint8).reshape(len(self), -1)
        files, ranks = np.frombuffer(self._files, dtype=np.uint8).reshape(len(self), -1), self.ranks
        for first, second, apart in near(hashes, bits):
            kind: Literal["leak", "duplicate"] = "duplicate" if ranks[first] == ranks[second] else "leak"
            yield Pair(first, second, apart, bool((files[first] == files[second]).all()), kind)


def near(hashes: NDArray[np.uint8], bits: int) -> list[tuple[int, int, int]]:
    """Pairs (first, second, bits that differ) of rows that differ in at most so many bits, in order.

    Rows that are equal are paired with the first of them only, and compared with others only once, so that a
    thousand copies give a thousand pairs and not half a million. Every other pair is compared, by matrix products:
    65,000 rows take less than a minute.

    Args:
        hashes: (n, bytes) uint8.
        bits: The largest difference.

    Raises:
        EntryError: If there are more than `MOST_PAIRS`.
    """
    if not len(hashes):
        return []
    _, firsts, groups = np.unique(hashes, axis=0, return_index=True, return_inverse=True)
    copies = [(int(firsts[group]), index, 0) for index, group in enumerate(groups.ravel()) if firsts[group] != index]
    order, length = np.sort(firsts), 8 * hashes.shape[1]
    found: list[tuple[int, int, int]] = []

    def signs(start: int) -> NDArray[np.float32]:
        return np.unpackbits(hashes[order[start : start + _BLOCK]], axis=1).astype(np.float32) * 2 - 1

    for start in range(0, len(order), _BLOCK):
        rows = signs(start)
        for other in range(start, len(order), _BLOCK):
            # The products of signs sum to (bits alike) - (bits that differ): whole numbers, exact in float32.
            apart = (length - rows @ signs(other).T) / 2
            for row, column in np.argwhere(apart <= bits):
                if start + row < other + column:
                    if len(found) >= MOST_PAIRS:
                        raise EntryError(f"there are more than {MOST_PAIRS:,} pairs of near images", "lower twins.bits")
                    found.append((int(order[start + row]), int(order[other + column]), int(apart[row, column])))
    return sorted(copies + found)


def left_out(pairs: Sequence[Pair], ranks: NDArray[np.uint8], rule: Twins) -> dict[int, Literal["leak", "duplicate"]]:
    """Which images go, and for what: of all that hang together only those of the highest rank stay, of these the first.

    Evaluation sets are not ours to thin out: what is theirs is never named.
    """
    if not pairs:
        return {}
    rows, columns = np.array([(pair.first, pair.second) for pair in pairs]).T
    graph = coo_array((np.ones(len(rows), dtype=np.int8), (rows, columns)), shape=(len(ranks), len(ranks)))
    clusters: NDArray[Any] = connected_components(graph, directed=False)[1]
    members: dict[int, list[int]] = {}
    for index in sorted({int(place) for place in (*rows, *columns)}):
        members.setdefault(int(clusters[index]), []).append(index)
    gone: dict[int, Literal["leak", "duplicate"]] = {}
    for cluster in members.values():
        highest = max(int(ranks[index]) for index in cluster)
        seen: set[int] = set()
        for index in cluster:
            rank = int(ranks[index])
            if rank == RANKS["evaluation"]:
                continue
            if rule.leaks == "drop" and rank < highest:
                gone[index] = "leak"
            elif rule.duplicates == "drop" and rank in seen:
                gone[index] = "duplicate"
            seen.add(rank)
    return gone
