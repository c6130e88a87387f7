"""A description's words turned with its image (§III-C trains on turned images): left becomes right, above left of."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

from geopix.data.verify.claims import Side
from geopix.data.verify.words import DIRECTIONS, GROUPS, MOST, SIDES

_ANTICLOCKWISE: Final[dict[Side, Side]] = {"left": "bottom", "bottom": "right", "right": "top", "top": "left"}
_NOUNS: Final[dict[Side, str]] = {"left": "left", "right": "right", "top": "top", "bottom": "bottom"}
_ADJECTIVES: Final[dict[Side, str]] = {"left": "left", "right": "right", "top": "upper", "bottom": "lower"}
_BEYOND: Final[dict[Side, str]] = {"left": "left of", "right": "right of", "top": "above", "bottom": "below"}
_UPRIGHT = ("top", "bottom")
_CORNER = re.compile(
    r"\b(?:(?P<row>upper|top|lower|bottom)[\s-]+(?P<column>left|right)|"
    r"(?P<column_first>left|right)[\s-]+(?P<row_second>upper|top|lower|bottom))\b",
    re.IGNORECASE,
)
_MOST = re.compile(r"\b(?:(left|right|top|upper|bottom|lower)[\s-]?most|highest|lowest)\b", re.IGNORECASE)
_FRAMES = "|".join(["image", "picture", "photo", "scene", *GROUPS])
_PLACE = re.compile(
    r"\b(?:(?:on|at|in|to) the )?(?P<side>left|right|top|bottom)(?: (?:hand )?side)? of "
    rf"(?!(?:the |an? )?(?:{_FRAMES})\b)",
    re.IGNORECASE,
)
_BEYOND_WORDS = re.compile(rf"\b(?:{'|'.join(DIRECTIONS)})\b", re.IGNORECASE)
_ONE_SIDE = re.compile(
    r"\b(?P<at>(?:on|at) the )?(?P<side>left|right(?!\s+next)|top|upper|bottom|lower)\b(?P<next>(?:[\s-]+[a-z]+)?)",
    re.IGNORECASE,
)
_AFTER_NOUN = frozenset(
    "of in on at near and from with within inside to is are that which located by close next among between".split()
)
_SWAPPED = {"row": "column", "column": "row", "rows": "columns", "columns": "rows"}


def turned(text: str, quarter_turns: int, mirrored: bool) -> str:
    """The description of the same object once its image is turned as `geopix.data.construct.turn` turns it.

    Args:
        text: A description that the grammar reads.
        quarter_turns: Anticlockwise.
        mirrored: Whether left and right are swapped after that.
    """

    def moved(side: Side) -> Side:
        for _ in range(quarter_turns % 4):
            side = _ANTICLOCKWISE[side]
        return {"left": "right", "right": "left"}.get(side, side) if mirrored else side  # type: ignore[return-value]

    if quarter_turns % 4 == 0 and not mirrored:
        return text
    kept: list[str] = []

    def keep(words: str) -> str:  # what is done must not be turned again
        kept.append(words)
        return f"\x00{len(kept) - 1}\x00"

    def replaced(pattern: re.Pattern[str], how: Callable[[re.Match[str]], str], said: str) -> str:
        return pattern.sub(lambda found: keep(how(found)), said)

    said = replaced(_CORNER, lambda found: _corner(found, moved), text.replace("\x00", ""))
    said = replaced(_MOST, lambda found: f"{_NOUNS[moved(_most(found))]}most", said)
    said = replaced(_PLACE, lambda found: _beyond(found, moved), said)
    said = replaced(_BEYOND_WORDS, lambda found: _BEYOND[moved(DIRECTIONS[found[0].lower()])], said)
    said = _ONE_SIDE.sub(lambda found: keep(_one_side(found, moved)) + found["next"], said)
    if quarter_turns % 2:
        said = re.sub(r"\b(row|column)s?\b", lambda found: _SWAPPED[found[0].lower()], said, flags=re.IGNORECASE)
    said = re.sub("\x00(\\d+)\x00", lambda found: kept[int(found[1])], said)
    return said[:1].upper() + said[1:] if text[:1].isupper() else said


def _corner(found: re.Match[str], moved: Callable[[Side], Side]) -> str:
    row = (found["row"] or found["row_second"]).lower()
    column = (found["column"] or found["column_first"]).lower()
    sides = [moved(SIDES[row]), moved(SIDES[column])]
    vertical = next(side for side in sides if side in _UPRIGHT)
    across = next(side for side in sides if side not in _UPRIGHT)
    return f"{(_NOUNS if row in _UPRIGHT else _ADJECTIVES)[vertical]} {across}"


def _most(found: re.Match[str]) -> Side:
    return MOST[found[0].lower()] if found[1] is None else SIDES[found[1].lower()]


def _beyond(found: re.Match[str], moved: Callable[[Side], Side]) -> str:
    """ "to the left of the harbor" -> "above the harbor"."""
    side = SIDES[found["side"].lower()]
    new = moved(side)
    if (side in _UPRIGHT) == (new in _UPRIGHT):
        return found[0].replace(found["side"], _NOUNS[new])
    return f"{_BEYOND[new]} "


def _one_side(found: re.Match[str], moved: Callable[[Side], Side]) -> str:
    """A side on its own: "on the left" -> "at the top", "the left edge" -> "the upper edge"."""
    word, at, after = found["side"].lower(), found["at"] or "", found["next"].strip(" -").lower()
    new = moved(SIDES[word])
    noun = after == "" or after in _AFTER_NOUN
    as_noun = word in _UPRIGHT or noun or after in ("center", "centre", "middle")
    said = (_NOUNS if as_noun else _ADJECTIVES)[new]
    if at and noun:
        at = "at the " if new in _UPRIGHT else "on the "
    return at + said
