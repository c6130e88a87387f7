"""Words into a claim: a recursive-descent reader of descriptions (§IV-C, Fig. 3's relations and RSVGD's).

Words after a nested noun belong to that noun ("the ship left of the harbor near the upper edge" speaks of a harbor near
the edge); after a comma, or after "and", they belong to the first one.
"""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache

from geopix.data.verify.claims import Alone, Among, GroupWord, Middle, OfTwo, Only, Ranked, Reference, Region, Relation
from geopix.data.verify.cursor import Cursor, UnreadableError
from geopix.data.verify.relations import relation
from geopix.data.verify.words import (
    ARTICLES,
    COMPARATIVES,
    FILLERS,
    GROUPS,
    MOST,
    NUMBERS,
    ORDINALS,
    PREPOSITIONS,
    SIDES,
    SUPERLATIVES,
    UNSEEN,
    tokens,
    vocabulary,
)

LONGEST = 80
"""Words of a description that are read."""
DEEPEST = 4
"""Nouns within nouns."""


_PREDICATES = frozenset({*MOST, *SUPERLATIVES, *ORDINALS, "nearest", "farthest"})
_UPRIGHT: dict[str, GroupWord] = {"horizontal": "row", "vertical": "column"}


@lru_cache(maxsize=4096)
def read(text: str, names: frozenset[str] = frozenset()) -> Reference:
    """What a description claims.

    Args:
        text: One phrase or sentence.
        names: Class names and categories of the image, beside those that are known anyway.

    Raises:
        UnreadableError: Naming the word that made no sense.
    """
    words = tokens(text)
    if not words or len(words) > LONGEST:
        raise UnreadableError(f"a description has 1 to {LONGEST} words, this one {len(words)}")
    cursor = Cursor(words, vocabulary(names), phrase)
    reference = phrase(cursor)
    if cursor.left():
        raise UnreadableError(f"the words from {cursor.rest()!r} on make no sense there")
    if reference.group or reference.plural:
        raise UnreadableError("it speaks of several objects, not of one")
    return reference


def phrase(cursor: Cursor) -> Reference:
    """A noun phrase with all that belongs to it.

    Raises:
        UnreadableError: If there is none.
    """
    outermost = not cursor.heads
    if len(cursor.heads) > DEEPEST:
        raise UnreadableError("too many nouns within nouns")
    if outermost:
        cursor.skip(frozenset({"there", "is"}))
    cursor.skip(ARTICLES)
    made, pending = _up_to_noun(cursor)
    cursor.heads.append(made.noun)
    relations = list(made.relations)
    while cursor.left():
        mark = cursor.at
        if outermost:
            cursor.skip(frozenset({",", "and"}))
        cursor.skip(FILLERS)
        if cursor.peek() in ARTICLES and cursor.peek(1) in _PREDICATES:  # "that is the largest"
            cursor.at += 1
        side = None if pending is None else cursor.counted_from()
        if side is not None and pending is not None:
            relations.append(Ranked(side, pending))
            pending = None
            continue
        found = relation(cursor)
        if found is None:
            cursor.at = mark
            break
        relations += found
    if pending is not None:
        raise UnreadableError("it counts, but does not say from where")
    cursor.heads.pop()
    return replace(made, relations=tuple(relations))


def _up_to_noun(cursor: Cursor) -> tuple[Reference, int | None]:
    """Everything up to the noun, and a place whose "from the left" is still to come."""
    relations: list[Relation] = []
    unseen: list[str] = []
    count: int | None = None
    other = False
    pending: int | None = None

    def made(noun: str, plural: bool) -> Reference:
        return Reference(noun, plural, count, "", other, tuple(relations), tuple(unseen))

    while cursor.left():
        noun = cursor.noun()
        if noun is not None:
            return made(noun[0], noun[1] or (count or 1) > 1), pending
        word = cursor.peek()
        if word in GROUPS:
            upright = [way for way in unseen if way in _UPRIGHT]
            unseen = [way for way in unseen if way not in _UPRIGHT]
            group = _group(cursor, made("", False))
            if upright and group.group == "line":
                group = replace(group, group=_UPRIGHT[upright[0]])
            return group, pending
        if word == "from" and pending is not None:
            side = cursor.counted_from()
            if side is None:
                break
            relations.append(Ranked(side, pending))
            pending = None
        elif word in ("of", "among") and (relations or pending is not None or count):
            return _one_of(cursor, made("", False)), pending
        elif word in NUMBERS:
            count = NUMBERS[word]
            cursor.at += 1
        elif word in ORDINALS:
            cursor.at += 1
            order = cursor.order()
            if order is None:
                pending = ORDINALS[word]
            else:
                relations.append(Ranked(order, ORDINALS[word]))
        elif word == "others" and cursor.heads:
            cursor.at += 1
            other = True
            return made(cursor.heads[-1], True), pending
        elif word in ("other", "another"):
            other = True
            cursor.at += 1
        elif word in UNSEEN:
            unseen.append(word)
            cursor.at += 1
        elif (adjective := _adjective(cursor)) is not None:
            relations.append(adjective)
        elif word not in ARTICLES or not count:
            break
        else:  # "both the ships"
            cursor.at += 1
    if count and cursor.heads and cursor.peek() in ("", ",", "and", *PREPOSITIONS):  # "on the left of the two"
        return made(cursor.heads[-1], True), pending
    raise UnreadableError(f"no class of object is named at {cursor.rest()!r}" if cursor.left() else "no class is named")


def _adjective(cursor: Cursor) -> Relation | None:
    """A relation in front of the noun: "leftmost", "larger", "upper left", "middle", "only"."""
    word = cursor.peek()
    if word in SIDES or word == "center":
        spot = cursor.spot()
        if spot is None or (spot.column and spot.row):
            return None if spot is None else Region(spot)
        return OfTwo(SIDES[word])
    cursor.at += 1
    if word in MOST or word in SUPERLATIVES:
        return Ranked(MOST.get(word) or SUPERLATIVES[word])
    if word in COMPARATIVES:
        return OfTwo(COMPARATIVES[word])
    if word in ("farthest", "far") and cursor.peek() in SIDES:
        return Ranked(cursor.side())
    if word == "middle":
        return Middle()
    if word == "only":
        return Only()
    if word in ("isolated", "single"):
        return Alone()
    cursor.at -= 1
    return None


def _group(cursor: Cursor, made: Reference) -> Reference:
    """ "cluster", "row of four ships", "line of ships", "pair"."""
    word = cursor.peek()
    cursor.at += 1
    count = 2 if word.startswith("pair") else made.count
    noun = cursor.heads[-1] if cursor.heads else ""
    mark = cursor.at
    if cursor.take("of"):
        cursor.skip(ARTICLES)
        if cursor.peek() in NUMBERS:
            count = NUMBERS[cursor.peek()]
            cursor.at += 1
        named = cursor.noun()
        if named is not None:
            noun = named[0]
        elif cursor.at == mark + 1 or cursor.peek() not in ("", ",", "and", *PREPOSITIONS):
            cursor.at = mark
    return replace(made, noun=noun, group=GROUPS[word], count=count)


def _one_of(cursor: Cursor, made: Reference) -> Reference:
    """ "the larger of the two ships"."""
    cursor.at += 1
    those = cursor.phrase(cursor)
    if not (those.plural or those.group):
        raise UnreadableError("it picks one of several, but names only one")
    return replace(made, noun=those.noun, relations=(*made.relations, Among(those)), count=None)
