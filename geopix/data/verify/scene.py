"""An image's objects as the reader of a description sees them: boxes, sizes, who stands with whom (§IV-C)."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cached_property

from geopix.data.arrangement import Group, arrange
from geopix.data.entries import Entry, EntryError, checked
from geopix.data.verify.words import KINDS, canonical_key, key
from geopix.records import Box, run_lengths

MOST_SEEN = 300
"""Objects of one image up to which descriptions are checked; nobody tells more apart by words."""


@dataclass(frozen=True, slots=True)
class Thing:
    """An object, or several seen as one.

    Args:
        members: Indices of the objects.
        box_xyxy_px: Around all of them.
        x, y: The centre as shares of the image's width and height.
        width, height: Of one object (their mean where there are several), as such shares.
    """

    members: frozenset[int]
    box_xyxy_px: Box
    x: float
    y: float
    width: float
    height: float


class Scene:
    """The objects of one image.

    Args:
        entry: Its annotations.

    Raises:
        EntryError: If there are more than `MOST_SEEN`, or a box is degenerate or out of the image.
    """

    def __init__(self, entry: Entry) -> None:
        if len(entry.objects) > MOST_SEEN:
            raise EntryError("too many objects to describe", f"{len(entry.objects)}, at most {MOST_SEEN}")
        self.size_hw = entry.size_hw
        objects = [checked(replace(one, counts=None), entry.size_hw) for one in entry.objects]
        self.boxes = [one.box_xyxy_px for one in objects]
        self.counts = [one.counts for one in entry.objects]
        self.kinds = [key(one.class_name) for one in objects]
        self.classes = [canonical_key(kind) for kind in self.kinds]
        self.finer = [{key(one.category), kind} for one, kind in zip(objects, self.kinds, strict=True)]
        self.names = frozenset(name for one in objects for name in (one.class_name, one.category) if name)
        self.complete = entry.complete
        self.things = [self.thing(frozenset({index})) for index in range(len(self.boxes))]
        self._groups: dict[float, list[Group]] = {}

    def groups(self, reach: float) -> list[Group]:
        """Who stands with whom, for one idea of how far neighbours may be apart."""
        if reach not in self._groups:
            self._groups[reach] = arrange(self.boxes, self.kinds, reach)
        return self._groups[reach]

    def thing(self, members: frozenset[int]) -> Thing:
        """Several objects as one."""
        height, width = self.size_hw
        boxes = [self.boxes[index] for index in sorted(members)]
        x1, y1 = min(box[0] for box in boxes), min(box[1] for box in boxes)
        x2, y2 = max(box[2] for box in boxes), max(box[3] for box in boxes)
        return Thing(
            members,
            (x1, y1, x2, y2),
            (x1 + x2) / 2 / width,
            (y1 + y2) / 2 / height,
            sum(box[2] - box[0] for box in boxes) / len(boxes) / width,
            sum(box[3] - box[1] for box in boxes) / len(boxes) / height,
        )

    def called(self, noun: str) -> frozenset[int]:
        """The objects that a noun's key may name; "" names any."""
        if not noun:
            return frozenset(range(len(self.boxes)))
        name = canonical_key(noun)
        covered = KINDS.get(name, frozenset()) | {name}
        of_class = frozenset(index for index, class_name in enumerate(self.classes) if class_name in covered)
        exact = {index for index in of_class if noun in self.finer[index]}
        if not exact or noun == name:
            return of_class
        # A category that its source tells from others ("small vehicle") is not those others, but may be the vague ones.
        return frozenset(exact | {index for index in of_class if self.finer[index] <= {"", name}})

    @cached_property
    def areas_px(self) -> list[float]:
        """What the masks cover where every object has one, what the boxes do otherwise.

        Raises:
            EntryError: If a mask is not of the image's size.
        """
        masks = [counts for counts in self.counts if counts is not None]
        if len(masks) < len(self.counts):
            return [(x2 - x1) * (y2 - y1) for x1, y1, x2, y2 in self.boxes]
        try:
            return [float(sum(run_lengths(counts, self.size_hw)[1::2])) for counts in masks]
        except ValueError as error:
            raise EntryError("mask of the wrong size", str(error)) from error

    def area_px(self, thing: Thing) -> float:
        """Pixels of an object, or of several together."""
        return math.fsum(self.areas_px[index] for index in thing.members)
