"""Records grouped by image on disk, for files that hold them in any order (§IV)."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from types import TracebackType
from typing import Any

from geopix.data.entries import MOST_OBJECTS, EntryError


class Spool:
    """JSON records by key, in a temporary database; only the keys are held in memory.

    Use as a context; its file goes with it.

    Args:
        most: Records of one key that are kept; if more come, the key's records can't be read.
    """

    def __init__(self, most: int = MOST_OBJECTS) -> None:
        self.most = most
        self._numbers: dict[str, list[int]] = {}  # key -> its number in order of appearance, and how many records
        self._base = sqlite3.connect("", isolation_level=None)  # a private file in the system's temporary folder
        self._base.execute("PRAGMA journal_mode = OFF")
        self._base.execute("CREATE TABLE records (key INTEGER, record TEXT)")
        self._base.execute("BEGIN")
        self._indexed = False

    def __enter__(self) -> Spool:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._base.close()

    def __len__(self) -> int:
        return len(self._numbers)

    def __iter__(self) -> Iterator[str]:
        return iter(self._numbers)

    def __contains__(self, key: str) -> bool:
        return key in self._numbers

    def add(self, key: str, record: Any) -> None:
        """Append a record to those of a key."""
        place = self._numbers.setdefault(key, [len(self._numbers), 0])
        place[1] += 1
        if place[1] <= self.most:
            self._base.execute("INSERT INTO records VALUES (?, ?)", (place[0], json.dumps(record)))

    def take(self, key: str) -> list[Any]:
        """The records of a key in the order in which they came; none where the key is unknown.

        Raises:
            EntryError: If there are too many.
        """
        number, count = self._numbers.get(key, (-1, 0))
        if count > self.most:
            raise EntryError("too many objects in one image", f"{count:,}, at most {self.most:,}")
        if not self._indexed:
            self._base.execute("CREATE INDEX by_key ON records (key)")
            self._indexed = True
        rows = self._base.execute("SELECT record FROM records WHERE key = ? ORDER BY rowid", (number,))
        return [json.loads(record) for (record,) in rows]


def key_of(raw: Any) -> str:
    """An id as a key.

    Raises:
        TypeError: If it is neither text nor a whole number.
    """
    if isinstance(raw, bool) or not isinstance(raw, (int, str)):
        raise TypeError(f"an id is a text or a whole number, not {type(raw).__name__}")
    return str(raw)[:1000]
