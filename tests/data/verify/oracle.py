"""A second reader of descriptions, written apart from the first: it knows only our own describer's language, sees every
border as sharp, and shares no code with `geopix.data.verify`. Tests ask it what is true."""

from __future__ import annotations

import math
import re
from collections.abc import Callable

from geopix.records import Box

Objects = list[tuple[str, Box]]

_PLACES = "first second third fourth fifth sixth seventh eighth ninth tenth eleventh".split()
_COUNTS = {word: n for n, word in enumerate("two three four five six seven eight nine ten eleven".split(), start=2)}
_NAMED = {"upper": "top", "lower": "bottom"}
_SIDE = "(left|right|top|bottom|upper|lower)"


def meant(text: str, objects: Objects, size_hw: tuple[int, int]) -> set[int] | None:
    """The objects that a description fits; None where this reader can't read it."""
    words = " ".join(word for word in text.lower().split() if word != "the")
    words = re.sub(r"(?<!storage )\btank", "storage tank", words)
    nouns = sorted({name for name, _ in objects}, key=len, reverse=True)
    noun = "|".join(map(re.escape, nouns))
    image = _Image(objects, size_hw)
    counted = rf"(?: of(?: (?P<count>{'|'.join(_COUNTS)}))?(?: (?:{noun})e?s)?)?"
    for pattern, how in (
        (
            rf"(?P<pick>.*?)\b(?P<noun>{noun}) (?P<rest>.*?)(?:in|of) (?P<group>cluster|row|column|line|pair)"
            rf"{counted}(?P<where> (?:in|near|on|at) .*)?",
            image.grouped,
        ),
        (
            r"(?P<pick>left|right|upper|lower)(?P<noun>)(?P<rest>) of (?P<group>pair)(?P<count>)(?P<where>.*)",
            image.grouped,
        ),
        (rf"(?P<pick>.*?)\b(?P<noun>{noun})\b ?(?P<rest>.*)", image.single),
    ):
        found = re.fullmatch(pattern, words)
        if found:
            result = how(found)
            if result is not None:
                return result
    return None


_FROM: dict[str, Callable[[float, float], float]] = {
    "left": lambda u, v: u,
    "right": lambda u, v: 1 - u,
    "top": lambda u, v: v,
    "bottom": lambda u, v: 1 - v,
}
"""How far a point is from a side of its frame."""


