"""What can be asked about an image: only what somebody knows of it (§III-C)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Container, Iterable
from typing import Any

from geopix.classes import UNKNOWN, VHR10

MOST_COUNTED_OFF = 11
"""Objects of a class that an answer counts off; the paper's filter leaves no image with more."""


def askable(facts: dict[str, Any]) -> bool:
    """Whether any question can be asked about an image."""
    return any(_able(facts).values())


def able(kind: str, facts: dict[str, Any]) -> bool:
    """Whether a kind of question can be asked about an image without saying what nobody knows.

    Args:
        kind: One of `geopix.data.mixture.KINDS`.
        facts: What `geopix.data.mixture.facts_of` made of the image.
    """
    return _able(facts)[kind]


def _able(facts: dict[str, Any]) -> dict[str, bool]:
    """The same of every kind."""
    counted, known = facts.get("counted", True), named(facts)
    all_masked = len(listed(facts)) if counted else 0
    told = any(instance["phrases"] for instance in facts["instances"])
    pointed = any(instance["phrases"] and masked(instance) for instance in facts["instances"])
    return {
        "segment": pointed or all_masked > 0,
        "all": all_masked > 0,
        "mixed": all_masked > 1,
        "absent": bool(candidates(facts)) or (not facts["complete"] and counted and (pointed or all_masked > 0)),
        "refer": told or (counted and bool(known)),
        "presence": bool(known) or bool(facts.get("there")),
        "count": counted and bool(known),
        "caption": bool(facts["captions"]) or (counted and bool(known) and len(known) == len(by_class(facts))),
        "vqa": bool(facts["turns"]),
        "there": bool(facts.get("there")),
        "nowhere": bool(candidates(facts)),
    }


def by_class(facts: dict[str, Any]) -> dict[str, list[int]]:
    """The objects of every class, by their places in the image's list."""
    groups: dict[str, list[int]] = defaultdict(list)
    for index, instance in enumerate(facts["instances"]):
        groups[instance["class"]].append(index)
    return groups


def named(facts: dict[str, Any]) -> dict[str, list[int]]:
    """The classes of the image that have a name."""
    return {name: members for name, members in by_class(facts).items() if name != UNKNOWN}


def listed(facts: dict[str, Any]) -> dict[str, list[int]]:
    """The classes whose objects can all be answered with masks, one by one."""
    return {
        name: members
        for name, members in named(facts).items()
        if len(members) <= MOST_COUNTED_OFF and all(masked(facts["instances"][index]) for index in members)
    }


def masked(instance: dict[str, Any]) -> bool:
    """Whether the mask of an object is known."""
    return bool(instance.get("masked", True))


def candidates(facts: dict[str, Any]) -> list[str]:
    """Classes that somebody looked for in the image and did not find."""
    if not facts["complete"]:
        return list(facts.get("missing", ()))
    return not_there(facts.get("classes", VHR10), by_class(facts))


def not_there(looked_for: Iterable[str], there: Container[str]) -> list[str]:
    """Classes that somebody looked for in an image and did not find."""
    return [name for name in looked_for if name not in there]
