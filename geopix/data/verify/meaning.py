"""Which objects a claim fits, as one reader sees the image (§IV-C).

Words such as "near the edge" have no sharp border, so several readers look: a strict one who wants to see everything
clearly, and two mild ones who let much pass and count ties. What all of them agree on is beyond dispute.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from geopix.data.arrangement import Group
from geopix.data.verify import measures
from geopix.data.verify.claims import (
    Alone,
    Among,
    Beside,
    Between,
    Close,
    Compared,
    Extreme,
    Inside,
    Middle,
    OfTwo,
    Only,
    Order,
    Ranked,
    Reference,
    Region,
    Relation,
    Spot,
)
from geopix.data.verify.cursor import UnreadableError
from geopix.data.verify.scene import Scene, Thing


@dataclass(frozen=True, slots=True)
class Reader:
    """Somebody who reads a description.

    Args:
        strict: Whether what is barely so counts as not so.
        by_gap: Whether distances are seen between edges rather than between centres.
        reach: How far neighbours in a group may be apart (`geopix.data.arrangement.REACH`).
    """

    strict: bool
    by_gap: bool
    reach: float


MOST_STEPS = 1_000_000
"""Comparisons after which a reader gives up: nouns within nouns in a crowd could take hours."""
READERS = (Reader(True, False, 0.7), Reader(False, False, 1.4), Reader(False, True, 1.0))


def fitting(reference: Reference, scene: Scene, reader: Reader) -> frozenset[int]:
    """The objects that a description may mean.

    Raises:
        UnreadableError: If it would take more than `MOST_STEPS`.
    """
    return frozenset(index for thing in _Eyes(scene, reader).things(reference) for index in thing.members)


class _Eyes:
    """One reader in front of one image."""

    def __init__(self, scene: Scene, reader: Reader) -> None:
        self.scene, self.reader, self.strict = scene, reader, reader.strict
        self.steps = 0
        self._seen: dict[tuple[Reference, frozenset[int]], list[Thing]] = {}

    def things(self, reference: Reference, without: frozenset[int] = frozenset()) -> list[Thing]:
        """What a noun phrase may mean: objects, groups, or one thing made of several objects for a plural.

        Args:
            reference: The noun phrase.
            without: Objects that it can't mean, because it is said about them.
        """
        left_out = without if reference.other else frozenset()
        if (reference, left_out) not in self._seen:  # or nouns within nouns would cost a power of their number
            self._seen[reference, left_out] = self._find(reference, left_out)
        found = self._seen[reference, left_out]
        self._count(len(found) + 1)
        return found if reference.plural else [thing for thing in found if not thing.members <= without]

    def _count(self, steps: int) -> None:
        self.steps += steps
        if self.steps > MOST_STEPS:
            raise UnreadableError("there is too much to compare in it")

    def _find(self, reference: Reference, left_out: frozenset[int]) -> list[Thing]:
        if reference.group:
            pool = self._groups(reference)
        else:
            pool = [self.scene.things[index] for index in sorted(self.scene.called(reference.noun) - left_out)]
        kept = self._all_hold(reference.relations, pool)
        members = frozenset(index for thing in kept for index in thing.members)
        if not reference.plural:
            return kept
        if not members or (reference.count is not None and len(members) != reference.count):
            return []
        return [self.scene.thing(members)]

    def _groups(self, reference: Reference) -> list[Thing]:
        called = self.scene.called(reference.noun)
        found = []
        for group in self.scene.groups(self.reader.reach):
            if len(group.members) < 2 or not called.issuperset(group.members):
                continue
            if reference.count is not None and len(group.members) != reference.count:
                continue
            if self._forms(reference.group, group):
                found.append(self.scene.thing(frozenset(group.members)))
        return found

    def _forms(self, word: str, group: Group) -> bool:
        """Whether a group may be called a row, a column or a line; any may be called a group or a cluster."""
        if word == "group":
            return True
        if len(group.members) == 2:  # two are a line for whoever calls them so; our own code calls them a cluster
            across, down = measures.spread_px([self.scene.things[index] for index in group.members], self.scene.size_hw)
            slack = 2.0 if self.strict else 1.0
            return word == "line" or (across >= slack * down if word == "row" else down >= slack * across)
        if word == "line" or (group.direction in ("falling", "rising") and not self.strict):
            return group.kind == "line"
        return group.direction == ("across" if word == "row" else "down")

    def _all_hold(self, relations: Sequence[Relation], pool: list[Thing]) -> list[Thing]:
        """Those for which every relation holds; ranks are counted among those that pass the others."""
        scopes = [pool]
        for relation in relations:
            if isinstance(relation, Among) or (isinstance(relation, Region) and relation.frame is not None):
                scopes = [part for scope in scopes for part in self._within(relation, scope)]
        for relation in relations:
            scopes = [[thing for thing in scope if self._holds(relation, thing)] for scope in scopes]
        for relation in relations:
            scopes = [[thing for thing in scope if self._stands_out(relation, thing, scope)] for scope in scopes]
        found = {thing.members: thing for scope in scopes for thing in scope}
        return list(found.values())

    def _within(self, relation: Among | Region, pool: list[Thing]) -> list[list[Thing]]:
        """The parts of a pool in which ranks are counted: one for every group that may be meant."""
        frame = relation.other if isinstance(relation, Among) else relation.frame
        assert frame is not None
        frames = self._meant(frame, frozenset())
        parts = [[thing for thing in pool if thing.members <= one.members] for one in frames]
        if isinstance(relation, Region):
            spot = relation.spot
            parts = [self._in_frame(spot, part, one) for part, one in zip(parts, frames, strict=True)]
            outside = [thing for thing in pool if self._about(spot, thing, frames)]
            return [*parts, outside]
        return parts

    def _in_frame(self, spot: Spot, part: list[Thing], frame: Thing) -> list[Thing]:
        if len(frame.members) < 2:
            return []
        if spot.column == spot.row == "center":
            return [thing for thing in part if self._central(thing, part)]
        places = {thing.members: measures.place_in_group(thing, part, self.strict) for thing in part}
        return [thing for thing in part if measures.in_spot(spot, *places[thing.members], self.strict)]

    def _about(self, spot: Spot, thing: Thing, frames: list[Thing]) -> bool:
        """In a part of one large object, or beside a group that it does not belong to."""
        for frame in frames:
            if thing.members & frame.members:
                continue
            inside = measures.place_in_box(thing, frame)
            if inside is not None and measures.in_spot(spot, *inside, self.strict):
                return True
            sides = tuple(side for side in (spot.row, spot.column) if side and side != "center")
            if sides and spot.form == "part" and self._beside(sides, thing, frame):
                return True
        return False

    def _meant(self, reference: Reference, without: frozenset[int]) -> list[Thing]:
        """What a noun inside a description means; a strict reader takes one that may mean several for meaning none."""
        found = self.things(reference, without)
        return [] if self.strict and len(found) > 1 else found

    def _holds(self, relation: Relation, thing: Thing) -> bool:
        """Relations that do not depend on who else passes."""
        match relation:
            case Region(spot, None):
                return measures.in_image(spot, thing, self.scene.size_hw, self.strict)
            case Beside(sides, other):
                return any(self._beside(sides, thing, one) for one in self._others(other, thing))
            case Close(other):
                return any(measures.close(thing, one, self.strict) for one in self._others(other, thing))
            case Inside(other):
                return any(measures.inside(thing, one, self.strict) for one in self._others(other, thing))
            case Compared(larger, other):
                area = self.scene.area_px
                pairs = [(area(thing), area(one)) for one in self._others(other, thing)]
                return any(measures.larger(*(pair if larger else pair[::-1]), self.strict) for pair in pairs)
            case Between(first, second):
                return any(measures.between(thing, *ends, self.strict) for ends in self._ends(first, second, thing))
            case Alone():
                return all(
                    len(group.members) == 1
                    for group in self.scene.groups(self.reader.reach)
                    if thing.members & set(group.members)
                )
        return True

    def _others(self, reference: Reference, thing: Thing) -> Iterable[Thing]:
        for one in self._meant(reference, thing.members):
            if not one.members & thing.members:
                yield one

    def _ends(self, first: Reference, second: Reference | None, thing: Thing) -> Iterable[tuple[Thing, Thing]]:
        if second is not None:
            ones, others = list(self._others(first, thing)), list(self._others(second, thing))
            self._count(len(ones) * len(others))
            return ((one, other) for one in ones for other in others if one.members != other.members)
        pairs = [sorted(both.members) for both in self._others(first, thing)]
        return ((self.scene.things[pair[0]], self.scene.things[pair[1]]) for pair in pairs if len(pair) == 2)

    def _beside(self, sides: Sequence[str], thing: Thing, other: Thing) -> bool:
        return measures.beside(sides, thing, other, self.scene.size_hw, self.strict)

    def _stands_out(self, relation: Relation, thing: Thing, pool: list[Thing]) -> bool:
        """Relations that single one out of those that are left."""
        self._count(len(pool))
        match relation:
            case Ranked(order, place):
                return self._ranked(order, place, thing, pool)
            case OfTwo(order):
                if len(pool) == 2:
                    return self._ranked(order, 0, thing, pool)
                if order in ("large", "small"):
                    return not self.strict and self._ranked(order, 0, thing, pool)
                column, row = (order, "") if order in ("left", "right") else ("", order)
                spot = Spot(column, row)  # type: ignore[arg-type]  # sides of their axes
                there = measures.in_image(spot, thing, self.scene.size_hw, self.strict)
                return there or (not self.strict and self._ranked(order, 0, thing, pool))
            case Middle():
                return self._central(thing, pool)
            case Extreme(far, to):
                return self._extreme(far, to, thing, pool)
            case Only():
                return len(pool) == 1
        return True

    def _ranked(self, order: Order, place: int, thing: Thing, pool: list[Thing]) -> bool:
        before = possible = 0
        for other in pool:
            if other is thing:
                continue
            if order in ("large", "small"):
                one, two = self.scene.area_px(other), self.scene.area_px(thing)
                lead = measures.lead_in_size(one, two) * (1 if order == "large" else -1)
            else:
                lead = measures.lead(order, other, thing)
            before += lead > (0.0 if self.strict else 1.0)
            possible += lead >= (0.0 if self.strict else -1.0)
        return before <= place <= possible

    def _central(self, thing: Thing, pool: list[Thing]) -> bool:
        """The middle one: of an odd number along the axis they spread on, or the nearest to the middle of all."""
        if len(pool) < 3:
            return False
        spread = measures.spread_px(pool, self.scene.size_hw)
        half = (len(pool) - 1) // 2
        across, down = (self._ranked(side, half, thing, pool) for side in ("left", "top"))
        nearest = measures.nearest_to_mean(thing, pool, self.scene.size_hw, self.strict)
        if len(pool) % 2 == 0:
            return nearest and not self.strict
        if not self.strict:
            return across or down or nearest
        if max(spread) > 1.5 * min(spread):
            return across if spread[0] > spread[1] else down
        return across and down

    def _extreme(self, far: bool, to: Reference | Spot, thing: Thing, pool: list[Thing]) -> bool:
        mine = self._distance(to, thing)
        others = [self._distance(to, other) for other in pool if other is not thing]
        if mine is None:
            return False
        sign = -1.0 if far else 1.0
        slack = 0.0 if self.strict else 0.1 * mine + 0.01 * max(self.scene.size_hw)
        return all(sign * (mine - other) <= slack for other in others if other is not None)

    def _distance(self, to: Reference | Spot, thing: Thing) -> float | None:
        """Pixels to what is named; None where there is none."""
        if isinstance(to, Spot):
            return measures.to_spot_px(to, thing, self.scene.size_hw, self.reader.by_gap)
        found = [measures.distance_px(thing, one, self.reader.by_gap) for one in self._others(to, thing)]
        return min(found) if found else None
