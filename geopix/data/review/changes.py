"""What people changed in a description, told from its words (§IV-C: above all in clusters, says the paper)."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from difflib import SequenceMatcher
from typing import Literal, TypeAlias, get_args

from geopix.classes import plural, wordings

Change: TypeAlias = Literal["position word", "order", "class word", "new text", "other"]
CHANGES: tuple[Change, ...] = get_args(Change)

_POSITION = frozenset(
    "left leftmost right rightmost top topmost bottom bottommost upper uppermost lower lowermost middle center centre "
    "central centrally corner edge side half end above below over under beside next near nearest nearer close closest "
    "farthest furthest far between inside within outside around along across opposite adjacent north south east west "
    "northern southern eastern western row column line cluster group isolated alone".split()
)
_ORDER = frozenset(
    "first second third fourth fifth sixth seventh eighth ninth tenth eleventh twelfth last penultimate one two three "
    "four five six seven eight nine ten eleven only other".split()
)
_NUMBER = re.compile(r"\d+(st|nd|rd|th)?")
_WORD = re.compile(r"[^\W_]+(?:['\u2019][^\W_]+)?")


def changes(old: str, new: str, class_names: Iterable[str]) -> frozenset[Change]:
    """The kinds of change between two wordings; more than one where several things were changed.

    Args:
        old: As it was, "" where there was none.
        new: As it is now.
        class_names: Classes of the image, whose words count as class words, with their synonyms and plurals.
    """
    before, after = _words(old), _words(new)
    if not before:
        return frozenset({"new text"})
    counts = Counter(before), Counter(after)
    changed = {*(counts[0] - counts[1]), *(counts[1] - counts[0])} or _moved(before, after)
    classes = {
        word for name in class_names for wording in wordings(name) for word in _words(f"{wording} {plural(wording)}")
    }
    found: set[Change] = set()
    if changed & classes:
        found.add("class word")
    if changed & _POSITION - classes:
        found.add("position word")
    if any(word in _ORDER or _NUMBER.fullmatch(word) for word in changed):
        found.add("order")
    return frozenset(found or {"other"})


def _moved(before: list[str], after: list[str]) -> set[str]:
    """Words that stand elsewhere; the order of the others is the same."""
    blocks = SequenceMatcher(None, before, after, autojunk=False).get_opcodes()
    return {word for kind, i1, i2, _, _ in blocks if kind != "equal" for word in before[i1:i2]}


def _words(text: str) -> list[str]:
    return _WORD.findall(text.lower())
