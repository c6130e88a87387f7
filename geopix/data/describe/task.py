"""What is asked of whoever describes objects, and how they may fail to answer (§IV-C)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from geopix.data.entries import Entry


@dataclass(frozen=True, slots=True)
class Task:
    """Some objects of one image, to be described so that each description means one of them and no other.

    Args:
        entry: The image's annotations, all of them.
        images: The folder that the entry's image path starts from.
        wanted: Indices of the objects to describe.
        faults: What was wrong with the answers before, a sentence each; empty at first.
        turn: How many answers there were before.
    """

    entry: Entry
    images: Path
    wanted: tuple[int, ...]
    faults: tuple[str, ...] = ()
    turn: int = 0


class Describer(Protocol):
    """Somebody who describes objects.

    Attributes:
        name: Who it is, for the record.
        learns: Whether it may do better when it is told what was wrong.
    """

    name: str
    learns: bool

    def describe(self, task: Task) -> dict[int, tuple[str, ...]]:
        """Descriptions of the wanted objects, the best first; none of an object that it can't describe.

        Raises:
            UnusableError: If the answer can't be used; it may be asked again.
            UnansweredError: If there was no answer.
            PostponedError: If the answer comes later.
            StopError: If nobody need ask any more.
        """
        ...

    def stop(self) -> None:
        """Ask for nothing new; what is being asked is waited for."""
        ...


class UnusableError(ValueError):
    """An answer that can't be used; ``reason`` is short and the same for all of its kind, to be counted."""

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(f"{reason}: {detail}" if detail else reason)
        self.reason = reason


class UnansweredError(UnusableError):
    """No answer, however often it was asked."""


class PostponedError(Exception):
    """The answer comes with a batch."""


class StopError(ValueError):
    """The whole job can't go on: no money left, no access, nobody there."""
