"""Numbers of a set as the paper tells them: Table I's row, Table II, and what Fig. 4 draws (§IV-D).

φ is the number of instances in an image, θ the share of an image's pixels that one instance's mask covers; both are
defined here and nowhere else. A set's φ is the mean over its images, its θ the mean over its instances. In Fig. 4 an
image lies at its own φ and the mean θ of its instances.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Final

from geopix.data import rle
from geopix.data.entries import Annotated, Entry, EntryError
from geopix.data.foreign.found import Watch, unwatched

BINS_A_DECADE: Final = 8
"""Fig. 4's columns: θ in equal steps of its logarithm."""


def theta(one: Annotated, size_hw: tuple[int, int]) -> float:
    """The share of an image's pixels, height and width ``size_hw``, that one object's mask covers.

    Where only a box is known, that of the box: an upper bound, and told as such wherever it is shown.

    Raises:
        ValueError: If the run lengths do not fit the image.
    """
    height, width = size_hw
    if one.counts is not None:
        return rle.area(one.counts, size_hw) / (height * width)
    x1, y1, x2, y2 = one.box_xyxy_px
    return (x2 - x1) * (y2 - y1) / (height * width)


@dataclass(slots=True)
class Part:
    """One subset's split, or any other part of a set; grows image by image, and holds no image.

    Args:
        images, instances, masks, described, descriptions: How many; ``described`` are instances with a description.
        instructed: Images with any text to ask about: a description, a caption, a question.
        categories, arrangements: Name -> instances.
        classes: Category -> our canonical class.
        heights, widths: Smallest and largest, in pixels.
        theta_sum: Of all instances.
        cells: (φ, bin of the mean θ) of an image -> images, for Fig. 4.
    """

    images: int = 0
    instances: int = 0
    masks: int = 0
    described: int = 0
    descriptions: int = 0
    instructed: int = 0
    categories: Counter[str] = field(default_factory=Counter)
    arrangements: Counter[str] = field(default_factory=Counter)
    classes: dict[str, str] = field(default_factory=dict)
    heights: tuple[int, int] = (0, 0)
    widths: tuple[int, int] = (0, 0)
    theta_sum: float = 0.0
    cells: Counter[tuple[int, int]] = field(default_factory=Counter)

    def add(self, entry: Entry) -> None:
        """Count an image.

        Raises:
            EntryError: If a mask does not fit it.
        """
        try:
            shares = [theta(one, entry.size_hw) for one in entry.objects]
        except ValueError as error:
            raise EntryError(f"{entry.key} holds a mask of the wrong size", str(error)) from error
        self.images += 1
        self.instances += len(shares)
        self.theta_sum += sum(shares)
        for one in entry.objects:
            self.masks += one.counts is not None
            self.described += bool(one.descriptions)
            self.descriptions += len(one.descriptions)
            name = one.category or one.class_name
            self.categories[name] += 1
            self.classes.setdefault(name, one.class_name)
            if one.arrangement:
                self.arrangements[one.arrangement] += 1
        described = any(one.descriptions for one in entry.objects)
        self.instructed += described or bool(entry.captions or entry.turns)
        height, width = entry.size_hw
        self.heights = (min(self.heights[0] or height, height), max(self.heights[1], height))
        self.widths = (min(self.widths[0] or width, width), max(self.widths[1], width))
        if shares and sum(shares) > 0:
            self.cells[len(shares), _bin(sum(shares) / len(shares))] += 1

    @property
    def phi(self) -> float:
        """Mean number of instances in an image."""
        return self.instances / self.images if self.images else 0.0

    @property
    def theta(self) -> float:
        """Mean share of its image that an instance covers."""
        return self.theta_sum / self.instances if self.instances else 0.0

    @property
    def size(self) -> str:
        """Height and width of its images, "800 x 800" or "358 to 1028 x 522 to 1728"."""
        return " x ".join(f"{low}" if low == high else f"{low} to {high}" for low, high in (self.heights, self.widths))

    def __iadd__(self, other: Part) -> Part:
        for name in ("images", "instances", "masks", "described", "descriptions", "instructed", "theta_sum"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        for name in ("categories", "arrangements", "classes", "cells"):
            getattr(self, name).update(getattr(other, name))
        for name in ("heights", "widths"):
            (low, high), (lower, higher) = getattr(self, name), getattr(other, name)
            setattr(self, name, (min(filter(None, (low, lower)), default=0), max(high, higher)))
        return self

    def to_json(self) -> dict[str, Any]:
        """Table II's columns, and the shares behind them."""
        return {
            "images": self.images,
            "categories": len(self.categories),
            "instances": self.instances,
            "boxes": self.instances,
            "masks": self.masks,
            "described instances": self.described,
            "descriptions": self.descriptions,
            "image size (height x width, px)": self.size,
            "phi": round(self.phi, 4),
            "theta": round(self.theta, 6),
            "theta is of": "masks" if self.masks == self.instances else "boxes where there is no mask",
            "instances of a category": dict(sorted(self.categories.items())),
            "arrangements": dict(sorted(self.arrangements.items())),
            "images by phi and theta": [
                {"phi": phi, "theta from": round(edge(place), 8), "theta to": round(edge(place + 1), 8), "images": n}
                for (phi, place), n in sorted(self.cells.items())
            ],
        }


def edge(place: int) -> float:
    """The lower edge of a bin of θ."""
    return float(10 ** (place / BINS_A_DECADE))


def _bin(share: float) -> int:
    return math.floor(math.log10(share) * BINS_A_DECADE)


def count(entries: Iterable[Entry], name: str, total: int = 0, watch: Watch = unwatched) -> dict[tuple[str, str], Part]:
    """Count a set, by subset and split.

    Args:
        entries: Read once.
        name: What entries without a subset count under.
        total: How many there are, for ``watch``.
        watch: Told how far it is.

    Raises:
        EntryError: If a mask does not fit its image.
    """
    parts: dict[tuple[str, str], Part] = {}
    done = 0
    for done, entry in enumerate(entries, start=1):
        parts.setdefault((entry.subset or name, entry.split), Part()).add(entry)
        if done % 500 == 0:
            watch("counting", done, max(total, done))
    watch("counting", done, done)
    return dict(sorted(parts.items(), key=lambda item: (item[0][0], ("train", "val", "test").index(item[0][1]))))


def whole(parts: Iterable[Part]) -> Part:
    """Several parts as one."""
    made = Part()
    for part in parts:
        made += part
    return made


TABLE_1: Final = ("dataset", "images", "instruct", "bbox", "description", "mask")


def table_1(name: str, part: Part) -> tuple[str, ...]:
    """The set's row of Table I: a tick for what all have, a cross for what none has, else the share that has it."""
    shares = (
        (part.instructed, part.images),
        (part.instances, part.instances),
        (part.described, part.instances),
        (part.masks, part.instances),
    )
    return name, f"{part.images:,}", *(_tick(n, of) for n, of in shares)


TABLE_2: Final = (
    "subset", "images", "categories", "instances", "masks", "described", "descriptions", "height x width, px", "φ",
    "θ, %",
)  # fmt: skip
TABLE_2_SHORT: Final = ("subset", "images", "cat.", "inst.", "masks", "descr.", "up to, px", "φ", "θ, %")
"""The same for a terminal of 80 columns."""


def table_2(parts: dict[tuple[str, str], Part], short: bool = False) -> list[tuple[str, ...]]:
    """Table II: a row for every subset's split, and one for all where there are several; θ of boxes is a bound."""
    rows = [_row(f"{split}.{subset}", part, short) for (subset, split), part in parts.items()]
    return [*rows, _row("all", whole(parts.values()), short)] if len(rows) > 1 else rows


def _row(name: str, part: Part, short: bool) -> tuple[str, ...]:
    numbers = (part.images, len(part.categories), part.instances, part.masks, part.described, part.descriptions)
    size = f"{part.heights[1]} x {part.widths[1]}" if short else part.size
    return name, *(f"{n:,}" for n in (numbers[:5] if short else numbers)), size, f"{part.phi:.2f}", percent(part)


def percent(part: Part) -> str:
    """A part's θ in percent; with "≤" where some of it is of boxes."""
    return f"{'' if part.masks == part.instances else '≤'}{100 * part.theta:.2f}"


def _tick(n: int, of: int) -> str:
    return "✗" if not n else "✓" if n == of else f"{100 * n / of:.1f} %"


def to_json(name: str, parts: dict[tuple[str, str], Part]) -> dict[str, Any]:
    """Everything as JSON: Table I's row, Table II by subset and split, and Fig. 4's numbers."""
    total = whole(parts.values())
    return {
        "name": name,
        "definitions": {
            "phi": "instances in an image; of a set the mean over its images",
            "theta": "pixels of one instance's mask over pixels of its image; of a set the mean over its instances",
        },
        "table 1": dict(zip(TABLE_1, table_1(name, total), strict=True)),
        "table 2": [{"subset": subset, "split": split, **part.to_json()} for (subset, split), part in parts.items()],
        "all": total.to_json(),
    }
