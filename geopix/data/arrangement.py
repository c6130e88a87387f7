"""How the objects of an image are arranged: alone, in a line or in a cluster, from geometry alone (§IV-C).

The paper leaves this to a language model's eye; here it is code, so that it can be tested and counted. Objects of one
class that lie closer together than `REACH` times their size are neighbours; neighbours of neighbours make a group. A
group of three or more whose centres follow a straight axis is a line, any other group of two or more a cluster.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np

from geopix.records import Box

REACH = 1.0
"""Widest gap between the boxes of two neighbours, in mean sides of the two (side: root of the box's area)."""
BEND = 0.3
"""How far a centre may lie off a line's axis, in mean extents of the objects across the axis."""
SLENDER = 0.2
"""The same as a share of the line's length."""
STEP = 0.3
"""Least distance along the axis between neighbours in a line, as a share of the mean distance."""

Kind: TypeAlias = Literal["isolated", "line", "cluster"]
Direction: TypeAlias = Literal["", "across", "down", "falling", "rising"]


@dataclass(frozen=True, slots=True)
class Group:
    """Objects of one class that stand together, or one that stands alone.

    Args:
        kind: What they form.
        members: Indices of the objects: along the line from its left end (its upper end where ``direction`` is
            "down"), and as one reads in a cluster.
        direction: Of a line: "across" (left to right), "down" (top to bottom), "falling" (from the upper left to the
            lower right) or "rising" (from the lower left to the upper right); "" of anything else.
        places: For every member, where it lies in the group: shares of the width and height that the centres span
            from the upper left, 0.5 where they span nothing.
    """

    kind: Kind
    members: tuple[int, ...]
    direction: Direction
    places: tuple[tuple[float, float], ...]


def arrange(boxes_xyxy_px: Sequence[Box], classes: Sequence[str], reach: float = REACH) -> list[Group]:
    """Every object's group, in the order of the groups' first objects.

    Args:
        boxes_xyxy_px: In pixels of the image.
        classes: The class of every box; objects of different classes are never grouped.
        reach: How far neighbours may be apart, see `REACH`.
    """
    by_class: dict[str, list[int]] = defaultdict(list)
    for index, name in enumerate(classes):
        by_class[name].append(index)
    found = [part for members in by_class.values() for part in _components(members, boxes_xyxy_px, reach)]
    return [_group(part, boxes_xyxy_px) for part in sorted(found)]


def gap_px(one: Box, other: Box) -> float:
    """Pixels between two boxes; 0 where they touch or overlap."""
    across = max(one[0], other[0]) - min(one[2], other[2])
    down = max(one[1], other[1]) - min(one[3], other[3])
    return math.hypot(max(across, 0.0), max(down, 0.0))


def side_px(box: Box) -> float:
    """The side of a square as large as the box."""
    return math.sqrt((box[2] - box[0]) * (box[3] - box[1]))


def _components(members: list[int], boxes: Sequence[Box], reach: float) -> list[list[int]]:
    parts, left = [], list(members)
    while left:
        part = [left.pop(0)]
        for one in part:  # grows while it is walked
            near = [other for other in left if _neighbours(boxes[one], boxes[other], reach)]
            part += near
            left = [other for other in left if other not in near]
        parts.append(sorted(part))
    return parts


def _neighbours(one: Box, other: Box, reach: float) -> bool:
    return gap_px(one, other) <= reach * (side_px(one) + side_px(other)) / 2


def _group(part: list[int], boxes: Sequence[Box]) -> Group:
    centres = np.array([[(boxes[i][0] + boxes[i][2]) / 2, (boxes[i][1] + boxes[i][3]) / 2] for i in part])
    extents = np.array([[boxes[i][2] - boxes[i][0], boxes[i][3] - boxes[i][1]] for i in part])
    kind: Kind = "isolated" if len(part) == 1 else "cluster"
    direction: Direction = ""
    order = sorted(range(len(part)), key=lambda k: (centres[k][1], centres[k][0]))  # as one reads
    axis = _axis(centres, extents) if len(part) > 2 else None
    if axis is not None:
        kind, direction = "line", _direction(axis)
        order = sorted(range(len(part)), key=lambda k: float(centres[k] @ axis))
    low, span = centres.min(axis=0), np.ptp(centres, axis=0)
    places = np.where(span > 0, (centres - low) / np.where(span > 0, span, 1.0), 0.5)
    return Group(
        kind,
        tuple(part[k] for k in order),
        direction,
        tuple((float(places[k][0]), float(places[k][1])) for k in order),
    )


def _axis(centres: np.ndarray, extents: np.ndarray) -> np.ndarray | None:
    """The unit vector (x, y) of the line that the centres follow, pointing right or down; None if they follow none."""
    middle = centres - centres.mean(axis=0)
    axis = np.linalg.svd(middle, full_matrices=False)[2][0]
    across = np.array([-axis[1], axis[0]])
    along = np.sort(middle @ axis)
    length = along[-1] - along[0]
    off = np.abs(middle @ across).max()
    width = float((extents @ np.abs(across)).mean())
    if length <= 0 or off > min(BEND * width, SLENDER * length):
        return None
    if np.diff(along).min() < STEP * length / (len(along) - 1):
        return None
    flip = axis[0] < 0 if abs(axis[0]) > _STEEP * abs(axis[1]) else axis[1] < 0
    return np.asarray(-axis if flip else axis)


_STEEP = math.tan(math.pi / 8)
"""Axes within 22.5 degrees of the vertical or the horizontal are "down" or "across"."""


def _direction(axis: np.ndarray) -> Direction:
    x, y = axis
    if abs(y) <= _STEEP * abs(x):
        return "across"
    if abs(x) <= _STEEP * abs(y):
        return "down"
    return "falling" if y > 0 else "rising"
