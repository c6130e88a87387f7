"""A model's answer, read without trusting it (§IV-C): the right objects, each once, in words that are only words."""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Sequence

from geopix.data.describe.task import UnusableError

LONGEST_REPLY = 200_000
"""Characters of an answer that are looked at."""
LONGEST = 400
"""Characters of a description."""
_MARKS = re.compile(r"[\[\]<>{}|\\`]|</?s>|im_start|im_end", re.IGNORECASE)
"""What segmentation tokens, task tags, boxes in text and the words around a turn are made of; no description needs."""


def descriptions(content: str, wanted: Sequence[int], allowed: Sequence[int] | None = None) -> dict[int, str]:
    """The descriptions of an answer.

    Args:
        content: JSON as `geopix.data.describe.prompt.schema` wants it.
        wanted: The indices that were asked for.
        allowed: Indices that the answer may speak of, any number of them; None for the wanted ones, all of them.

    Raises:
        UnusableError: If it is cut off or no such JSON, or speaks of other objects than those asked for.
    """
    if len(content) > LONGEST_REPLY:
        raise UnusableError("answer too long", f"{len(content):,} characters")
    fenced = re.fullmatch(r"\s*```(?:json)?\s*(.*?)\s*```\s*", content, re.DOTALL)
    try:
        told = json.loads(fenced[1] if fenced else content)
    except (ValueError, RecursionError) as error:
        raise UnusableError("answer is cut off or no JSON", str(error)[:200]) from error
    items = told.get("descriptions") if isinstance(told, dict) else None
    if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
        raise UnusableError("answer is not of the form asked for", 'it has no list "descriptions" of objects')
    said: dict[int, str] = {}
    for item in items:
        index, words = item.get("index"), item.get("description")
        if type(index) is not int or not isinstance(words, str):
            raise UnusableError("answer is not of the form asked for", 'an item lacks "index" or "description"')
        if index in said:
            raise UnusableError("answer describes an object twice", f"object {index}")
        said[index] = words
    missing = sorted(set(wanted) - said.keys()) if allowed is None else []
    foreign = sorted(said.keys() - set(wanted if allowed is None else allowed))
    if missing or foreign:
        faults = [f"nothing about {_few(missing)}"] * bool(missing) + [f"not asked about {_few(foreign)}"] * bool(
            foreign
        )
        raise UnusableError("answer speaks of other objects than asked", "; ".join(faults))
    return {index: said[index] for index in wanted if index in said}


def refusal(text: str) -> str | None:
    """Why words can't be a description, or None where they can."""
    if not text.strip():
        return "it is empty"
    if len(text) > LONGEST:
        return f"it is longer than {LONGEST} characters"
    if any(unicodedata.category(character) in ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp") for character in text):
        return "it holds control characters"
    if _MARKS.search(text):
        return "it holds marks such as [SEG] or <p>, which are not words"
    return None


def _few(numbers: Sequence[int]) -> str:
    return ", ".join(map(str, numbers[:8])) + (" and more" if len(numbers) > 8 else "")
