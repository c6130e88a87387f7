"""Descriptions from a file: answers kept by an earlier run, or written by anybody (§IV-C)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from geopix.data.describe.reply import descriptions
from geopix.data.describe.task import StopError, Task, UnansweredError


class Replay:
    """Gives every image the answers that a file holds for it, one after another.

    A line of the file is JSON with "key", the image's key in its set, and "content", an answer in the form that
    models are asked for: {"descriptions": [{"index": 0, "description": "the ship ..."}]}, as an object or as text.

    Args:
        path: The file.

    Raises:
        StopError: If it is no such file.
        OSError: If it can't be read.
    """

    learns = True

    def __init__(self, path: Path) -> None:
        self.name = f"replay of {path.name}"
        self._path = path
        self._places: dict[str, list[int]] = {}
        with path.open("rb") as file:
            place = 0
            for number, line in enumerate(file, start=1):
                if line.strip():
                    self._places.setdefault(_line(line, path, number)["key"], []).append(place)
                place += len(line)

    def describe(self, task: Task) -> dict[int, tuple[str, ...]]:
        """See `geopix.data.describe.task.Describer`; every fault told so far has used up an answer."""
        places = self._places.get(task.entry.key, [])
        turn = task.turn
        if turn >= len(places):
            raise UnansweredError("file holds no answer")
        with self._path.open("rb") as file:
            file.seek(places[turn])
            content = _line(file.readline(), self._path, 0)["content"]
        text = content if isinstance(content, str) else json.dumps(content)
        said = descriptions(text, task.wanted, allowed=range(len(task.entry.objects)))
        return {index: (words,) for index, words in said.items()}

    def stop(self) -> None:
        """Nothing is ever under way."""


def _line(line: bytes, path: Path, number: int) -> dict[str, Any]:
    try:
        raw = json.loads(line)
        if isinstance(raw["key"], str) and isinstance(raw["content"], (str, dict)):
            return dict(raw)
        problem = 'its "key" is no text or its "content" no answer'
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        problem = f"{type(error).__name__}: {error}"
    raise StopError(f'{path} line {number} is no answer like {{"key": ..., "content": ...}} ({problem})')
