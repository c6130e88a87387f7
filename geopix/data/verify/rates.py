"""How many descriptions of a set mean one object, by class and arrangement (§IV-C, checked)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from geopix.data.entries import EntryError, SetReader
from geopix.data.verify.check import OUTCOMES, Outcome, check_entry


@dataclass(slots=True)
class Rates:
    """What came of checking a set.

    Args:
        outcomes: (class, arrangement, outcome) -> descriptions.
        silent: Class -> objects without a description.
        unchecked: Reason -> images that could not be checked.
    """

    outcomes: Counter[tuple[str, str, Outcome]] = field(default_factory=Counter)
    silent: Counter[str] = field(default_factory=Counter)
    unchecked: Counter[str] = field(default_factory=Counter)

    def total(self, outcome: Outcome | None = None) -> int:
        """Descriptions with an outcome, or all."""
        return sum(n for (_, _, one), n in self.outcomes.items() if outcome in (None, one))

    def rows(self) -> Iterator[tuple[str, str, int, dict[Outcome, int]]]:
        """Class, arrangement, descriptions, and outcomes -> how many."""
        for name, kind in sorted({(name, kind) for name, kind, _ in self.outcomes}):
            counts = {outcome: self.outcomes[name, kind, outcome] for outcome in OUTCOMES}
            yield name, kind, sum(counts.values()), counts

    def to_json(self) -> dict[str, Any]:
        """The same for machines."""
        return {
            "descriptions": self.total(),
            **{outcome: self.total(outcome) for outcome in OUTCOMES},
            "objects without a description": sum(self.silent.values()),
            "images that could not be checked": dict(self.unchecked),
            "by class and arrangement": [
                {"class": name, "arrangement": kind, "descriptions": n, **counts}
                for name, kind, n, counts in self.rows()
            ],
        }


def check_set(
    reader: SetReader,
    tell: Callable[[dict[str, Any]], None] = lambda finding: None,
    watch: Callable[[int], None] = lambda done: None,
) -> Rates:
    """Check every description of a set.

    Args:
        reader: The set.
        tell: Told of every description that is not unique, JSON-ready.
        watch: Told how many images are done.

    Raises:
        EntryError: If the set is broken.
    """
    rates = Rates()
    for done, entry in enumerate(reader, start=1):
        try:
            for index, kind, text, verdict in check_entry(entry):
                rates.outcomes[entry.objects[index].class_name, kind, verdict.outcome] += 1
                if verdict.outcome != "unique":
                    tell(
                        {
                            "key": entry.key,
                            "object": index,
                            "class": entry.objects[index].class_name,
                            "description": text,
                            "outcome": verdict.outcome,
                            "reason": verdict.reason,
                        }
                    )
        except EntryError as error:
            rates.unchecked[error.reason] += 1
        rates.silent.update(one.class_name for one in entry.objects if not one.descriptions)
        watch(done)
    return rates
