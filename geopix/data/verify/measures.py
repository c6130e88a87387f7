"""Where the borders of vague words lie: every threshold of the readers, strict and mild (§IV-C).

Positions are shares of the image (or of a group or a box), distances pixels. A strict "yes" implies a mild one.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from geopix.data.arrangement import gap_px, side_px
from geopix.data.verify.claims import Spot
from geopix.data.verify.scene import Thing

THIRD = (1 / 3, 0.385)
"""Corners and the outer rows of a three-by-three grid reach this far, for a strict and a mild reader."""
PART = (0.36, 0.5)
EDGE = (0.25, 0.4)
HALF = (0.45, 0.55)
INNER = (1 / 3, 0.28)
"""The centre begins there."""
TOUCHING = 0.06
"""An object is at an edge for a mild reader when its box comes so near."""


def in_image(spot: Spot, thing: Thing, size_hw: tuple[int, int], strict: bool) -> bool:
    """Whether a thing lies in a part of the image."""
    height, width = size_hw
    if spot.form == "edge" and not strict and not ({spot.column, spot.row} <= {"", "center"}):
        x1, y1, x2, y2 = thing.box_xyxy_px
        room = {"left": x1 / width, "right": 1 - x2 / width, "top": y1 / height, "bottom": 1 - y2 / height}
        near = [room[side] < TOUCHING for side in (spot.column, spot.row) if side in room]
        if all(near):
            return True
    return in_spot(spot, thing.x, thing.y, strict)


def in_spot(spot: Spot, u: float, v: float, strict: bool) -> bool:
    """Whether a point of a frame, as shares of its width and height, lies in a part of it."""
    both = bool(spot.column) and bool(spot.row)
    if spot.form == "edge":
        reach = EDGE
    elif spot.form in ("half", "quarter"):
        reach = HALF
    elif spot.form in ("corner", "third") or (both and "center" in (spot.column, spot.row)):
        reach = THIRD
    else:
        reach = PART
    limit, inner = (reach[0], INNER[0]) if strict else (reach[1], INNER[1])
    return _on_axis(spot.column, u, limit, inner) and _on_axis(spot.row, v, limit, inner)


def _on_axis(word: str, value: float, limit: float, inner: float) -> bool:
    if word in ("left", "top"):
        return value < limit
    if word in ("right", "bottom"):
        return value > 1 - limit
    return not word or inner <= value <= 1 - inner


def place_in_group(thing: Thing, members: Sequence[Thing], strict: bool) -> tuple[float, float]:
    """Where a member lies between the outermost centres; 0.5 on an axis on which a strict reader sees them level."""
    place = []
    for mine, values, sizes in (
        (thing.x, [one.x for one in members], [one.width for one in members]),
        (thing.y, [one.y for one in members], [one.height for one in members]),
    ):
        low, span = min(values), max(values) - min(values)
        level = span <= (0.5 * sum(sizes) / len(sizes) if strict else 0.0)
        place.append(0.5 if level else (mine - low) / span)
    return place[0], place[1]


def place_in_box(thing: Thing, frame: Thing) -> tuple[float, float] | None:
    """Where a thing's centre lies in another's box, as shares of the box; None outside of it."""
    x1, y1, x2, y2 = frame.box_xyxy_px
    left, top, right, bottom = thing.box_xyxy_px
    x, y = (left + right) / 2, (top + bottom) / 2
    if x2 <= x1 or y2 <= y1 or not (x1 <= x <= x2 and y1 <= y <= y2):
        return None
    return (x - x1) / (x2 - x1), (y - y1) / (y2 - y1)


def lead(side: str, one: Thing, other: Thing) -> float:
    """How far one thing lies before another, counted from a side, in the least distance that anybody can see.

    Above 1 it is clearly before, below -1 clearly after. What can be seen grows with the things' size, and with their
    distance on the other axis.
    """
    dx, dy = other.x - one.x, other.y - one.y
    along, off, size = (
        (dx, dy, one.width + other.width) if side in ("left", "right") else (dy, dx, one.height + other.height)
    )
    visible = max(0.05 * abs(off), min(0.03, 0.125 * size), 1e-9)
    return (along if side in ("left", "top") else -along) / visible


def lead_in_size(one: float, other: float) -> float:
    """The same for areas: above 1 the first is clearly larger."""
    return math.log(max(one, 1e-9) / max(other, 1e-9)) / math.log(1.15)


def larger(one: float, other: float, strict: bool) -> bool:
    """Whether an area is larger than another."""
    return lead_in_size(one, other) > (1.0 if strict else -1.0)


def beside(sides: Sequence[str], thing: Thing, other: Thing, size_hw: tuple[int, int], strict: bool) -> bool:
    """Whether a thing lies left of, above, to the upper left of ... another."""
    height, width = size_hw
    dx, dy = abs(thing.x - other.x) * width, abs(thing.y - other.y) * height
    ahead, off = (dx, dy) if sides[0] in ("left", "right") else (dy, dx)
    if not all(lead(side, thing, other) > (1.0 if strict else -1.0) for side in sides):
        return False
    if len(sides) == 2:
        return not strict or min(dx, dy) > 0.35 * max(dx, dy)
    return _clear_of(sides[0], thing, other) and ahead >= off if strict else ahead >= 0.25 * off


def _clear_of(side: str, thing: Thing, other: Thing) -> bool:
    """Whether the thing's centre lies beyond the other's box but for a fifth of it."""
    x1, y1, x2, y2 = other.box_xyxy_px
    left, top, right, bottom = thing.box_xyxy_px
    x, y = (left + right) / 2, (top + bottom) / 2
    limits = {
        "left": x1 + 0.2 * (x2 - x1) - x, "right": x - x2 + 0.2 * (x2 - x1),
        "top": y1 + 0.2 * (y2 - y1) - y, "bottom": y - y2 + 0.2 * (y2 - y1),
    }  # fmt: skip
    return limits[side] >= 0


def close(thing: Thing, other: Thing, strict: bool) -> bool:
    """Whether two things are near each other."""
    size = (side_px(thing.box_xyxy_px) + side_px(other.box_xyxy_px)) / 2
    return gap_px(thing.box_xyxy_px, other.box_xyxy_px) <= (0.5 if strict else 2.0) * size


def inside(thing: Thing, other: Thing, strict: bool) -> bool:
    """Whether a thing lies within another's box."""
    left, top, right, bottom = thing.box_xyxy_px
    x1, y1, x2, y2 = other.box_xyxy_px
    shared = max(min(right, x2) - max(left, x1), 0.0) * max(min(bottom, y2) - max(top, y1), 0.0)
    return shared >= (0.9 if strict else 0.3) * max((right - left) * (bottom - top), 1e-9)


