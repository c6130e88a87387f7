"""Phrases that mean exactly one object, from geometry alone (§IV-C): the describer that needs no network."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from geopix.records import Instance

ORDINALS = ("first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth", "tenth", "eleventh")

_CELLS = {
    (0, 0): ("in the upper left corner", "in the top left corner", "at the top left"),
    (0, 1): ("at the top center", "near the upper edge"),
    (0, 2): ("in the upper right corner", "in the top right corner", "at the top right"),
    (1, 0): ("at the left center", "near the left edge"),
    (1, 1): ("in the center of the image", "in the middle of the image", "at the center"),
    (1, 2): ("at the right center", "near the right edge"),
    (2, 0): ("in the lower left corner", "in the bottom left corner", "at the bottom left"),
    (2, 1): ("at the bottom center", "near the lower edge"),
    (2, 2): ("in the lower right corner", "in the bottom right corner", "at the bottom right"),
}
_BEFORE_AFTER = {
    0: (("left", "leftmost", "on the left"), ("right", "rightmost", "on the right")),
    1: (("top", "topmost", "at the top"), ("bottom", "bottommost", "at the bottom")),
}
_GAP = 0.05
"""Least distance between two centres, as a share of the image's side, for "left of" to be beyond dispute."""


def describe(instances: Sequence[Instance], size_hw: tuple[int, int]) -> list[list[str]]:
    """Every phrase of our grammar that is true of one instance and of no other of its class.

    Args:
        instances: The objects of one image.
        size_hw: The image's height and width in pixels.

    Returns:
        For every instance its phrases, with "{}" where the noun goes ("the second {} from the left");
        an empty list where geometry can't tell it apart.
    """
    groups: dict[str, list[int]] = defaultdict(list)
    for index, instance in enumerate(instances):
        groups[instance.class_name].append(index)
    phrases: list[list[str]] = [[] for _ in instances]
    for members in groups.values():
        centres = [_centre(instances[index], size_hw) for index in members]
        areas = [_area(instances[index]) for index in members]
        for position, index in enumerate(members):
            phrases[index] += _phrases(position, centres, areas)
    return phrases


def of_an_only_one(instance: Instance, size_hw: tuple[int, int]) -> list[str]:
    """What people also say of an object that is the only one of its class: its side of the image, a rank of one.

    `describe` leaves these out, since "the leftmost ship" suggests more ships. Who asks about an image can't know.
    """
    found = ["the largest {}"]
    for axis, value in enumerate(_centre(instance, size_hw)):
        if abs(value - 0.5) > _GAP:
            _, most, where = _BEFORE_AFTER[axis][int(value > 0.5)]
            found += [f"the {most} {{}}", f"the {{}} {where}"]
    return found


def reading_order(instances: Sequence[Instance], size_hw: tuple[int, int]) -> tuple[list[int], list[str]]:
    """An order for objects of one class, and a phrase for each: along the axis on which they are spread wider.

    Args:
        instances: At most eleven, as the paper's filter leaves them.
        size_hw: The image's height and width in pixels.

    Returns:
        Indices into ``instances`` in that order, and "{}" phrases ("the second {} from the left").
    """
    centres = [_centre(instance, size_hw) for instance in instances]
    spread = [max(centre[axis] for centre in centres) - min(centre[axis] for centre in centres) for axis in (0, 1)]
    axis = 0 if spread[0] >= spread[1] else 1
    order = sorted(range(len(instances)), key=lambda index: centres[index][axis])
    side = _BEFORE_AFTER[axis][0][0]
    if len(order) == 1:
        return order, ["the {}"]
    return order, [f"the {ORDINALS[rank]} {{}} from the {side}" for rank in range(len(order))]


