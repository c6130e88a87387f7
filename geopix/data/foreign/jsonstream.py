"""JSON files larger than memory, one item at a time (§IV: a million annotations in one file).

The items are the elements of the file's outermost array, or of the arrays that its outermost object holds. Why not a
library: the ones that stream put no limit on the size of one item, so that a hostile one fills the memory.
"""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from geopix.data.entries import EntryError
from geopix.data.foreign.found import Watch, required, unwatched

LARGEST_ITEM = 16_000_000
"""Characters of one item that are read: a polygon for every pixel of a large image still fits."""
_CHUNK = 1_000_000
_SPACE = re.compile(r"[ \t\r\n]*")
_MAY_GO_ON = re.compile(r"[-+.eE\d]{0,8}")
"""What follows a number of which not all is read yet, as in 1.5e+."""
_DECODER = json.JSONDecoder()


def items(path: Path, watch: Watch = unwatched) -> Iterator[tuple[str, Any]]:
    """The items of a JSON file.

    Args:
        path: In UTF-8.
        watch: Told the bytes read.

    Yields:
        ("", element) for every element of an outermost array. Of an outermost object, (name, element) for every
        element of an array in it, and (name, value) for what is no array.

    Raises:
        EntryError: If the file is missing, no JSON, no UTF-8, or holds an item that is too large.
        OSError: If it can't be read.
    """
    scanner = _Scanner(required(path), watch)
    try:
        yield from _items(scanner)
        if scanner.peek():
            raise scanner.error("something follows the end")
    finally:
        scanner.file.close()


def _items(scanner: _Scanner) -> Iterator[tuple[str, Any]]:
    if scanner.peek() == "[":
        yield from (("", value) for value in scanner.elements())
        return
    scanner.take("{")
    if scanner.peek() == "}":
        scanner.take("}")
        return
    while True:
        name = scanner.value()
        if not isinstance(name, str):
            raise scanner.error("a name in quotes was expected")
        scanner.take(":")
        if scanner.peek() == "[":
            yield from ((name, value) for value in scanner.elements())
        else:
            yield name, scanner.value()
        if scanner.take(",}") == "}":
            return


class _Scanner:
    """A window of text over a file: what is read is dropped, what is not complete yet is read on."""

    def __init__(self, path: Path, watch: Watch) -> None:
        self.path, self.watch = path, watch
        self.size = path.stat().st_size
        self.file = path.open("rb")
        self.decoder = codecs.getincrementaldecoder("utf-8-sig")()
        self.text, self.at, self.ended = "", 0, False

    def more(self) -> bool:
        """Read on; False where the file has ended."""
        raw = self.file.read(_CHUNK)
        self.ended = not raw
        try:
            self.text = self.text[self.at :] + self.decoder.decode(raw, final=self.ended)
        except UnicodeDecodeError as error:
            raise EntryError(f"{self.path} is not UTF-8 text", str(error.reason)) from error
        self.at = 0
        self.watch(f"reading {self.path.name}", self.file.tell(), self.size)
        return not self.ended

    def peek(self) -> str:
        """The next character that is no space; "" at the end."""
        while True:
            space = _SPACE.match(self.text, self.at)
            self.at = space.end() if space else self.at
            if self.at < len(self.text):
                return self.text[self.at]
            if self.ended or not self.more():
                return ""

    def take(self, wanted: str) -> str:
        """Pass over one of the wanted characters."""
        found = self.peek()
        if not found or found not in wanted:
            raise self.error(f"{' or '.join(wanted)} was expected")
        self.at += 1
        return found

    def value(self) -> Any:
        """Pass over a whole value."""
        self.peek()
        while True:
            try:
                value, end = _DECODER.raw_decode(self.text, self.at)
                if self.ended or not _MAY_GO_ON.fullmatch(self.text, end):
                    self.at = end
                    return value
            except json.JSONDecodeError as error:
                if self.ended:
                    raise self.error(error.msg) from error
            except (ValueError, RecursionError) as error:
                raise self.error(str(error)) from error
            if len(self.text) - self.at > LARGEST_ITEM:
                raise EntryError(
                    f"{self.path} is no JSON, or one item of it has more than {LARGEST_ITEM:,} characters",
                    f"near {self.text[self.at : self.at + 40]!r}",
                )
            self.more()

    def elements(self) -> Iterator[Any]:
        """The elements of the array that comes next."""
        self.take("[")
        if self.peek() == "]":
            self.take("]")
            return
        while True:
            yield self.value()
            if self.take(",]") == "]":
                return

    def error(self, what: str) -> EntryError:
        near = self.text[self.at : self.at + 40]
        return EntryError(f"{self.path} is no JSON", f"{what}, near {near!r}" if near else f"{what}, at its end")
