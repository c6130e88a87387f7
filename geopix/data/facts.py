"""A set's entry as questions are made from it: descriptions as phrases, and what may be asked at all (§III-C, §IV)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from geopix.classes import UNKNOWN
from geopix.data.describe import called
from geopix.data.entries import Annotated, Entry
from geopix.dialogue import GROUP
from geopix.records import Instance

_LEADING = ("The", "A", "An", "One", "This", "That", "Two", "It")


def facts_of_entry(entry: Entry, classes: Sequence[str] = ()) -> dict[str, Any]:
    """What `geopix.data.mixture.ask` reads, as `facts_of` makes it of a sample.

    An object's phrases are its descriptions. One without any is told apart by geometry, where all objects are
    annotated: of others nobody knows whether "the leftmost ship" is the leftmost.

    Args:
        entry: All of one image.
        classes: What its subset annotates, for questions about what is not there.
    """
    geometric = _geometric(entry)
    instances = [
        {
            "class": one.class_name,
            "box": [round(value, 1) for value in one.box_xyxy_px],
            "phrases": [as_phrase(text) for text in one.descriptions] or geometric[index],
            "masked": one.counts is not None,
        }
        for index, one in enumerate(entry.objects)
    ]
    return {
        "key": entry.key,
        "size_hw": list(entry.size_hw),
        "instances": instances,
        "captions": list(entry.captions),
        "turns": [[turn.question, turn.answer, turn.task] for turn in entry.turns if GROUP not in turn.answer],
        "complete": entry.complete,
        "counted": entry.complete,
        "classes": list(classes),
        "there": [],
        "missing": [],
    }


def as_phrase(description: str) -> str:
    """A description within a question of training: no full stop, no capital article, braces that are only braces."""
    words = _bare(description)
    first, _, rest = words.partition(" ")
    if rest and first in _LEADING:
        words = f"{first.lower()} {rest}"
    return words.replace("{", "{{").replace("}", "}}")


def in_a_question(description: str) -> str:
    """A description within a question of a table: no full stop, no capital in front.

    `as_phrase` lowers articles alone and leaves "Boeing 747" as it is; here any word goes small that is no
    abbreviation. Neither can be had from the other without asking, or training on, other words than before.
    """
    words = _bare(description)
    first, *others = words.split(" ")
    return words if not first[1:].islower() and first[1:] else " ".join([first.lower(), *others])


def _bare(description: str) -> str:
    return " ".join(description.split()).rstrip(" .")


def _geometric(entry: Entry) -> list[list[str]]:
    if not entry.complete:
        return [[] for _ in entry.objects]
    phrases = called([_boxed(one) for one in entry.objects], entry.size_hw)
    return [words if one.class_name != UNKNOWN else [] for one, words in zip(entry.objects, phrases, strict=True)]


def _boxed(one: Annotated) -> Instance:
    return Instance(one.class_name, one.class_name, one.box_xyxy_px)