def _phrases(position: int, centres: list[tuple[float, float]], areas: list[float]) -> list[str]:
    count = len(centres)
    found = []
    if count == 1:
        found.append("the {}")
    for axis in (0, 1):
        found += _along(axis, position, [centre[axis] for centre in centres])
    if count > 1:
        others = [area for index, area in enumerate(areas) if index != position]
        if areas[position] > 1.4 * max(others):
            found += ["the largest {}", "the biggest {}"] + (["the larger {}"] if count == 2 else [])
        if 1.4 * areas[position] < min(others):
            found += ["the smallest {}"] + (["the smaller {}"] if count == 2 else [])
    cell = _cell(centres[position])
    others_at = [centre for index, centre in enumerate(centres) if index != position]
    if cell is not None and not any(_near_cell(centre, cell) for centre in others_at):
        edge = _edge(cell)
        beside = edge is not None and any(_near_third(centre[edge[0]], edge[1]) for centre in others_at)
        found += [f"the {{}} {words}" for words in _CELLS[cell] if not (beside and words.endswith("edge"))]
    return found


def _along(axis: int, position: int, values: list[float]) -> list[str]:
    """Phrases about one axis: leftmost, second from the right, on the left."""
    count = len(values)
    if count == 1:
        return []
    order = sorted(range(count), key=values.__getitem__)
    rank = order.index(position)
    before_is_clear = rank == 0 or values[position] - values[order[rank - 1]] > _GAP
    after_is_clear = rank == count - 1 or values[order[rank + 1]] - values[position] > _GAP
    if not (before_is_clear and after_is_clear):
        return []
    found = []
    for end, place in ((0, rank), (1, count - 1 - rank)):
        side, most, where = _BEFORE_AFTER[axis][end]
        if place == 0:
            found += [f"the {most} {{}}", f"the {{}} farthest to the {side}", f"the first {{}} from the {side}"]
            if _alone_on_its_half(values, position, end):
                found += [f"the {{}} {where}", f"the {{}} {where} of the image"]
            if count == 2:
                found.append(f"the {'upper' if side == 'top' else 'lower' if side == 'bottom' else side} {{}}")
        elif count > 2 and place < len(ORDINALS):
            found.append(f"the {ORDINALS[place]} {{}} from the {side}")
    if count == 3 and rank == 1:
        found.append("the middle {}" if axis == 0 else "the second {} from the top")
    return found


def _alone_on_its_half(values: list[float], position: int, end: int) -> bool:
    """Whether "on the left" (``end`` 0) means this one: it is there, and the others are not, or there is only one."""
    there = [value < 0.5 if end == 0 else value > 0.5 for value in values]
    return there[position] and (len(values) == 2 or sum(there) == 1)


def _cell(centre: tuple[float, float]) -> tuple[int, int] | None:
    """Row and column of the three-by-three grid, or None close to a border between cells."""
    cells = []
    for value in (centre[1], centre[0]):
        if min(abs(value - 1 / 3), abs(value - 2 / 3)) < 0.03:
            return None
        cells.append(min(int(value * 3), 2))
    return cells[0], cells[1]


def _edge(cell: tuple[int, int]) -> tuple[int, int] | None:
    """The axis and the third along it of the one edge that a cell touches, or None for a corner and the middle."""
    row, column = cell
    if (row == 1) == (column == 1):
        return None
    return (0, column) if row == 1 else (1, row)


def _near_cell(centre: tuple[float, float], cell: tuple[int, int]) -> bool:
    return all(_near_third(value, place) for value, place in zip((centre[1], centre[0]), cell, strict=True))


def _near_third(value: float, third: int) -> bool:
    return third / 3 - 0.06 < value < (third + 1) / 3 + 0.06


def _centre(instance: Instance, size_hw: tuple[int, int]) -> tuple[float, float]:
    """The box's centre as shares of width and height."""
    x1, y1, x2, y2 = instance.box_xyxy_px
    return (x1 + x2) / 2 / size_hw[1], (y1 + y2) / 2 / size_hw[0]


def _area(instance: Instance) -> float:
    x1, y1, x2, y2 = instance.box_xyxy_px
    return float(instance.mask.sum()) if instance.mask is not None else (x2 - x1) * (y2 - y1)
