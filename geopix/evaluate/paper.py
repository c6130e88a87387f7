"""The paper's own tables, to stand beside ours, from a data file (§V)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

_FILE = Path(__file__).with_name("paper_tables.json")


@dataclass(frozen=True)
class PaperTable:
    """A table as it was printed.

    Args:
        title: "Table III, GeoPixInstruct".
        columns: Names of the cells.
        rows: Of each its method and its cells, as printed.
        note: What to know when reading it.
    """

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    note: str = ""

    def lines(self) -> Iterator[tuple[str, ...]]:
        """Headings, then the rows."""
        yield ("", *self.columns)
        yield from self.rows

    def to_json(self) -> dict[str, Any]:
        """As it stands in the file."""
        return asdict(self)


def paper_table(number: int) -> PaperTable:
    """The paper's table of this number, 1 to 11."""
    raw = json.loads(_FILE.read_text(encoding="utf-8"))["tables"][str(number)]
    return PaperTable(raw["title"], tuple(raw["columns"]), tuple(map(tuple, raw["rows"])), raw.get("note", ""))
