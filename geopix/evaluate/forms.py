"""What a judge is asked (§V-C, §V-D), word for word, and how its answers are read: nothing is taken out of prose."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Form(Generic[T]):
    """One kind of question to a judge.

    Args:
        name: With its version ("vqa-match 1"); another wording takes another version.
        template: The words, for `str.format`.
        max_tokens: Of the answer.
        read: What an answer means, None where it is neither.
    """

    name: str
    template: str
    max_tokens: int
    read: Callable[[str], T | None]

    @property
    def sha256(self) -> str:
        """Of all that shapes an answer."""
        told = json.dumps([self.name, self.template, self.max_tokens])
        return hashlib.sha256(told.encode()).hexdigest()

    @property
    def footer(self) -> str:
        """The name and the hash, for the footer of a table."""
        return f"{self.name} ({self.sha256[:12]})"


def read_match(said: str) -> bool | None:
    """1 is a match, 0 is none; with quotes or a full stop, but nothing else: None."""
    return {"1": True, "0": False}.get(said.strip().strip("\"'`*. \n"))


def read_clair(said: str) -> float | None:
    """The score in 0..1 of a CLAIR answer, None where there is none.

    The first {...} as JSON; where it was cut off within the reason, its "score"; or an answer that is a number and
    nothing else ("85", "Score: 85/100"), times 100 where it is below 1. Where CLAIR takes the first number of any
    prose, and 0 where there is none, we take nothing.
    """
    value: float | None = None
    begin = said.find("{")
    if begin >= 0:
        try:
            told = json.loads(said[begin : said.find("}", begin) + 1])["score"]
            value = float(told) if isinstance(told, (int, float, str)) and not isinstance(told, bool) else None
        except (ArithmeticError, ValueError, LookupError, TypeError, RecursionError):
            cut = re.match(r"\{\s*[\"']score[\"']\s*:\s*[\"']?(\d+(?:\.\d+)?)[\"']?\s*,", said[begin:])
            value = float(cut[1]) if cut else None
    else:
        bare = re.fullmatch(r"\W*(?:score\W*)?(\d*\.?\d+)\s*(?:%|/\s*100)?\W*", said, re.IGNORECASE)
        value = float(bare[1]) if bare else None
        value = 100 * value if value is not None and value < 1 else value
    return value / 100 if value is not None and 0 <= value <= 100 else None


MATCH: Form[bool] = Form(
    "vqa-match 1",
    "Question: {question}\nGround Truth Answer: {true}\nPredicted Answer: {predicted}\nDoes the predicted answer match "
    "the ground truth? Answer 1 for match and 0 for not match. Use semantic meaning not exact match. Synonyms are also "
    "treated as a match, e.g., football and soccer, playground and ground track field, building and rooftop, pond and "
    "swimming pool. Do not explain the reason.\n",
    100,
    read_match,
)
"""VRSBench's question, word for word; it asks at the default temperature, we at 0."""
CLAIR: Form[float] = Form(
    "clair 1",
    "You are trying to tell if a candidate set of captions is describing the same image as a reference set of captions."
    "\nCandidate set:\n{candidates}\nReference set:\n{references}\nOn a precise scale from 0 to 100, how likely is it "
    "that the candidate set is describing the same image as the reference set? (JSON format, with a key "
    '"score", value between 0 and 100, and a key "reason" with a string value.)\n',
    1024,
    read_clair,
)
"""CLAIR's question, word for word (Chan et al. 2023). VRSBench's copy cuts its answers off after 100 tokens."""
