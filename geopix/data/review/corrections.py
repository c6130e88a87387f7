"""What a person says about a description (§IV-C, second step), in whichever tool it was said."""

from __future__ import annotations

import hashlib
import unicodedata
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeAlias, get_args

from geopix.data.entries import ENTRIES, EntryError
from geopix.data.foreign import words
from geopix.data.review.picking import Wish

Verdict: TypeAlias = Literal["accepted", "rewritten", "rejected"]
VERDICTS: tuple[Verdict, ...] = get_args(Verdict)


class ReviewError(ValueError):
    """A review that can't be made or read."""


class Spot(NamedTuple):
    """Which text is meant: of which image (the entry's key), which of its objects, which of the object's texts."""

    key: str
    object: int
    text: int

    def __str__(self) -> str:
        return f"text {self.text + 1} of object {self.object + 1} of {self.key}"


@dataclass(frozen=True, slots=True)
class Correction:
    """A person's word on one text.

    Args:
        spot: Which text.
        was: What it said, "" where there was none yet.
        verdict: Whether it stands, was written anew, or is wrong and goes.
        words: What it says from now on; "" where it was rejected.

    Raises:
        ReviewError: If the new words can't be a description.
    """

    spot: Spot
    was: str
    verdict: Verdict
    words: str

    def __post_init__(self) -> None:
        if self.verdict == "rejected":
            return
        try:
            words.text(self.words)
        except EntryError as error:
            raise ReviewError(f"{self.spot} can't stand as {self.words[:60]!r}: {error}") from error
        if any(unicodedata.category(character) == "Cf" for character in self.words):
            raise ReviewError(f"{self.spot} can't stand as {self.words[:60]!r}: text with characters that nobody sees")


@dataclass(frozen=True, slots=True)
class Header:
    """Which review something belongs to.

    Args:
        set_sha256: Of the set's ``entries.jsonl``: corrections fit the very version that people saw.
        review: Name of the review: what was picked from that set, and how.
        texts: How many texts it asks about.
    """

    set_sha256: str
    review: str
    texts: int

    @classmethod
    def read(cls, raw: Any) -> Header:
        """A header from JSON.

        Raises:
            ReviewError: If it is none.
        """
        try:
            return cls(str(raw["set_sha256"]), str(raw["review"]), int(raw["texts"]))
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise ReviewError("it does not say which review it belongs to") from error


def corrected(spot: Spot, was: str, verdict: str, said: str) -> Correction:
    """A correction with single spaces, "accepted" where a rewriting changed nothing.

    Raises:
        ReviewError: If the verdict or the words can't be used.
    """
    if verdict not in VERDICTS:
        raise ReviewError(f"{spot} is {verdict[:40]!r}, not one of {', '.join(VERDICTS)}")
    said = " ".join(said.split())
    same = said == " ".join(was.split())
    if verdict == "rewritten" and same:
        verdict = "accepted"
    if verdict == "accepted" and not same:
        raise ReviewError(f"{spot} is accepted, but reads {said[:60]!r} where it was {was[:60]!r}")
    return Correction(spot, was, verdict, "" if verdict == "rejected" else said)  # type: ignore[arg-type]


def fingerprint(folder: Path) -> str:
    """SHA-256 of a set's entries, in hexadecimal.

    Raises:
        OSError: If they can't be read.
    """
    with (folder / ENTRIES).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def name(set_sha256: str, wish: Wish) -> str:
    """What a review is called: twelve characters that another set or another wish changes."""
    told = "/".join([set_sha256, *(str(getattr(wish, one.name)) for one in fields(wish))])
    return hashlib.sha256(told.encode()).hexdigest()[:12]
