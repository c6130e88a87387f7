"""Table XI: what training strategies cost and bring, from tables that were made of their models before (§V-F)."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from geopix.evaluate.paper import paper_table
from geopix.evaluate.table import Cell, Row, Table, TableError, check_same, minus, read

PLACES: Final = {
    "captions CLAIR": (7, "CLAIR", "score"),
    "captions CIDEr": (7, "CIDEr", "score"),
    "VQA average": (4, "all, micro", "accuracy"),
    "VQA by the rule alone": (4, "all, micro", "all open answers wrong"),
    "grounding A@0.5": (8, "A@0.5, all", "+1 pixel rule"),
    "cIoU": (3, "cIoU", "AR-H"),
    "mIoU": (3, "mIoU, mean over masks", "AR-H"),
}
"""Of a column the table it is taken from, and the row and column there."""
COLUMNS: Final = ("cost, hours", *PLACES)
NUMBERS: Final = sorted({number for number, _, _ in PLACES.values()})


@dataclass
class Strategy:
    """One way of training.

    Args:
        name: What its row is called.
        tables: By number.
        seconds: Of all its training steps; None where no log was given.
    """

    name: str
    tables: dict[int, Table] = field(default_factory=dict)
    seconds: float | None = None

    @property
    def cells(self) -> tuple[Cell, ...]:
        """In the order of `COLUMNS`."""
        cost = None if self.seconds is None else f"{self.seconds / 3600:.2f}"
        return (cost, *(self._cell(*place) for place in PLACES.values()))

    def _cell(self, number: int, row: str, column: str) -> Cell:
        table = self.tables.get(number)
        if table is None:
            return "not given"
        found = next((one for one in table.rows if one.name == row), None)
        return None if found is None or column not in table.columns else found.cells[table.columns.index(column)]


def strategies(named: Sequence[str]) -> Table:
    """The table of several models, each row after the first followed by its difference from the first.

    Args:
        named: "NAME=FILE": a table's JSON, or the ``metrics.jsonl`` of a stage's training; a name may come often.

    Raises:
        TableError: If a file is none of these, a table comes twice, or the models were asked different questions.
        OSError: If a file can't be read.
    """
    found: dict[str, Strategy] = {}
    for word in named:
        name, equals, file = word.partition("=")
        if not (name.strip() and equals and file):
            raise TableError(f'{word!r} is no NAME=FILE; write "stage 1=out/table3.json", a name for every model')
        _take(found.setdefault(name.strip(), Strategy(name.strip())), Path(file))
    if not found:
        raise TableError("no model is given; add NAME=FILE for each, such as one=out/table3.json two=out2/table3.json")
    asked = dict[int, Table]()  # by number the first model's that has one: what all others must be asked, too
    for one in found.values():
        for number, table in one.tables.items():
            check_same(table, asked.setdefault(number, table))
    first, *others = found.values()
    rows = [Row(first.name, first.cells)]
    for other in others:
        less = tuple(minus(*pair) for pair in zip(other.cells, first.cells, strict=True))
        rows += [Row(other.name, other.cells), Row(f"{other.name}, minus {first.name}", less)]
    footer = {
        "taken from": "; ".join(
            f"{column}: Table {number}, {row}, {where}" for column, (number, row, where) in PLACES.items()
        ),
        "cost": "hours of all training steps, added up from the logs given; on the machine they ran on",
        "difference": "in points, with the 95 % interval of paired draws of images; * where the interval leaves out 0. "
        "Each row is one training run: what another seed would bring is not in it",
    }
    for number in NUMBERS:
        if number in asked:
            footer |= {
                f"{what}, Table {number}": asked[number].footer.get(what, "") for what in ("protocol", "questions")
            }
    for one in found.values():
        footer[f"answers of {one.name}"] = "; ".join(
            f"Table {number}: {table.footer.get('answers', '')}" for number, table in sorted(one.tables.items())
        )
    return Table(11, "training strategies", COLUMNS, tuple(rows), footer, paper_table(11))


def _take(strategy: Strategy, path: Path) -> None:
    if path.suffix == ".jsonl":
        strategy.seconds = (strategy.seconds or 0.0) + _seconds(path)
        return
    table = read(path)
    if table.number not in NUMBERS:
        raise TableError(f"{path} is Table {table.number}; Table 11 is made of {', '.join(map(str, NUMBERS))}")
    if table.number in strategy.tables:
        raise TableError(f"{strategy.name!r} has Table {table.number} twice; give every model a name of its own")
    strategy.tables[table.number] = table


def _seconds(path: Path) -> float:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
        total = sum(float(json.loads(line)["seconds"]) for line in lines)
    except (ValueError, LookupError, ArithmeticError, TypeError, RecursionError) as error:
        raise TableError(f"{path} is no log of training steps ({error}); give the metrics.jsonl of a stage") from error
    if not lines:
        raise TableError(f"{path} holds no step of a training; give the metrics.jsonl of a stage that was trained")
    if not math.isfinite(total) or total < 0:
        raise TableError(f"{path} says that training took {total} seconds; give the metrics.jsonl of a stage")
    return total
