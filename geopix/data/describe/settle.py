"""One image from asked to settled (§IV-C): described, checked, asked again with the reason, and dropped if need be."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from pathlib import Path

from geopix.data.describe.reply import refusal
from geopix.data.describe.task import Describer, Task, UnansweredError, UnusableError
from geopix.data.entries import Entry, EntryError
from geopix.data.verify.check import Outcome, arrangements, check
from geopix.data.verify.scene import Scene


@dataclass(frozen=True, slots=True)
class Wish:
    """How descriptions are wanted.

    Args:
        attempts: How often an image is asked about, the first time included.
        wordings: Descriptions that an object may get; a describer may know fewer.
        strict: Whether what can't be checked is refused as well.
        again: Whether objects that have descriptions get new ones.
    """

    attempts: int = 3
    wordings: int = 1
    strict: bool = False
    again: bool = False


@dataclass(slots=True)
class Settled:
    """An image when all is done.

    Args:
        entry: With descriptions and arrangements.
        counts: What was kept, and how the answers fared.
        dropped: Reason -> objects left without a description.
        unanswered: Whether somebody who should have answered did not.
    """

    entry: Entry
    counts: Counter[str] = field(default_factory=Counter)
    dropped: Counter[str] = field(default_factory=Counter)
    unanswered: bool = False


def wanted(entry: Entry, wish: Wish) -> tuple[int, ...]:
    """The objects of an image that need a description."""
    return tuple(index for index, one in enumerate(entry.objects) if wish.again or not one.descriptions)


def settle(entry: Entry, images: Path, describer: Describer, wish: Wish) -> Settled:
    """Describe what needs a description in one image.

    Args:
        entry: Its annotations.
        images: The folder that its image's path starts from.
        describer: Who is asked.
        wish: How.

    Raises:
        PostponedError, StopError: From the describer.
    """
    left = wanted(entry, wish)
    try:
        scene = Scene(entry)
        kinds = arrangements(scene)
    except EntryError as error:
        return Settled(entry, dropped=Counter({error.reason: len(left)}))
    settled = Settled(entry)
    kept: dict[int, tuple[str, ...]] = {}
    faults: list[str] = []
    reasons: dict[int, str] = {}
    for turn in range(wish.attempts if describer.learns else 1):
        if not left:
            break
        try:
            said = describer.describe(Task(entry, images, left, tuple(faults), turn))
        except (UnusableError, EntryError) as error:
            settled.counts[f"answers refused: {error.reason}"] += isinstance(error, UnusableError)
            reasons.update(dict.fromkeys(left, error.reason))
            faults.append(f"Answer {turn + 1}: the {error}.")
            settled.unanswered = isinstance(error, UnansweredError)
            if settled.unanswered or isinstance(error, EntryError):
                break
            continue
        for index in left:
            good, reasons[index], told = _judged(index, said.get(index, ()), scene, wish, settled.counts)
            faults += [f"Answer {turn + 1}: {fault}" for fault in told]
            if good:
                kept[index] = good
        left = tuple(index for index in left if index not in kept)
    settled.dropped.update(reasons[index] for index in left)
    objects = (
        replace(
            one,
            arrangement=kinds[index],
            descriptions=kept.get(index, () if wish.again else one.descriptions),
        )
        for index, one in enumerate(entry.objects)
    )
    settled.entry = replace(entry, objects=tuple(objects))
    settled.counts["described"] += len(kept)
    settled.counts["descriptions"] += sum(map(len, kept.values()))
    return settled


def _judged(
    index: int, said: tuple[str, ...], scene: Scene, wish: Wish, counts: Counter[str]
) -> tuple[tuple[str, ...], str, list[str]]:
    """Of what was said about one object, what is kept; why nothing was; and what to tell whoever said it."""
    good: list[str] = []
    faults: list[str] = []
    reason = "nothing can be said that means it alone"
    bad: set[Outcome] = {"ambiguous", "false", "unparsable"} if wish.strict else {"ambiguous", "false"}
    for words in said:
        if len(good) == wish.wordings:
            break
        refused = refusal(words)
        if refused is not None:
            reason = "description refused: " + refused
            counts["descriptions refused"] += 1
            faults.append(f"the description of object {index} was refused, because {refused}.")
            continue
        text = " ".join(words.split())
        try:
            verdict = check(text, index, scene)
        except EntryError as error:  # a broken mask, met where sizes are compared
            reason = error.reason
            continue
        counts[verdict.outcome] += 1
        if verdict.outcome in bad:
            reason = f"description {verdict.outcome}"
            faults.append(f'of object {index}, "{text}" is {verdict.outcome}: {verdict.reason}.')
        else:
            good.append(text)
    return tuple(good), reason, faults
