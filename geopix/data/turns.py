"""Images of a set mirrored and turned, with everything that is said of them (§III-C): pixels, masks, boxes, words.

A description that the checker's grammar reads is rewritten by `geopix.data.verify.turning`. Captions, questions and
answers are free text, which nobody can rewrite surely ("the road turns left"): those without a word of direction stay,
the others are not said of the turned image. Boxes written in answers turn with the image.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import replace

import numpy as np

from geopix.data.entries import Annotated, Entry
from geopix.data.verify.cursor import UnreadableError
from geopix.data.verify.grammar import read
from geopix.data.verify.turning import turned
from geopix.records import Box, Image, Turn, decode_mask, encode_mask

VIEWS = 8
"""Ways to hold a picture: view v is turned v // 2 quarters anticlockwise, then mirrored if v is odd; 0 is as it is."""

_SIDES = re.compile(
    r"\b(?:left|right|top|bottom|upper|lower|highest|lowest|above|below|beneath|underneath|upward|downward)|"
    r"\b(?:under|over|up|down|columns?)\b",
    re.IGNORECASE,
)
_BEYOND_GRAMMAR = re.compile(
    r"\b(?:north|south|east|west|vertical|horizontal|diagonal|slanting|clockwise|counterclockwise|anticlockwise|rotat)|"
    r"\bo['’ ]?clock|\b(?:nw|ne|sw|se)\b",
    re.IGNORECASE,
)
_BOX = re.compile(r"\{<(\d{1,3})><(\d{1,3})><(\d{1,3})><(\d{1,3})>\}")


def turn_image(image: Image, view: int) -> Image:
    """(H, W, 3) in a view; odd quarters swap height and width."""
    return _turn(image, view)


def turn_entry(entry: Entry, view: int) -> Entry:
    """All that is annotated of an image, of its view.

    Args:
        entry: Of the image as it is.
        view: 0 to `VIEWS` - 1.

    Raises:
        ValueError: If a mask is not of the image's size.
    """
    if view == 0:
        return entry
    height, width = entry.size_hw
    names = frozenset(name for one in entry.objects for name in (one.class_name, one.category) if name)
    size_hw = (width, height) if view // 2 % 2 else (height, width)
    return replace(
        entry,
        key=f"{entry.key}@{view}",
        size_hw=size_hw,
        objects=tuple(_object(one, entry.size_hw, view, names) for one in entry.objects),
        captions=tuple(_free(entry.captions)),
        turns=tuple(_turns(entry.turns, view)),
    )


def turn_box(box_xyxy_px: Box, size_hw: tuple[float, float], view: int) -> Box:
    """A box of an image of this height and width, in the view's pixels."""
    (x1, y1, x2, y2), (height, width) = box_xyxy_px, size_hw
    for _ in range(view // 2):
        x1, y1, x2, y2 = y1, width - x2, y2, width - x1
        height, width = width, height
    return (width - x2, y1, width - x1, y2) if view % 2 else (x1, y1, x2, y2)


def turn_description(text: str, view: int, names: frozenset[str]) -> str | None:
    """A description of the same object in a view, or None where nobody can be sure of its words.

    Args:
        text: As it is said of the image.
        view: 0 to `VIEWS` - 1.
        names: Class names and categories of the image, which the grammar has to know.
    """
    if view == 0:
        return text
    if _BEYOND_GRAMMAR.search(text):
        return None
    try:
        read(text, names)
    except UnreadableError:
        return None if _SIDES.search(text) or re.search(r"\brows?\b", text, re.IGNORECASE) else text
    return turned(text, view // 2, view % 2 == 1)


def _object(one: Annotated, size_hw: tuple[int, int], view: int, names: frozenset[str]) -> Annotated:
    counts = one.counts
    if counts is not None:
        counts = str(encode_mask(_turn(decode_mask({"size": size_hw, "counts": counts}), view))["counts"])
    said = (turn_description(text, view, names) for text in one.descriptions)
    return replace(
        one,
        box_xyxy_px=turn_box(one.box_xyxy_px, size_hw, view),
        counts=counts,
        descriptions=tuple(text for text in said if text is not None),
    )


def _free(texts: Iterable[str]) -> Iterable[str]:
    return (text for text in texts if not _SIDES.search(text) and not _BEYOND_GRAMMAR.search(text))


def _turns(turns: Iterable[Turn], view: int) -> Iterable[Turn]:
    def boxes(text: str) -> str:
        return _BOX.sub(lambda found: _shares([int(value) for value in found.groups()], view), text)

    for turn in turns:
        if len(list(_free((turn.question, turn.answer)))) == 2:
            yield replace(turn, question=boxes(turn.question), answer=boxes(turn.answer))


def _shares(box: list[int], view: int) -> str:
    x1, y1, x2, y2 = (min(value, 100) for value in box)
    moved = turn_box((x1, y1, x2, y2), (100, 100), view)
    return "{" + "".join(f"<{round(value)}>" for value in moved) + "}"


def _turn(array: np.ndarray, view: int) -> np.ndarray:
    moved = np.rot90(array, view // 2)
    return np.ascontiguousarray(moved[:, ::-1] if view % 2 else moved)
