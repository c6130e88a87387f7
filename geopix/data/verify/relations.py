"""Relations in words into claims: "near the upper edge", "left of the harbor", "nearest to the bridge" (§IV-C)."""

from __future__ import annotations

from geopix.data.verify.claims import (
    Alone,
    Among,
    Beside,
    Between,
    Close,
    Compared,
    Extreme,
    Inside,
    Ranked,
    Reference,
    Region,
    Relation,
    Side,
    Spot,
)
from geopix.data.verify.cursor import Cursor
from geopix.data.verify.words import (
    ARTICLES,
    COMPARATIVES,
    DIRECTIONS,
    FORMS,
    GROUPS,
    MOST,
    NEAR,
    ORDINALS,
    PREPOSITIONS,
    SIDES,
    SUPERLATIVES,
)

_TOWARDS = frozenset({"near", "beside", "by", "alongside", "nearby", "along", "at", "to", "toward", "towards"})
"""Prepositions that say of an object that another is close; after the others it lies within."""


def relation(cursor: Cursor) -> list[Relation] | None:
    """What is said after a noun; None, with some words taken, where that can't be read."""
    word = cursor.peek()
    if word in ("nearest", "farthest"):
        return _extreme(cursor)
    if word in COMPARATIVES and cursor.peek(1) == "than":
        cursor.at += 2
        return [Compared(COMPARATIVES[word] == "large", cursor.phrase(cursor))]
    if word == "between":
        return _between(cursor)
    if cursor.take("isolated") or cursor.take("by", "itself"):
        return [Alone()]
    if word in DIRECTIONS:
        cursor.at += 1
        sides: tuple[Side, ...] = (DIRECTIONS[word],)
        if cursor.take("and", "to", "the") and cursor.peek(1) == "of":  # "above and to the left of"
            sides = (*sides, cursor.side())
            cursor.at += 1
        return [Beside(sides, cursor.phrase(cursor))]
    if word in ORDINALS:
        return _ordinal(cursor)
    if word in MOST or word in SUPERLATIVES:
        order = cursor.order()
        return None if order is None else [Ranked(order)]
    if word == "right" and cursor.peek(1) == "next":
        cursor.at += 1
    if cursor.peek() in ("next", "close", "adjacent"):
        cursor.at += 1
        return [Close(cursor.phrase(cursor))] if cursor.take("to") else None
    if word in SIDES:  # "left of the harbor", "upper left of the bridge"
        spot = cursor.spot()
        return _of(spot, cursor.phrase(cursor)) if spot is not None and cursor.take("of") else None
    if word in ("of", "among"):
        cursor.at += 1
        if cursor.take("all") and not cursor.noun_follows() and cursor.peek() not in ARTICLES:
            return []  # "the largest of all"
        those = cursor.phrase(cursor)
        return [Among(those)] if those.plural or those.group else None
    return _placed(cursor) if word in PREPOSITIONS or word in NEAR else None


def _ordinal(cursor: Cursor) -> list[Relation] | None:
    """ "second from the left", "third largest"."""
    place = ORDINALS[cursor.peek()]
    cursor.at += 1
    order = cursor.order() or cursor.counted_from()
    return None if order is None else [Ranked(order, place)]


def _extreme(cursor: Cursor) -> list[Relation] | None:
    """ "farthest to the left", "nearest to the harbor", "nearest to the upper edge of the image"."""
    far = cursor.peek() == "farthest"
    cursor.at += 1
    cursor.take("away")
    if far:
        mark = cursor.at
        if cursor.take("to") or cursor.take("on"):
            cursor.skip(ARTICLES)
        if cursor.peek() in SIDES and cursor.peek(1) not in FORMS:
            return [Ranked(cursor.side())]
        cursor.at = mark
    if not (cursor.take("from") if far else cursor.take("to") or cursor.peek() in ARTICLES):
        return None
    return [Extreme(far, _spot_of_the_image(cursor) or cursor.phrase(cursor))]


def _spot_of_the_image(cursor: Cursor) -> Spot | None:
    """ "the upper edge of the image", where a place of the image and nothing else is meant."""
    mark = cursor.at
    cursor.skip(ARTICLES)
    spot = cursor.spot()
    if spot is not None and not cursor.noun_follows() and (cursor.take("of", "the", "image") or cursor.peek() != "of"):
        return spot
    cursor.at = mark
    return None


def _between(cursor: Cursor) -> list[Relation] | None:
    cursor.at += 1
    first = cursor.phrase(cursor)
    if cursor.take("and"):
        return [Between(first, cursor.phrase(cursor))]
    return [Between(first)] if first.plural else None


def _placed(cursor: Cursor) -> list[Relation] | None:
    """A preposition with a place ("in the upper left corner of ...") or with a noun ("in the row", "near the ...")."""
    word = cursor.peek()
    cursor.at += 1
    if word == "near":
        cursor.take("to")
    mark = cursor.at
    cursor.skip(ARTICLES)
    if cursor.take("image"):
        return []
    if cursor.peek() in ("far", "farthest", "very", "extreme") and cursor.peek(1) in SIDES:
        cursor.at += 1
        return [Ranked(cursor.side())]
    spot = cursor.spot()
    if spot is not None and cursor.take("end"):
        order = spot.column or spot.row
        if not cursor.take("of") or not order or order == "center":
            return None
        return [Ranked(order), Among(cursor.phrase(cursor))]
    if spot is not None and cursor.take("of"):
        cursor.skip(ARTICLES)
        return [Region(spot)] if cursor.take("image") else _of(spot, cursor.phrase(cursor))
    if spot is not None and not cursor.noun_follows():
        return _bare(cursor, spot)
    cursor.at = mark
    other = cursor.phrase(cursor)
    if word in _TOWARDS:
        return [Close(other)]
    return [Among(other)] if other.group or other.plural else [Inside(other)]


def _bare(cursor: Cursor, spot: Spot) -> list[Relation]:
    """ "on the left", of the group that is named next or else of the image."""
    mark = cursor.at
    if spot.form in ("part", "corner") and cursor.take("in"):
        cursor.skip(ARTICLES)
        if any(cursor.peek(ahead) in GROUPS for ahead in range(3)):
            return _of(spot, cursor.phrase(cursor))
        cursor.at = mark
    return [Region(spot)]


def _of(spot: Spot, other: Reference) -> list[Relation]:
    """A part of what several objects or a large one cover, or beside an object."""
    if other.group or other.plural or spot.form != "part" or "center" in (spot.column, spot.row):
        return [Region(spot, other)]
    sides = tuple(side for side in (spot.row, spot.column) if side and side != "center")
    return [Beside(sides, other)]
