"""What questions add to the numbers of a table, while they come in one at a time (§V)."""

from __future__ import annotations

from array import array
from collections import defaultdict
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from geopix.evaluate.measures import Measure


class Sampled(Protocol):
    """A question: its id, and the image that the bootstrap draws."""

    @property
    def id(self) -> str:
        """Unique in its list."""

    @property
    def image_key(self) -> str:
        """Of the whole image."""


@dataclass
class _Kept:
    """What questions added to one number; machine numbers, because there are many."""

    ids: list[str] = field(default_factory=list)
    image_keys: list[str] = field(default_factory=list)
    numbers: array[float] = field(default_factory=lambda: array("d"))


@dataclass
class Sums:
    """Rows of numbers under the names of measures, as questions come in."""

    rows: dict[str, _Kept] = field(default_factory=lambda: defaultdict(_Kept))

    def add(self, name: str, probe: Sampled, *numbers: float) -> None:
        """What a question adds to a measure."""
        kept = self.rows[name]
        kept.ids.append(probe.id)
        kept.image_keys.append(probe.image_key)
        kept.numbers.extend(numbers)

    def measure(self, name: str, unit: str = "questions", statistic: str = "ratio") -> Measure | None:
        """The measure of this name; None where no question had anything to add."""
        kept = self.rows.get(name)
        if kept is None:
            return None
        rows = np.array(kept.numbers, dtype=np.float64).reshape(len(kept.ids), -1)
        count = None if unit == "questions" else round(float(rows[:, -1].sum()))
        return Measure(name, tuple(kept.ids), tuple(kept.image_keys), rows, statistic, count, unit)
