"""The foreign formats by name: what each is, which files it needs, and on which terms it may be used (§IV, Table I)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from geopix.data.foreign.found import Found, Place

Reader: TypeAlias = "Callable[[Place], Iterator[Found]]"


@dataclass(frozen=True, slots=True)
class Kind:
    """One format.

    Args:
        read: Its reader.
        about: What it is, in a line.
        layout: The files that its folder holds.
        terms: Where it comes from and what it may be used for.
        images: Its image folder, from its folder.
        anyones: Whether many sets come in this format, so that one is named after its folder.
    """

    read: Reader
    about: str
    layout: str
    terms: str
    images: str = "images"
    anyones: bool = False


def _coco(place: Place) -> Iterator[Found]:
    from geopix.data.sources import coco

    return coco.read(place)


KINDS: dict[str, Kind] = {
    "coco": Kind(
        _coco,
        "COCO instances: masks and boxes, such as NWPU VHR-10",
        "annotations.json (or instances_train.json, instances_val.json ...), images/; if there is a split.json "
        '{"train": [file names], "val": [...]}, it tells the splits',
        "of your own making, or as its makers say; NWPU VHR-10 (Cheng et al. 2014, masks by Su et al.) is for research "
        "purposes only",
        anyones=True,
    ),
}