def between(thing: Thing, one: Thing, other: Thing, strict: bool) -> bool:
    """Whether a thing lies on the way from one to another."""
    (ax, ay), (bx, by), (px, py) = (_centre_px(each) for each in (one, other, thing))
    length = math.hypot(bx - ax, by - ay)
    if length <= 0:
        return False
    along = ((px - ax) * (bx - ax) + (py - ay) * (by - ay)) / length**2
    off = abs((px - ax) * (by - ay) - (py - ay) * (bx - ax)) / length**2
    return (0.2 <= along <= 0.8 and off <= 0.3) if strict else (0.1 < along < 0.9 and off <= 0.45)


def distance_px(thing: Thing, other: Thing, by_gap: bool) -> float:
    """Pixels between two things: from edge to edge, or from centre to centre."""
    if by_gap:
        return gap_px(thing.box_xyxy_px, other.box_xyxy_px)
    return math.dist(_centre_px(thing), _centre_px(other))


def to_spot_px(spot: Spot, thing: Thing, size_hw: tuple[int, int], by_gap: bool) -> float:
    """Pixels from a thing to a side, corner or the centre of the image."""
    height, width = size_hw
    left, top, right, bottom = thing.box_xyxy_px
    x, y = _centre_px(thing)
    if by_gap and "center" not in (spot.column, spot.row):
        across = {"left": left, "right": width - right}.get(spot.column, 0.0)
        down = {"top": top, "bottom": height - bottom}.get(spot.row, 0.0)
        return math.hypot(max(across, 0.0), max(down, 0.0))
    across = {"left": x, "right": width - x, "center": x - width / 2}.get(spot.column, 0.0)
    down = {"top": y, "bottom": height - y, "center": y - height / 2}.get(spot.row, 0.0)
    return math.hypot(across, down)


def spread_px(things: Sequence[Thing], size_hw: tuple[int, int]) -> tuple[float, float]:
    """How far the centres spread across and down, in pixels."""
    height, width = size_hw
    xs, ys = [one.x for one in things], [one.y for one in things]
    return (max(xs) - min(xs)) * width, (max(ys) - min(ys)) * height


def nearest_to_mean(thing: Thing, pool: Sequence[Thing], size_hw: tuple[int, int], strict: bool) -> bool:
    """Whether a thing is the nearest of all to their common centre."""
    height, width = size_hw
    x, y = sum(one.x for one in pool) / len(pool), sum(one.y for one in pool) / len(pool)

    def away(one: Thing) -> float:
        return math.hypot((one.x - x) * width, (one.y - y) * height)

    best = min(away(one) for one in pool if one is not thing)
    return away(thing) * (1.2 if strict else 0.8) < best


def _centre_px(thing: Thing) -> tuple[float, float]:
    x1, y1, x2, y2 = thing.box_xyxy_px
    return (x1 + x2) / 2, (y1 + y2) / 2
