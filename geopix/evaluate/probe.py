"""One question of Tables III and VIII with its truth, and what is asked about an image of a set (§V-B, §V-E)."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Literal, TypeAlias

import numpy as np

from geopix.assistant import MAX_QUESTION
from geopix.classes import UNKNOWN, VHR10, plural
from geopix.data.askable import MOST_COUNTED_OFF, not_there
from geopix.data.entries import Entry, read_image
from geopix.data.facts import in_a_question
from geopix.dialogue import GROUP, PHRASE
from geopix.records import Box, Image, Turn

Kind: TypeAlias = Literal["referred", "all", "absent", "box"]
Units: TypeAlias = tuple[int, int, int, int]


@dataclass(frozen=True, slots=True)
class Truth:
    """A true mask: its class, and COCO's compressed run lengths."""

    class_name: str
    counts: str


@dataclass(frozen=True, slots=True, eq=False)
class Probe:
    """One question with what is true.

    Args:
        id: Unique in its list, the same from run to run, however many are asked.
        image_key: What the bootstrap draws: the whole image.
        kind: "referred" and "all" want masks, "absent" none, "box" a box.
        question: As anyone is asked.
        size_hw: Of the picture, in pixels.
        picture: Its pixels, or the file that holds them.
        answer: The true words, marked as in `Turn`, for who is given them.
        truth: The true masks, in the order of the words.
        box: The true box in pixels.
        units: The true box in whole hundredths of width and height, as its benchmark has it.
        unique: Whether the object is the only one of its class in the picture; None where nobody says.
    """

    id: str
    image_key: str
    kind: Kind
    question: str
    size_hw: tuple[int, int]
    picture: Image | Path
    answer: str = ""
    truth: tuple[Truth, ...] = ()
    box: Box | None = None
    units: Units | None = None
    unique: bool | None = None

    def pixels(self) -> Image:
        """The picture, (H, W, 3) uint8; one array for questions in a row about it, so that it is looked at once.

        Raises:
            EntryError: If it can't be read, or has another size.
        """
        return _read(self.picture, self.size_hw) if isinstance(self.picture, Path) else self.picture

    def turn(self) -> Turn:
        """The question with the true words."""
        return Turn(self.question, self.answer, "segment", tuple(range(len(self.truth))))


@lru_cache(maxsize=8)
def _read(path: Path, size_hw: tuple[int, int]) -> Image:
    return read_image(path, size_hw)


def box_units(box: Box, size_hw: tuple[int, int]) -> Units:
    """A box in whole hundredths of width and height, rounded as `geopix.dialogue.box_text` writes it."""
    height, width = size_hw
    x1, y1, x2, y2 = (
        min(max(round(100 * value / side), 0), 100)
        for value, side in zip(box, (width, height, width, height), strict=True)
    )
    return x1, y1, x2, y2


def _referred(entry: Entry, picture: Path, annotated: Collection[str]) -> list[Probe]:
    """Every object with a mask and a description, all in one question: multi-referring as in §V-B.

    The last ones are left out where a question of all would be longer than any that is read.
    """
    able = [one for one in entry.objects if one.counts is not None and one.descriptions][:MOST_COUNTED_OFF]
    phrases = [in_a_question(one.descriptions[0]) for one in able]
    while phrases and len(question := f"Segment {_listed(phrases)}.") > MAX_QUESTION:
        phrases.pop()
    if not phrases:
        return []
    answer = ", ".join(f"{PHRASE} {phrase}{GROUP}" for phrase in phrases) + "."
    truth = tuple(Truth(one.class_name, one.counts or "") for one in able[: len(phrases)])
    return [Probe(f"{entry.key}/referred", entry.key, "referred", question, entry.size_hw, picture, answer, truth)]


def _listed(phrases: Sequence[str]) -> str:
    return phrases[0] if len(phrases) == 1 else ", ".join(phrases[:-1]) + " and " + phrases[-1]


def _all(entry: Entry, picture: Path, annotated: Collection[str]) -> list[Probe]:
    """Every class whose objects all have masks."""
    made = []
    for name in dict.fromkeys(one.class_name for one in entry.objects if one.class_name != UNKNOWN):
        members = [one for one in entry.objects if one.class_name == name]
        if entry.complete and len(members) <= MOST_COUNTED_OFF and all(one.counts is not None for one in members):
            truth = tuple(Truth(name, one.counts or "") for one in members)
            answer = ", ".join([f"{PHRASE} the {name}{GROUP}"] * len(members)) + "."
            question = f"Segment all {plural(name)}."
            made.append(
                Probe(f"{entry.key}/all {name}", entry.key, "all", question, entry.size_hw, picture, answer, truth)
            )
    return made


def _absent(entry: Entry, picture: Path, annotated: Collection[str]) -> list[Probe]:
    """One class that somebody looked for and that is not there, the same whenever this image is asked about."""
    there = {one.class_name for one in entry.objects}
    first = [name for name in VHR10 if name in annotated]
    candidates = not_there(first, there) or not_there(sorted(annotated), there)
    if not entry.complete or not candidates:
        return []
    seed = int.from_bytes(hashlib.sha256(entry.key.encode()).digest()[:8])
    name = candidates[int(np.random.default_rng(seed).integers(len(candidates)))]
    return [Probe(f"{entry.key}/absent", entry.key, "absent", f"Segment the {name}.", entry.size_hw, picture)]


def _boxes(entry: Entry, picture: Path, annotated: Collection[str]) -> list[Probe]:
    """Every described object, but for one whose description is longer than any question that is read."""
    made = []
    for index, one in enumerate(entry.objects):
        if one.descriptions:
            unique = sum(other.class_name == one.class_name for other in entry.objects) == 1
            question = f"[refer] Where is {in_a_question(one.descriptions[0])}?"
            if len(question) > MAX_QUESTION:
                continue
            box, units = one.box_xyxy_px, box_units(one.box_xyxy_px, entry.size_hw)
            made.append(
                Probe(f"{entry.key}/box {index}", entry.key, "box", question, entry.size_hw, picture, box=box,
                      units=units, unique=unique if entry.complete else None)
            )  # fmt: skip
    return made


ASKERS: dict[Kind, Callable[[Entry, Path, Collection[str]], list[Probe]]] = {
    "referred": _referred, "all": _all, "absent": _absent, "box": _boxes,
}  # fmt: skip
"""What is asked about an entry; its picture; the classes that are annotated in its part of the set."""
