"""What a row's run left behind, and the table that all of them make (Tables IX, X, XI)."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from geopix.ablation.plan import Plan
from geopix.ablation.verdict import Comparison, Scores, compare, summary
from geopix.evaluate.metrics import Interval
from geopix.evaluate.table import grid, shown, signed

SHORT = ("row", "mIoU", "cIoU", "difference in mIoU", "verdict", "seeds", "minutes", "paper: mIoU", "difference")
"""What a terminal shows; `HEADINGS` are those of the file."""
HEADINGS = (
    "table", "row", "mIoU", "cIoU", "difference in mIoU", "in cIoU", "verdict", "seeds", "minutes", "F's parameters",
    "paper: mIoU", "cIoU", "difference",
)  # fmt: skip
DIFFERENCES = ("difference_miou", "difference_ciou")


@dataclass(frozen=True)
class Result:
    """One row with one seed.

    Args:
        row, seed: Which.
        key: Names everything that the result depends on; a file with another key is made again.
        steps: Of training, all phases together.
        train_minutes, score_minutes: What it cost.
        fusion_parameters: What Table IX counts.
        scores: Of every validation question mean IoU, intersection and union in pixels.
    """

    row: str
    seed: int
    key: str
    steps: int
    train_minutes: float
    score_minutes: float
    fusion_parameters: int
    scores: list[list[float]]

    def write(self, folder: Path) -> None:
        """Whole or not at all."""
        write(folder / f"{self.row}.{self.seed}.json", json.dumps(asdict(self)) + "\n")


def read(folder: Path, row: str, seed: int, key: str) -> Result | None:
    """A result that is there already and was made with the same settings, or None."""
    try:
        found = Result(**json.loads((folder / f"{row}.{seed}.json").read_text(encoding="utf-8")))
    except (FileNotFoundError, ValueError, TypeError):
        return None
    return found if (found.row, found.seed, found.key) == (row, seed, key) else None


def write(path: Path, text: str) -> None:
    """A text file, whole or not at all."""
    staging = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        staging.write_text(text, encoding="utf-8")
        staging.replace(path)
    finally:
        staging.unlink(missing_ok=True)


def table(plan: Plan, results: Sequence[Result], images: Sequence[str], facts: dict[str, Any]) -> dict[str, Any]:
    """All that is known, JSON-ready: of every row that has a result its scores, its difference and the paper's.

    Args:
        plan: Whose rows, in its order.
        results: In any order.
        images: The image of every validation question.
        facts: What the footer tells.
    """
    found = {(result.row, result.seed): result for result in results}
    rows = []
    for name in plan.rows:
        seeds = sorted(seed for row, seed in found if row == name)
        if seeds:
            rows.append(_row(plan, name, seeds, found, images))
    return {**facts, "rows": rows}


def cells(found: dict[str, Any]) -> list[tuple[str, ...]]:
    """The table's cells, in the order of `HEADINGS`; in percent, with 95 % intervals."""
    return [
        (
            row["table"],
            f"{row['name']}: {row['says']}",
            shown(Interval(*row["miou"])),
            shown(Interval(*row["ciou"])),
            *("" if row.get(name) is None else signed(Interval(*row[name]), 2) for name in DIFFERENCES),
            row.get("verdict", ""),
            str(len(row["seeds"])),
            f"{row['minutes']:.1f}",
            f"{row['fusion_parameters']:,}",
            *(("", "") if row["paper"] is None else (f"{row['paper'][0]:.2f}", f"{row['paper'][1]:.2f}")),
            "" if row.get("paper_difference") is None else f"{row['paper_difference']:+.2f}",
        )
        for row in found["rows"]
    ]


def short(found: dict[str, Any]) -> list[tuple[str, ...]]:
    """The cells of `SHORT`."""
    chosen: list[tuple[str, ...]] = []
    for row, full in zip(found["rows"], cells(found), strict=True):
        values = f"{100 * row['miou'][0]:.2f}", f"{100 * row['ciou'][0]:.2f}"
        chosen.append((row["name"], *values, full[4], full[6], full[7], full[8], full[10], full[12]))
    return chosen


def markdown(found: dict[str, Any]) -> str:
    """The same as Markdown, with its footer."""
    return "\n".join([grid([HEADINGS, *cells(found)]), "", *(f"- {line}" for line in found["footer"])]) + "\n"


def _row(
    plan: Plan, name: str, seeds: list[int], found: dict[tuple[str, int], Result], images: Sequence[str]
) -> dict[str, Any]:
    row, own = plan.rows[name], [found[name, seed] for seed in seeds]
    miou, ciou = summary(_scores(own), images)
    entry: dict[str, Any] = {
        "name": name, "says": row.says, "table": row.table, "against": row.against, "seeds": seeds, "full": row.full,
        "trained": row.trained, "steps": own[0].steps, "miou": _list(miou), "ciou": _list(ciou),
        "miou_by_seed": [float(np.mean([score[0] for score in one.scores])) for one in own],
        "minutes": float(np.mean([one.train_minutes + one.score_minutes for one in own])),
        "fusion_parameters": own[0].fusion_parameters, "paper": row.paper,
    }  # fmt: skip
    common = [seed for seed in seeds if (row.against, seed) in found]
    if name != row.against and common:
        theirs = _scores([found[row.against, seed] for seed in common])
        held: Comparison = compare(_scores([found[name, seed] for seed in common]), theirs, images, row.trained)
        entry |= {
            "difference_miou": _list(held.miou), "difference_ciou": _list(held.ciou), "by_seed": list(held.by_seed),
            "over_seeds": None if held.over_seeds is None else _list(held.over_seeds), "verdict": held.verdict,
        }  # fmt: skip
        default = plan.rows[row.against].paper
        if row.paper is not None and default is not None:
            entry["paper_difference"] = row.paper[0] - default[0]
    return entry


def _scores(results: Sequence[Result]) -> Scores:
    numbers = np.array([result.scores for result in results], dtype=np.float64)  # (seeds, questions, 3)
    return Scores(numbers[..., 0], numbers[..., 1:])


def _list(interval: Interval) -> list[float]:
    return [interval.value, interval.low, interval.high]
