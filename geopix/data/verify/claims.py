"""What a description claims, once it is read (§IV-C): a noun, and relations to the image and to other objects."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

Side: TypeAlias = Literal["left", "right", "top", "bottom"]
Order: TypeAlias = Literal["left", "right", "top", "bottom", "large", "small"]
Form: TypeAlias = Literal["corner", "edge", "half", "quarter", "third", "part"]
GroupWord: TypeAlias = Literal["group", "line", "row", "column"]


@dataclass(frozen=True, slots=True)
class Reference:
    """A noun phrase: "the second ship from the left in the row".

    Args:
        noun: Key of the class words (`words.key`), "" where any object may be meant.
        plural: Whether several are meant together ("the two ships").
        count: How many, where the words say so.
        group: "" for objects, otherwise what they form: "group" for any, "line", "row", "column".
        other: Whether the object that is described is left out ("the other ship").
        relations: All must hold.
        unseen: Words such as colours, which boxes can't tell.
    """

    noun: str
    plural: bool = False
    count: int | None = None
    group: GroupWord | Literal[""] = ""
    other: bool = False
    relations: tuple[Relation, ...] = ()
    unseen: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Spot:
    """A part of a frame: "upper left corner" is column left, row top, form corner; "" where the words are silent."""

    column: Literal["", "left", "center", "right"]
    row: Literal["", "top", "center", "bottom"]
    form: Form = "part"


@dataclass(frozen=True, slots=True)
class Ranked:
    """Number ``place`` (from 0) counted from a side or by size."""

    order: Order
    place: int = 0


@dataclass(frozen=True, slots=True)
class OfTwo:
    """The left, upper, larger ... one of two."""

    order: Order


@dataclass(frozen=True, slots=True)
class Middle:
    """The middle one of an odd number."""


@dataclass(frozen=True, slots=True)
class Region:
    """In a part of the image, or of what ``frame`` means."""

    spot: Spot
    frame: Reference | None = None


@dataclass(frozen=True, slots=True)
class Beside:
    """Left of, above ... something; two sides for "to the upper left of"."""

    sides: tuple[Side, ...]
    other: Reference


@dataclass(frozen=True, slots=True)
class Close:
    """Near something."""

    other: Reference


@dataclass(frozen=True, slots=True)
class Extreme:
    """Nearest to something, or farthest from it."""

    far: bool
    to: Reference | Spot


@dataclass(frozen=True, slots=True)
class Compared:
    """Larger or smaller than something."""

    larger: bool
    other: Reference


@dataclass(frozen=True, slots=True)
class Between:
    """Between two things: one reference that means two, or two references."""

    first: Reference
    second: Reference | None = None


@dataclass(frozen=True, slots=True)
class Inside:
    """Within the box of something."""

    other: Reference


@dataclass(frozen=True, slots=True)
class Among:
    """One of a group or of several: "in the row", "of the two ships"."""

    other: Reference


@dataclass(frozen=True, slots=True)
class Alone:
    """With none of its class nearby."""


@dataclass(frozen=True, slots=True)
class Only:
    """There is no other."""


Relation: TypeAlias = (
    Ranked | OfTwo | Middle | Region | Beside | Close | Extreme | Compared | Between | Inside | Among | Alone | Only
)
