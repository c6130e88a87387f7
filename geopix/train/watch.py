"""What a run tells while it goes: a line of JSON a step, and TensorBoard's curves where it is installed (§V-A)."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from geopix.train.checkpoints import Tell


class Watch:
    """``metrics.jsonl`` and ``tensorboard/`` of a stage's folder.

    Args:
        folder: The stage's folder.
        first: The step that comes next; lines of it and later ones are dropped, for it is about to be made again.
        tell: Told once where TensorBoard is missing.
    """

    def __init__(self, folder: Path, first: int, tell: Tell) -> None:
        self.path = folder / "metrics.jsonl"
        _forget(self.path, first)
        self.board = _board(folder / "tensorboard", first, tell)

    def write(self, step: int, numbers: Mapping[str, float], notes: Mapping[str, Any]) -> None:
        """A step's line: ``numbers``, and ``notes`` such as the samples that were left out."""
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"step": step, **numbers, **notes}) + "\n")
        if self.board is not None:
            for name, value in numbers.items():
                self.board.add_scalar(name, value, step)

    def sync(self) -> None:
        """Have the disk hold all lines, before a checkpoint counts on them."""
        if self.path.is_file():
            with self.path.open("rb+") as file:
                os.fsync(file.fileno())

    def close(self) -> None:
        """Let go of TensorBoard's file."""
        if self.board is not None:
            self.board.close()


def _board(folder: Path, first: int, tell: Tell) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        tell("TensorBoard is not installed (pip install tensorboard); metrics.jsonl holds the same numbers")
        return None
    return SummaryWriter(str(folder), purge_step=first)


def _forget(path: Path, first: int) -> None:
    """Drop the lines of steps that are about to be made again, and what a killed run left half-written."""
    if not path.is_file():
        return
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines(keepends=True)
    kept = path.with_name(".metrics.jsonl")
    kept.write_text("".join(line for line in lines if _step(line) < first), encoding="utf-8")
    kept.replace(path)


def _step(line: str) -> float:
    """The step of a line; of one that is broken, a step that never comes."""
    try:
        step = json.loads(line)["step"] if line.endswith("\n") else None
    except (ValueError, KeyError, TypeError):
        step = None
    return step if isinstance(step, int) else float("inf")
