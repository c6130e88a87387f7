"""What a reader of a foreign set finds: entries, and what it had to leave out with the reason (§IV)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

from geopix.data.entries import Annotated, EntryError, checked
from geopix.data.entries import Entry as Entry  # so that a reader needs one import

Watch: TypeAlias = Callable[[str, int, int], None]
"""Told what is being read, how much of it is done, and how much there is (bytes or images)."""

T = TypeVar("T")


def unwatched(what: str, done: int, total: int) -> None:
    """Nobody looks."""


@dataclass(frozen=True, slots=True)
class Skipped:
    """Something that was left out: an object, a text or a whole image.

    Args:
        reason: Short, and the same for all of its kind, to be counted.
        detail: Where it stands and what is wrong with it.
    """

    reason: str
    detail: str = ""


Found: TypeAlias = Entry | Skipped


@dataclass(frozen=True, slots=True)
class Place:
    """Where a reader reads.

    Args:
        folder: What the user named.
        images: The folder of the images; entries tell their paths from there.
        name: What every key begins with ("sior" of "sior/00001").
        looks: Whether images are opened to learn their size, and left out where they are missing.
        watch: Told how far the reading is.
    """

    folder: Path
    images: Path
    name: str
    looks: bool = True
    watch: Watch = unwatched


MALFORMED = (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError)
"""What reading a record raises where it lacks a field, or holds something else there."""


def skipped(error: Exception, where: str) -> Skipped:
    """What is told of a record that raised an error."""
    if isinstance(error, EntryError):
        return Skipped(error.reason, f"{where}: {error.detail}" if error.detail else where)
    return Skipped("record malformed", f"{where}: {type(error).__name__} {error}"[:300])


def guarded(where: str, found: Iterator[Found]) -> Iterator[Found]:
    """Pass on what is found about one image; an error leaves out that image and no other."""
    try:
        yield from found
    except MALFORMED as error:
        yield skipped(error, where)


def sift(
    raws: Iterable[T], make: Callable[[T], Annotated], size_hw: tuple[int, int], where: str
) -> tuple[tuple[Annotated, ...], list[Skipped]]:
    """The objects of one image that can be used, and what is wrong with the others.

    Args:
        raws: As they lie in the file.
        make: An object of such a record, or an error.
        size_hw: The image's height and width in pixels.
        where: The image, for the user.
    """
    objects, left_out = [], []
    for number, raw in enumerate(raws, start=1):
        try:
            objects.append(checked(make(raw), size_hw))
        except MALFORMED as error:
            left_out.append(skipped(error, f"{where} object {number}"))
    return tuple(objects), left_out


def required(path: Path) -> Path:
    """A path that must be there.

    Raises:
        EntryError: If it is not, with the command that tells what each kind of set needs.
    """
    if not path.exists():
        raise EntryError(f"{path} is missing", "geopix data import --help tells which files each kind needs")
    return path


def numbers(raw: Any, count: int) -> list[float]:
    """So many numbers; a list, a tuple, or what a pickle's array became.

    Raises:
        TypeError, ValueError: If it is not.
    """
    if not isinstance(raw, (list, tuple)) or len(raw) != count:
        raise ValueError(f"{count} numbers were expected")
    if any(isinstance(value, bool) or not isinstance(value, (int, float, str)) for value in raw):
        raise TypeError(f"{count} numbers were expected")
    return [float(value) for value in raw]
