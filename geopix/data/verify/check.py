"""The verdict on a description: unique, ambiguous, false or unparsable (§IV-A's "uniquely refers", checked)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Literal, TypeAlias

from geopix.data.arrangement import REACH
from geopix.data.entries import Entry
from geopix.data.verify.claims import Among, Beside, Inside, Reference, Region
from geopix.data.verify.cursor import UnreadableError
from geopix.data.verify.grammar import read
from geopix.data.verify.meaning import READERS, fitting
from geopix.data.verify.scene import Scene

Outcome: TypeAlias = Literal["unique", "ambiguous", "false", "unparsable"]
OUTCOMES: tuple[Outcome, ...] = ("unique", "ambiguous", "false", "unparsable")


@dataclass(frozen=True, slots=True)
class Verdict:
    """What came of checking one description.

    Args:
        outcome: "unique": every reader finds the object that is meant and no other. "false": none finds it.
            "ambiguous": anything between. "unparsable": boxes can't tell, or the grammar can't read it.
        reason: Why it is not unique, as a sentence for whoever writes the next one; "" where it is.
        fits: The objects that some reader finds.
        unseen: Words that were believed, because only pixels could tell (colours).
    """

    outcome: Outcome
    reason: str = ""
    fits: tuple[int, ...] = ()
    unseen: tuple[str, ...] = ()


def check(text: str, target: int, scene: Scene) -> Verdict:
    """Whether a description means one object of an image and no other.

    Args:
        text: The description.
        target: Index of the object it was written for.
        scene: All objects of the image.

    Raises:
        geopix.data.entries.EntryError: If a mask that is needed to compare sizes is broken.
    """
    try:
        return _judged(read(text, scene.names), target, scene)
    except UnreadableError as error:
        return Verdict("unparsable", f"it can't be read: {error}")


def _judged(claim: Reference, target: int, scene: Scene) -> Verdict:
    unseen = tuple(word for reference in _references(claim) for word in reference.unseen)
    missing = [one.noun for one in _references(claim) if one is not claim and not scene.called(one.noun)]
    if missing and not scene.complete:
        return Verdict("unparsable", f"it speaks of something that is not annotated ({missing[0]})", (), unseen)
    found = [fitting(claim, scene, reader) for reader in READERS]
    fits = tuple(sorted(frozenset().union(*found)))
    if all(one == {target} for one in found):
        return Verdict("unique", "", fits, unseen)
    if unseen and (target in fits or target in _without_ranks(claim, scene)):
        return Verdict("unparsable", f"boxes can't tell what is {unseen[0]}", fits, unseen)
    if target not in fits:
        if not scene.called(claim.noun):
            return Verdict("false", f"it names a class that is not in the image ({claim.noun})", fits, unseen)
        if missing:
            return Verdict("false", f"it speaks of something that is not in the image ({missing[0]})", fits, unseen)
        named = f"object {fits[0]}" if len(fits) == 1 else f"objects {_listed(fits)}" if fits else "no object at all"
        return Verdict("false", f"it is not true of this object; it fits {named}", fits, unseen)
    others = [index for index in fits if index != target]
    if others:
        return Verdict("ambiguous", f"it may also mean object{'s' * (len(others) > 1)} {_listed(others)}", fits, unseen)
    return Verdict("ambiguous", "it is barely true of this object; somebody else may say it is not", fits, unseen)


def check_entry(entry: Entry) -> Iterator[tuple[int, str, str, Verdict]]:
    """Every description of an image: index of the object, its arrangement, the description, the verdict.

    Raises:
        geopix.data.entries.EntryError: If the annotations can't be used.
    """
    scene = Scene(entry)
    kinds = arrangements(scene)
    for index, one in enumerate(entry.objects):
        for text in one.descriptions:
            yield index, one.arrangement or kinds[index], text, check(text, index, scene)


def arrangements(scene: Scene) -> list[str]:
    """For every object "isolated", "line" or "cluster"."""
    kinds = [""] * len(scene.boxes)
    for group in scene.groups(REACH):
        for index in group.members:
            kinds[index] = group.kind
    return kinds


def _without_ranks(claim: Reference, scene: Scene) -> frozenset[int]:
    """What fits when everything is left out that a colour could change: ranks and counts."""
    kept = tuple(one for one in claim.relations if isinstance(one, (Region, Beside, Inside, Among)))
    loose = replace(claim, relations=kept, count=None)
    return frozenset().union(*(fitting(loose, scene, reader) for reader in READERS))


def _references(claim: object) -> Iterator[Reference]:
    """A noun phrase and all within it."""
    if isinstance(claim, Reference):
        yield claim
    if isinstance(claim, tuple):
        for one in claim:
            yield from _references(one)
    elif is_dataclass(claim):
        for field in fields(claim):
            yield from _references(getattr(claim, field.name))


def _listed(numbers: list[int] | tuple[int, ...]) -> str:
    words = [str(number) for number in numbers[:6]]
    more = " and more" if len(numbers) > 6 else ""
    return (", ".join(words[:-1]) + " and " + words[-1] if len(words) > 1 and not more else ", ".join(words)) + more
