"""Descriptions by arrangement, without a language model (§IV-C): place in the line or cluster, then the group's place.

What is written keeps clear of every doubt: an order is told where the centres lie well apart, a corner where the object
lies well inside it and its fellows well outside. Where nothing of that kind is true of an object, it gets no
description.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import replace

from geopix.classes import plural
from geopix.data.arrangement import Group, arrange, gap_px
from geopix.data.describe import spots
from geopix.data.describe.phrases import ORDINALS, describe
from geopix.data.verify.words import KINDS, key
from geopix.records import Box, Instance

REACHES = (0.6, 1.0, 1.6)
"""A group is spoken of where it stays the same however far neighbours may be apart."""

_NUMBERS = ("", "", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven")
_ENDS = (("left", "right"), ("top", "bottom"))
_ADJECTIVES = {"left": "left", "right": "right", "top": "upper", "bottom": "lower"}
_NAMES = {"across": "row", "down": "column", "falling": "line", "rising": "line", "": "cluster"}
_TWOFOLD = ("on the", "at the", "near the", "middle")
"""Marks of those phrases of `describe` that are true by one reading and not by another: "on the left" may mean the
leftmost, or any in the left half."""


def sentences(instances: Sequence[Instance], size_hw: tuple[int, int], seed: str = "") -> list[tuple[str, ...]]:
    """For every object all that can be said of it and of no other, the paper's form first.

    Args:
        instances: All objects of one image.
        size_hw: Its height and width in pixels.
        seed: The image's key; it only decides which of several equally good wordings comes first.
    """
    view = _View(instances, size_hw)
    found = []
    for index, instance in enumerate(instances):
        turn = zlib.crc32(f"{seed}/{index}".encode())
        said: list[str] = []
        for tier in (view.in_group, view.apart, view.phrases, view.by_landmark, view.in_half):
            wordings = list(tier(index))
            start = turn % len(wordings) if wordings else 0
            said += wordings[start:] + wordings[:start]
        found.append(tuple(dict.fromkeys(phrase.format(instance.class_name) for phrase in said)))
    return found


class _View:
    """One image, and what can be said of its objects: phrases with "{}" where the noun goes."""

    def __init__(self, instances: Sequence[Instance], size_hw: tuple[int, int]) -> None:
        self.instances, self.size_hw = instances, size_hw
        self.boxes: list[Box] = [instance.box_xyxy_px for instance in instances]
        self.places = [spots.place([box], size_hw) for box in self.boxes]
        classes = [key(instance.class_name) for instance in instances]
        kinds = [KINDS.get(name, frozenset()) | {name} for name in classes]
        self.fellows = [
            [other for other, name in enumerate(classes) if name in kind] for kind in kinds
        ]  # whoever the same noun may name, oneself included
        self.groups = [arrange(self.boxes, classes, reach) for reach in REACHES]
        self._described: dict[str, dict[int, list[str]]] = {}

    def in_group(self, index: int) -> Iterator[str]:
        """The place in its line or cluster, and where in the image that lies."""
        groups = [group for found in self.groups for group in found if index in group.members]
        group = groups[1]
        if len(group.members) < 2 or len({(frozenset(one.members), one.direction) for one in groups}) > 1:
            return
        rivals = {
            frozenset(one.members)
            for found in self.groups
            for one in found
            if len(one.members) > 1 and one.members[0] in self.fellows[index] and index not in one.members
        }
        for where in self._where(group, rivals):
            for words in self._position(index, group):
                yield words + where

    def _where(self, group: Group, rivals: set[frozenset[int]]) -> list[str]:
        """ " of three ships near the upper edge of the image": what tells this group from others of its class."""
        noun = plural(self.instances[group.members[0]].class_name)
        of = (
            ""
            if len(group.members) == 2 or len(group.members) >= len(_NUMBERS)
            else f" of {_NUMBERS[len(group.members)]} {noun}"
        )
        others = [spots.place([self.boxes[i] for i in sorted(rival)], self.size_hw) for rival in rivals]
        mine = spots.place([self.boxes[i] for i in group.members], self.size_hw)
        found = [f"{of} {words}" for words in spots.told(mine, others)]
        if not found and (not rivals or (of and all(len(rival) != len(group.members) for rival in rivals))):
            found = [of]
        return found

    def _position(self, index: int, group: Group) -> Iterator[str]:
        members = list(group.members)
        name = _NAMES[group.direction]
        axes = {"": (0, 1), "down": (1,)}.get(group.direction, (0,))
        for axis in axes:
            ranked = self._ranked(index, members, axis)
            if ranked is None:
                continue
            for side, place in zip(_ENDS[axis], (ranked, len(members) - 1 - ranked), strict=True):
                if len(members) == 2:
                    if place == 0:
                        yield f"the {_ADJECTIVES[side]} {{}} of the pair"
                elif place == 0:
                    yield f"the {{}} farthest to the {side} in the {name}"
                    if name != "cluster":
                        yield f"the {{}} at the {_ADJECTIVES[side]} end of the {name}"
                elif 2 * place < len(members):
                    yield f"the {ORDINALS[place]} {{}} from the {side} in the {name}"
        if len(members) > 2 and not group.direction:
            yield from self._corner(index, group)

    def _corner(self, index: int, group: Group) -> Iterator[str]:
        places = [self.places[i] for i in group.members]
        for values, extents in (
            ([p.x for p in places], [p.width for p in places]),
            ([p.y for p in places], [p.height for p in places]),
        ):
            if max(values) - min(values) < 0.8 * sum(extents) / len(extents):
                return
        shares = dict(zip(group.members, group.places, strict=True))
        mine = spots.Place(*shares.pop(index), 0.0, 0.0)
        for words in spots.corner(mine, [spots.Place(*other, 0.0, 0.0) for other in shares.values()]):
            yield f"the {{}} {words} of the cluster"

    def _ranked(self, index: int, members: Sequence[int], axis: int) -> int | None:
        """The place among members counted from the left or the top; None where the eye could be in doubt."""
        before = [other for other in members if self._ahead(other, index, axis)]
        after = [other for other in members if self._ahead(index, other, axis)]
        return len(before) if len(before) + len(after) == len(members) - 1 else None

    def _ahead(self, one: int, other: int, axis: int) -> bool:
        first, second = self.places[one], self.places[other]
        along, off = second.x - first.x, abs(second.y - first.y)
        size = first.width + second.width
        if axis == 1:
            along, off, size = second.y - first.y, abs(second.x - first.x), first.height + second.height
        return along > max(0.09 * off, min(0.05, 0.2 * size))

    def apart(self, index: int) -> Iterator[str]:
        """Its own place in the image, where no fellow lies there."""
        others = [self.places[other] for other in self.fellows[index] if other != index]
        alone = [self._alone(other) for other in self.fellows[index]]
        lonely = all(self._alone(index))
        for words in spots.told(self.places[index], others):
            yield f"the {{}} {words}"
            if lonely and others:
                yield f"the isolated {{}} {words}"
        if not others:
            yield "the only {} in the image"
        elif lonely and sum(any(one) for one in alone) == 1:
            yield "the isolated {}"

    def _alone(self, index: int) -> list[bool]:
        return [len(group.members) == 1 for found in self.groups for group in found if index in group.members]

    def phrases(self, index: int) -> Iterator[str]:
        """Those of `describe` that nobody reads in a second way."""
        name = self.instances[index].class_name
        if name not in self._described:
            fellows = self.fellows[index]
            alike = [replace(self.instances[other], class_name=name) for other in fellows]
            self._described[name] = dict(zip(fellows, describe(alike, self.size_hw), strict=True))
        for phrase in self._described[name][index]:
            if not any(mark in phrase for mark in _TWOFOLD):
                yield phrase

    def by_landmark(self, index: int) -> Iterator[str]:
        """Nearest to, or beside, something of which there is only one."""
        rivals = [other for other in self.fellows[index] if other != index]
        for mark, instance in enumerate(self.instances):
            if mark in self.fellows[index] or len(self.fellows[mark]) > 1 or not rivals:
                continue
            noun = instance.class_name
            slack = 0.02 * max(self.size_hw)
            near = [self._distances(one, mark) for one in (index, *rivals)]
            if all(1.25 * mine + slack < other for one in near[1:] for mine, other in zip(near[0], one, strict=True)):
                yield f"the {{}} nearest to the {noun}"
            if all(1.25 * other + slack < mine for one in near[1:] for mine, other in zip(near[0], one, strict=True)):
                yield f"the {{}} farthest from the {noun}"
            for axis, words in ((0, ("left of", "right of")), (1, ("above", "below"))):
                for side, word in zip(_ENDS[axis], words, strict=True):
                    if spots.clearly_beside(side, self.places[index], self.places[mark], self.size_hw) and not any(
                        spots.maybe_beside(side, self.places[other], self.places[mark]) for other in rivals
                    ):
                        yield f"the {{}} {word} the {noun}"

    def in_half(self, index: int) -> Iterator[str]:
        """Its rank among its fellows in one half of the image, where every fellow clearly lies in one or the other."""
        fellows = self.fellows[index]
        for axis, sides in enumerate(_ENDS):
            values = {other: (self.places[other].x, self.places[other].y)[axis] for other in fellows}
            if any(0.43 < value < 0.57 for value in values.values()):
                continue
            half = [other for other in fellows if (values[other] < 0.5) == (values[index] < 0.5)]
            where = f"in the {_ADJECTIVES[sides[int(values[index] > 0.5)]]} half of the image"
            if len(half) == 1:
                yield f"the {{}} {where}"
                continue
            for along, ends in enumerate(_ENDS):
                ranked = self._ranked(index, half, along)
                if ranked is not None:
                    for side, place in zip(ends, (ranked, len(half) - 1 - ranked), strict=True):
                        if 2 * place < len(half) and place < len(ORDINALS):
                            yield f"the {ORDINALS[place]} {{}} from the {side} {where}"

    def _distances(self, one: int, other: int) -> tuple[float, float]:
        """Pixels between centres, and between edges."""
        first, second = self.places[one], self.places[other]
        height, width = self.size_hw
        between = math.hypot((first.x - second.x) * width, (first.y - second.y) * height)
        return between, gap_px(self.boxes[one], self.boxes[other])
