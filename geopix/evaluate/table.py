"""A table of the paper with honest error bars, and its forms: Markdown, CSV, JSON; two of them compared (§V)."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from geopix.evaluate.measures import Measure, MeasureError, difference, from_json, to_json
from geopix.evaluate.metrics import Interval
from geopix.evaluate.paper import PaperTable

SUFFIXES = (".md", ".csv", ".json")
FORM = 1
"""Of the JSON; another number is another form."""

Cell: TypeAlias = Measure | Interval | str | None
"""A measure, a number whose samples are elsewhere, a text, or nothing where the number does not exist ("-")."""


class TableError(ValueError):
    """A table that can't be made, written or compared."""


@dataclass(frozen=True)
class Row:
    """A line of a table: its name, and one cell for every column but the first two (name, n)."""

    name: str
    cells: tuple[Cell, ...]

    @property
    def n(self) -> str:
        """How many things its first number is about."""
        first = next((cell for cell in self.cells if isinstance(cell, Measure)), None)
        return "" if first is None else f"{first.n:,} {first.unit}"


@dataclass(frozen=True)
class Table:
    """One table.

    Args:
        number: The paper's, 1 to 11.
        title: What it tells.
        columns: Names of the cells of a row.
        rows: From top to bottom; names are unique.
        paper: The paper's own numbers, or None.
        footer: What it was made from, told below it. "protocol" and "questions" must be equal where two are compared.

    Raises:
        TableError: If a row has not one cell for every column, or a name is there twice.
    """

    number: int
    title: str
    columns: tuple[str, ...]
    rows: tuple[Row, ...]
    footer: Mapping[str, str]
    paper: PaperTable | None = None

    def __post_init__(self) -> None:
        for row in self.rows:
            if len(row.cells) != len(self.columns):
                raise TableError(f"row {row.name!r} has {len(row.cells)} cells for {len(self.columns)} columns")
        if len({row.name for row in self.rows}) != len(self.rows):
            raise TableError("a row's name is there twice; give every row its own")

    def lines(self) -> Iterator[tuple[str, ...]]:
        """Headings, then one line of text a row; without n where no row has one."""
        counted = any(row.n for row in self.rows)
        yield ("", *(["n"] if counted else []), *self.columns)
        for row in self.rows:
            yield (row.name, *([row.n] if counted else []), *map(shown, row.cells))


def shown(cell: Cell) -> str:
    """A cell as text: the value in percent, with its interval where images were drawn."""
    if cell is None:
        return "-"
    if isinstance(cell, str):
        return cell
    interval = cell.interval() if isinstance(cell, Measure) else cell
    if math.isnan(interval.value):
        return "-"
    return f"{100 * interval.value:.1f} [{100 * interval.low:.1f}, {100 * interval.high:.1f}]"


def markdown(table: Table) -> str:
    """The table, the paper's rows and the footer as Markdown."""
    parts = [f"# Table {table.number}: {table.title}", grid(list(table.lines()))]
    if table.paper is not None:
        parts += [f"The paper's rows ({table.paper.title}):", grid(list(table.paper.lines()))]
        parts += [table.paper.note] if table.paper.note else []
    parts.append("\n".join(f"- **{name}**: {_flat(text)}" for name, text in table.footer.items()))
    return "\n\n".join(parts) + "\n"


def comma_separated(table: Table) -> str:
    """One line a number: row, column, n, unit, value, low, high (as shares); footer and paper not."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(("row", "column", "n", "unit", "value", "low", "high"))
    for row in table.rows:
        for column, cell in zip(table.columns, row.cells, strict=True):
            if isinstance(cell, Measure):
                interval = cell.interval()
                writer.writerow((_inert(row.name), column, cell.n, cell.unit, *_numbers(interval)))
            elif isinstance(cell, Interval):
                writer.writerow((_inert(row.name), column, "", "", *_numbers(cell)))
            elif cell is not None:
                writer.writerow((_inert(row.name), column, "", "", _inert(cell), "", ""))
    return out.getvalue()


def as_json(table: Table) -> dict[str, Any]:
    """The table with every sample's numbers, for `compare`."""
    samples: list[dict[str, Any]] = []
    rows = [
        {
            "name": row.name,
            "cells": [_cell_to_json(cell, samples) for cell in row.cells],
        }
        for row in table.rows
    ]
    return {
        "geopix_table": FORM,
        "number": table.number,
        "title": table.title,
        "columns": list(table.columns),
        "rows": rows,
        "footer": dict(table.footer),
        "paper": None if table.paper is None else table.paper.to_json(),
        "samples": samples,
    }


def read(path: Path) -> Table:
    """A table from its JSON; the paper's rows are left aside.

    Raises:
        TableError: If it is none.
        OSError: If it can't be read.
    """
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
        if raw["geopix_table"] != FORM:
            raise TableError(f"form {raw['geopix_table']!r} is not {FORM}")
        rows = tuple(
            Row(
                str(row["name"]),
                tuple(_cell_from_json(cell, raw["samples"]) for cell in row["cells"]),
            )
            for row in raw["rows"]
        )
        footer = {str(name): str(text) for name, text in raw["footer"].items()}
        return Table(int(raw["number"]), str(raw["title"]), tuple(map(str, raw["columns"])), rows, footer)
    except (ValueError, LookupError, ArithmeticError, TypeError, AttributeError, RecursionError) as error:
        raise TableError(
            f"{path} is no table with its samples ({error}); make one with: geopix table N -o {path.stem}.json"
        ) from error


