"""Tables IX, X and XI in the paper's form, from what ``geopix ablate`` left behind (§V-F)."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from geopix.evaluate.metrics import Interval
from geopix.evaluate.paper import paper_table
from geopix.evaluate.table import Row, Table, TableError, signed

PLACES: Final[dict[int, tuple[tuple[str, str], ...]]] = {
    9: (
        ("capacity: none", "capacity_none"),
        ("capacity: 32", "capacity_32"),
        ("capacity: 64", "default"),
        ("capacity: 256", "capacity_256"),
        ("fusion: argmax", "fusion_argmax"),
        ("fusion: conv2d", "fusion_conv2d"),
        ("fusion: conv3d", "default"),
        ("fusion: attention", "fusion_attention"),
        ("fusion: dual attention", "fusion_dual_attention"),
    ),
    10: (("shared", "shared_projector"), ("independent", "default")),
    11: (
        ("single stage, mask side", "default"),
        ("two stages, mask side", "two_stages"),
        ("single stage, language side too", "full_default"),
        ("two stages, language side too", "full_two_stages"),
    ),
}
"""Of a table its rows, and what ``configs/ablation.yaml`` calls them; Table IX takes those that no table has, too."""
TITLES: Final = {9: "memory capacity and fusion", 10: "projectors", 11: "stages of training, ablated"}
COLUMNS: Final = (
    "F's parameters", "mIoU", "cIoU", "difference in mIoU", "verdict", "seeds", "minutes", "paper: mIoU",
    "paper: difference",
)  # fmt: skip
FOOTER: Final = ("answers", "protocol", "shortcut", "beginning", "verdict", "the paper's numbers")


def ablation_table(number: int, runs: Path) -> Table:
    """A table of the paper from the results in a folder of runs.

    Args:
        number: 9, 10 or 11.
        runs: As ``geopix ablate --runs`` has it.

    Raises:
        TableError: If there are no results, or they are none.
        OSError: If they can't be read.
    """
    path = runs / "ablation" / "table.json"
    if not path.is_file():
        raise TableError(f"{path} is missing; give the folder that geopix ablate wrote its results to with --runs")
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        known = {str(row["name"]): row for row in found["rows"]}
        footer = dict(zip(FOOTER, map(str, found["footer"]), strict=True))
        rows = [_row(label, known.get(name), name) for label, name in PLACES[number]]
        placed = {name for places in PLACES.values() for _, name in places}
        if number == 9:
            rows += [_row(_extra(row), row, name) for name, row in known.items() if name not in placed]
    except (ValueError, LookupError, ArithmeticError, TypeError, AttributeError, RecursionError) as error:
        raise TableError(f"{path} holds no results of geopix ablate ({error}); run it again") from error
    return Table(number, TITLES[number], COLUMNS, tuple(rows), footer, paper_table(number))


def _extra(row: Mapping[str, Any]) -> str:
    against = row["against"]
    held = f", against {against}" if against not in ("default", row["name"]) else ""
    return f"not in the paper: {row['name']}, {row['says']}{held}"


def _row(label: str, row: Mapping[str, Any] | None, name: str) -> Row:
    if row is None:
        return Row(label, (None, "not run", *[None] * (len(COLUMNS) - 2)))
    difference = row.get("difference_miou")
    return Row(
        label,
        (
            f"{int(row['fusion_parameters']):,}",
            _interval(row["miou"]),
            _interval(row["ciou"]),
            None if difference is None else signed(_interval(difference), 2),
            "others are held against it"
            if row["against"] == name
            else str(row.get("verdict", "nothing to hold against")),
            str(len(row["seeds"])),
            f"{_finite(row['minutes']):.1f}",
            None if row["paper"] is None else f"{_finite(row['paper'][0]):.2f}",
            None if row.get("paper_difference") is None else f"{_finite(row['paper_difference']):+.2f}",
        ),
    )


def _interval(raw: Any) -> Interval:
    value, low, high = map(_finite, raw)
    return Interval(value, low, high)


def _finite(raw: Any) -> float:
    number = float(raw)
    if not math.isfinite(number):
        raise ValueError("a number that is not finite")
    return number