class _Image:
    def __init__(self, objects: Objects, size_hw: tuple[int, int]) -> None:
        self.objects, (self.height, self.width) = objects, size_hw

    def x(self, index: int) -> float:
        return (self.objects[index][1][0] + self.objects[index][1][2]) / 2

    def y(self, index: int) -> float:
        return (self.objects[index][1][1] + self.objects[index][1][3]) / 2

    def area(self, index: int) -> float:
        x1, y1, x2, y2 = self.objects[index][1]
        return (x2 - x1) * (y2 - y1)

    def of(self, noun: str) -> list[int]:
        return [index for index, (name, _) in enumerate(self.objects) if name == noun]

    def single(self, found: re.Match[str]) -> set[int] | None:
        rest = re.sub(r"^in image$", "", found["rest"])
        pool = self.of(found["noun"])
        pick = found["pick"].strip()
        counted = re.fullmatch(rf"from {_SIDE} ?(.*)", rest)
        if counted and pick in _PLACES:
            there = self.where(counted[2], pool)
            return None if there is None else self.ranked(_PLACES.index(pick), counted[1], there)
        most = re.fullmatch(rf"farthest to {_SIDE} ?(.*)", rest)
        if most and not pick:
            there = self.where(most[2], pool)
            return None if there is None else self.ranked(0, most[1], there)
        landmark = re.fullmatch(r"(nearest to|farthest from|left of|right of|above|below) (.+)", rest)
        if landmark and not pick:
            return self.beside(landmark[1], landmark[2], pool)
        chosen = self.picked(pick, pool)
        if chosen is None:
            return None
        here = self.where(rest, pool)
        return None if here is None else chosen & set(here)

    def picked(self, pick: str, pool: list[int]) -> set[int] | None:
        if not pick:
            return set(pool)
        if pick == "only":
            return set(pool) if len(pool) == 1 else set()
        if pick == "isolated":
            groups = self.components(pool)
            return {group[0] for group in groups if len(group) == 1}
        if pick in ("largest", "biggest", "smallest"):
            best = (min if pick == "smallest" else max)(map(self.area, pool))
            return {index for index in pool if self.area(index) == best}
        if pick in ("larger", "smaller"):
            return self.picked({"larger": "largest", "smaller": "smallest"}[pick], pool) if len(pool) == 2 else set()
        most = re.fullmatch("(left|right|top|bottom)most", pick)
        if most:
            return self.ranked(0, most[1], pool)
        if re.fullmatch(_SIDE, pick):
            return self.ranked(0, pick, pool) if len(pool) == 2 else self.part(pick, pool)
        return None

    def part(self, side: str, pool: list[int], limit: float = 0.43) -> set[int]:
        away = _FROM[_NAMED.get(side, side)]
        return {index for index in pool if away(self.x(index) / self.width, self.y(index) / self.height) < limit}

    def where(self, words: str, pool: list[int]) -> list[int] | None:
        """Those of a pool that lie where the words say."""
        inside = self.inside(words)
        if inside is None:
            return None
        return [index for index in pool if inside(self.x(index) / self.width, self.y(index) / self.height)]

    def inside(self, words: str) -> Callable[[float, float], bool] | None:
        """A place of the image as a test of a point in shares; None for words that say something else."""
        words = re.sub(r" (of|in) image$", "", words.strip())
        if not words:
            return lambda u, v: True
        corner = re.fullmatch(r"(?:in|at) (upper|lower|top|bottom) (left|right)(?: corner)?", words)
        if corner:
            one, two = _FROM[_NAMED.get(corner[1], corner[1])], _FROM[corner[2]]
            limit = 0.36 if "corner" in words else 0.43
            return lambda u, v: one(u, v) < limit and two(u, v) < limit
        if re.fullmatch(r"(in|at) (center|middle)", words):
            return lambda u, v: max(abs(u - 0.5), abs(v - 0.5)) < 0.2
        for pattern, limit in (
            (rf"near {_SIDE} edge", 0.32), (rf"(?:on|at|in|near|to) {_SIDE}", 0.43), (rf"in {_SIDE} half", 0.5),
        ):  # fmt: skip
            found = re.fullmatch(pattern, words)
            if found:
                away = _FROM[_NAMED.get(found[1], found[1])]
                return lambda u, v: away(u, v) < limit
        return None

    def ranked(self, place: int, side: str, pool: list[int]) -> set[int]:
        side = _NAMED.get(side, side)
        value = self.x if side in ("left", "right") else self.y
        way = 1 if side in ("left", "top") else -1
        in_order = sorted(way * value(index) for index in pool)
        return {index for index in pool if place < len(pool) and way * value(index) == in_order[place]}

    def beside(self, relation: str, noun: str, pool: list[int]) -> set[int] | None:
        marks = self.of(noun)
        if len(marks) != 1:
            return set(pool) if marks else None
        (mark,) = marks
        pool = [index for index in pool if index != mark]
        away = {index: math.hypot(self.x(index) - self.x(mark), self.y(index) - self.y(mark)) for index in pool}
        if relation in ("nearest to", "farthest from"):
            best = (min if relation == "nearest to" else max)(away.values(), default=0.0)
            return {index for index in pool if away[index] == best}
        value, way = {
            "left of": (self.x, 1), "right of": (self.x, -1), "above": (self.y, 1), "below": (self.y, -1),
        }[relation]  # fmt: skip
        across = self.y if value == self.x else self.x
        ahead = {index: way * (value(mark) - value(index)) for index in pool}
        return {index for index in pool if ahead[index] > 0.4 * abs(across(index) - across(mark))}

    def components(self, pool: list[int]) -> list[list[int]]:
        """Groups of neighbours, by colouring: every pair close enough takes the smaller colour."""
        colour = {index: index for index in pool}
        for _ in pool:
            for one in pool:
                for other in pool:
                    if self.neighbours(one, other):
                        colour[one] = colour[other] = min(colour[one], colour[other])
        return [[index for index in pool if colour[index] == shade] for shade in sorted(set(colour.values()))]

    def neighbours(self, one: int, other: int) -> bool:
        (a, b, c, d), (e, f, g, h) = self.objects[one][1], self.objects[other][1]
        gap = math.hypot(max(0, e - c, a - g), max(0, f - d, b - h))
        return gap <= (math.sqrt((c - a) * (d - b)) + math.sqrt((g - e) * (h - f))) / 2

    def grouped(self, found: re.Match[str]) -> set[int] | None:
        """Number so-and-so in a group: of the right number of members, lying as its name and place say."""
        count = found["count"] and _COUNTS.get(found["count"])
        inside = self.inside(found["where"] or "")
        if inside is None or (found["count"] and not count):
            return None
        chosen: set[int] = set()
        read = False
        nouns = [found["noun"]] if found["noun"] else sorted({name for name, _ in self.objects})
        for group in [part for noun in nouns for part in self.components(self.of(noun))]:
            boxes = [self.objects[index][1] for index in group]
            u = (min(box[0] for box in boxes) + max(box[2] for box in boxes)) / 2 / self.width
            v = (min(box[1] for box in boxes) + max(box[3] for box in boxes)) / 2 / self.height
            across = max(map(self.x, group)) - min(map(self.x, group))
            down = max(map(self.y, group)) - min(map(self.y, group))
            fits = {
                "cluster": len(group) > 1, "pair": len(group) == 2, "line": len(group) > 2,
                "row": len(group) > 2 and across > down, "column": len(group) > 2 and down > across,
            }[found["group"]]  # fmt: skip
            picked = self.position(found["pick"].strip(), found["rest"].strip(), group)
            if picked is None:
                return None
            read = True
            if fits and (not count or count == len(group)) and inside(u, v):
                chosen |= picked
        return chosen if read else None

    def position(self, pick: str, rest: str, group: list[int]) -> set[int] | None:
        if not pick and not rest:
            return set(group)
        counted = re.fullmatch(rf"from {_SIDE}", rest)
        if counted and pick in _PLACES:
            return self.ranked(_PLACES.index(pick), counted[1], group)
        part = re.fullmatch(rf"(?:on|at|in|to) {_SIDE}", rest)
        if part and not pick:
            side, value = _NAMED.get(part[1], part[1]), self.x if part[1] in ("left", "right") else self.y
            shares = {index: self.share(value, index, group) for index in group}
            return {i for i in group if (shares[i] if side in ("left", "top") else 1 - shares[i]) < 0.43}
        most = re.fullmatch(rf"(?:farthest to {_SIDE}|at {_SIDE} end)", rest)
        if most and not pick:
            return self.ranked(0, most[1] or most[2], group)
        if not rest and re.fullmatch(_SIDE, pick):
            return self.ranked(0, pick, group) if len(group) == 2 else set()
        corner = re.fullmatch(r"in (upper|lower) (left|right)(?: corner)?", rest)
        if corner and not pick:
            low, left = corner[1] == "lower", corner[2] == "left"
            us = {index: self.share(self.x, index, group) for index in group}
            vs = {index: self.share(self.y, index, group) for index in group}
            return {i for i in group if (us[i] if left else 1 - us[i]) < 0.36 and (1 - vs[i] if low else vs[i]) < 0.36}
        return None

    @staticmethod
    def share(value: Callable[[int], float], index: int, group: list[int]) -> float:
        values = [value(one) for one in group]
        return (value(index) - min(values)) / max(max(values) - min(values), 1e-9)
