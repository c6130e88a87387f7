"""Parts of an image in words (§IV-C): said of what lies well inside, where all others lie well outside."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from geopix.records import Box


@dataclass(frozen=True, slots=True)
class Place:
    """A box in shares of its frame: its centre, its width and its height."""

    x: float
    y: float
    width: float
    height: float


def place(boxes_xyxy_px: Sequence[Box], size_hw: tuple[int, int]) -> Place:
    """Where one box, or several together, lie in an image."""
    height, width = size_hw
    x1, y1 = min(box[0] for box in boxes_xyxy_px) / width, min(box[1] for box in boxes_xyxy_px) / height
    x2, y2 = max(box[2] for box in boxes_xyxy_px) / width, max(box[3] for box in boxes_xyxy_px) / height
    return Place((x1 + x2) / 2, (y1 + y2) / 2, x2 - x1, y2 - y1)


def told(mine: Place, others: Sequence[Place]) -> list[str]:
    """Words for where a thing lies in the image and the others do not, the closest first; empty where none are sure."""
    corners = [f"{words} of the image" for words in corner(mine, others)]
    found = [words for words, well, near in _PARTS if well(mine) and not any(map(near, others))]
    return (corners or found)[:1]


def corner(mine: Place, others: Sequence[Place]) -> Iterator[str]:
    """ "in the upper left corner", where that is so."""
    for row, top in (("upper", True), ("lower", False)):
        for column, left in (("left", True), ("right", False)):

            def within(one: Place, limit: float, left: bool = left, top: bool = top) -> bool:
                x, y = one.x if left else 1 - one.x, one.y if top else 1 - one.y
                return x < limit and y < limit

            if within(mine, 0.29) and not any(within(other, 0.42) for other in others):
                yield f"in the {row} {column} corner"


def clearly_beside(side: str, mine: Place, mark: Place, size_hw: tuple[int, int]) -> bool:
    """Whether a thing lies beyond one side of another, and rather there than above or below."""
    ahead, off, extent = _beside(side, mine, mark)
    height, width = size_hw
    scale = width / height if side in ("left", "right") else height / width
    return ahead > max(0.05, 0.4 * extent, 0.1 * off) and ahead * scale > 1.2 * off


def maybe_beside(side: str, other: Place, mark: Place) -> bool:
    """Whether somebody might say so."""
    ahead, off, _ = _beside(side, other, mark)
    return ahead > -max(0.05, 0.09 * off)


def _beside(side: str, mine: Place, mark: Place) -> tuple[float, float, float]:
    dx, dy = mark.x - mine.x, mark.y - mine.y
    if side in ("left", "right"):
        return (dx if side == "left" else -dx), abs(dy), mark.width
    return (dy if side == "top" else -dy), abs(dx), mark.height


def _edge(row: bool, end: bool) -> tuple[Callable[[Place], bool], Callable[[Place], bool]]:
    def away(one: Place) -> tuple[float, float]:
        centre, half = (one.y, one.height / 2) if row else (one.x, one.width / 2)
        return (1 - centre, 1 - centre - half) if end else (centre, centre - half)

    return (lambda one: away(one)[0] < 0.21), (lambda one: away(one)[0] < 0.44 or away(one)[1] < 0.1)


def _half(row: bool, end: bool) -> tuple[Callable[[Place], bool], Callable[[Place], bool]]:
    def away(one: Place) -> float:
        centre = one.y if row else one.x
        return 1 - centre if end else centre

    return (lambda one: away(one) < 0.32), (lambda one: away(one) < 0.54)


_PARTS: tuple[tuple[str, Callable[[Place], bool], Callable[[Place], bool]], ...] = (
    ("near the upper edge of the image", *_edge(row=True, end=False)),
    ("near the lower edge of the image", *_edge(row=True, end=True)),
    ("near the left edge of the image", *_edge(row=False, end=False)),
    ("near the right edge of the image", *_edge(row=False, end=True)),
    (
        "in the center of the image",
        lambda one: max(abs(one.x - 0.5), abs(one.y - 0.5)) < 0.12,
        lambda one: max(abs(one.x - 0.5), abs(one.y - 0.5)) < 0.25,
    ),
    ("on the left of the image", *_half(row=False, end=False)),
    ("on the right of the image", *_half(row=False, end=True)),
    ("at the top of the image", *_half(row=True, end=False)),
    ("at the bottom of the image", *_half(row=True, end=True)),
)
"""Words, who lies well inside, and who can't be said to lie outside."""