def compare(ours: Table, theirs: Table) -> Table:
    """Paired differences ``ours - theirs`` of every number that both tables have.

    Raises:
        TableError: If they answer other questions, score in another way, or keep no samples.
    """
    check_same(ours, theirs)
    rows = []
    others = {row.name: dict(zip(theirs.columns, row.cells, strict=True)) for row in theirs.rows}
    for row in ours.rows:
        cells: list[Cell] = []
        for column, cell in zip(ours.columns, row.cells, strict=True):
            cells.append(minus(cell, others.get(row.name, {}).get(column)))
        if any(cell is not None for cell in cells):
            rows.append(Row(row.name, tuple(cells)))
    if not rows:
        raise TableError(
            "these tables keep no samples, so there is nothing to compare; give two that were made of the same "
            "questions, of Tables 3 to 8"
        )
    footer = {
        "difference": "first minus second, in points, with the 95 % interval of paired draws of images; * where the "
        "interval leaves out 0",
        "first": ours.footer.get("answers", ""),
        "second": theirs.footer.get("answers", ""),
        "protocol": ours.footer.get("protocol", ""),
        "questions": ours.footer.get("questions", ""),
    }
    return Table(ours.number, f"difference in {ours.title}", ours.columns, tuple(rows), footer)


def check_same(ours: Table, theirs: Table) -> None:
    """Whether two tables ask and score the same.

    Raises:
        TableError: If not.
    """
    if ours.number != theirs.number:
        raise TableError(f"tables {ours.number} and {theirs.number} can't be compared; give two of one number")
    for name in ("protocol", "questions"):
        if ours.footer.get(name) != theirs.footer.get(name):
            raise TableError(
                f"the tables differ in their {name}, so no difference between them is one of the models: "
                f"{ours.footer.get(name, 'none')!r} and {theirs.footer.get(name, 'none')!r}"
            )


def minus(ours: Cell, theirs: Cell) -> str | None:
    """The paired difference of two measures, with a star where its interval leaves out 0; None of anything else."""
    if not isinstance(ours, Measure) or not isinstance(theirs, Measure):
        return None
    try:
        found = difference(ours, theirs)
    except MeasureError:
        return "other samples"  # such as calibration: each model's own masks
    return f"{signed(found)}{' *' * (found.low > 0 or found.high < 0)}"


def write(table: Table, path: Path) -> None:
    """The table in the form that the name's ending asks for, whole or not at all.

    Raises:
        TableError: If the ending is none of `SUFFIXES`.
        OSError: If it can't be written.
    """
    if path.suffix == ".json":
        text = json.dumps(as_json(table), ensure_ascii=False, allow_nan=False) + "\n"
    elif path.suffix == ".csv":
        text = comma_separated(table)
    elif path.suffix == ".md":
        text = markdown(table)
    else:
        raise TableError(f"{path.name} should end in {', '.join(SUFFIXES)}")
    staging = path.with_name(f".{path.name}.part")
    try:
        staging.write_text(text, encoding="utf-8")
        staging.replace(path)
    finally:
        staging.unlink(missing_ok=True)


def signed(interval: Interval, digits: int = 1) -> str:
    """A difference in points, with its interval."""
    if math.isnan(interval.value):
        return "-"
    value, low, high = (f"{100 * one:+.{digits}f}" for one in _three(interval))
    return f"{value} [{low}, {high}]"


def _cell_to_json(cell: Cell, samples: list[dict[str, Any]]) -> Any:
    if isinstance(cell, Interval):
        return {"interval": _three(cell)}
    return to_json(cell, samples) if isinstance(cell, Measure) else cell


def _cell_from_json(raw: Any, samples: Sequence[dict[str, Any]]) -> Cell:
    if isinstance(raw, dict):
        return Interval(*map(float, raw["interval"])) if "interval" in raw else from_json(raw, samples)
    return None if raw is None else str(raw)


def _numbers(interval: Interval) -> list[str]:
    return ["" if math.isnan(one) else f"{one:.6f}" for one in _three(interval)]


def _three(interval: Interval) -> tuple[float, float, float]:
    return interval.value, interval.low, interval.high


def grid(lines: Sequence[Sequence[str]]) -> str:
    """Headings and rows as a table of Markdown."""
    head, *body = [[_flat(cell).replace("|", "\\|") for cell in line] for line in lines]
    ruled = [head, ["---"] * len(head), *body]
    return "\n".join(f"| {' | '.join(line)} |" for line in ruled)


def _flat(text: str) -> str:
    return " ".join(text.split())


def _inert(text: str) -> str:
    """A text that a spreadsheet does not take for a formula."""
    return f"'{text}" if text[:1] in ("=", "+", "-", "@") and not text[1:2].isdigit() else text
