"""Text of others, before it becomes a description, a caption or a turn (§IV-C, §III-A)."""

from __future__ import annotations

import re
import unicodedata
from typing import Any

from geopix.classes import canonical
from geopix.data.entries import EntryError
from geopix.dialogue import GROUP, IMAGE, PHRASE

LONGEST = 10_000
"""Characters of a text; the longest captions of the field have some two thousand."""
LONGEST_NAME = 100
"""Characters of a class name."""

# An answer with masks is cut at the dialogue's marks, so a description that holds one would add masks of its own.
_MARKS = re.compile("|".join(re.escape(mark) for mark in (IMAGE, PHRASE, "</p>", GROUP[:-1])))


def text(raw: Any, longest: int = LONGEST) -> str:
    """A text on one line, with single spaces.

    Raises:
        EntryError: If it is none, empty, too long, or holds control characters or marks of the dialogue.
    """
    if not isinstance(raw, str):
        raise EntryError("text missing")
    words = " ".join(raw.split())
    if not words:
        raise EntryError("text empty")
    if len(words) > longest:
        raise EntryError("text too long", f"{len(words):,} characters, at most {longest:,}")
    if not writable(words):
        raise EntryError("text with control characters", repr(words[:60]))
    if mark := _MARKS.search(words):
        raise EntryError("text with a mark of the dialogue", repr(words[max(0, mark.start() - 20) : mark.end() + 20]))
    return words


def writable(words: str) -> bool:
    """Whether a text holds no control characters and no halves of characters, as file names that are no text do."""
    return not any(unicodedata.category(character) in ("Cc", "Cs") for character in words)


def sentence(raw: Any) -> str:
    """A text with the source's spaces before full stops undone, a capital, and a full stop: "planes ." -> "Planes."."""
    words = " ".join(text(raw).replace(" .", ".").replace(" ,", ",").split())
    return words[:1].upper() + words[1:].rstrip(".") + "."


def class_names(raw: Any) -> tuple[str, str]:
    """The canonical name of a class, and what its source calls it.

    Raises:
        EntryError: As `text`.
    """
    category = text(raw, LONGEST_NAME)
    return canonical(category), category
