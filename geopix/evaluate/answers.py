"""Anyone's answers in our JSONL (docs/answer.schema.json), read one at a time and believed in nothing (§V)."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from geopix.records import Answer, Box, run_lengths

LONGEST_LINE = 50_000_000
"""Bytes of an answer that are read: hundreds of masks of large images."""
MOST_INSTANCES = 1_000
"""Instances of an answer that are read; the others are counted and left out."""
_SHORTEST_MODEL = "a system that gives no name"

Sizes: TypeAlias = Mapping[str, tuple[int, int]]


class AnswersError(ValueError):
    """A file of answers that can't be scored as a whole."""


@dataclass(frozen=True, slots=True)
class Given:
    """One answer, as far as it is scored.

    Args:
        text: Its words.
        masks: COCO's run lengths of every instance that has a mask, all of the image's size.
        scores: Predicted IoU of each, or None.
        boxes: Boxes in pixels of the instances without a mask, or of all where none has one.
        classes: Of every instance that has a mask its class, and the probability that Q_c gave it or None.
    """

    text: str = ""
    masks: tuple[str, ...] = ()
    scores: tuple[float | None, ...] = ()
    boxes: tuple[Box, ...] = ()
    classes: tuple[tuple[str, float | None], ...] = ()


NOTHING = Given()
"""What who does not answer has said."""


def given(answer: Answer, problems: Counter[str]) -> Given:
    """An answer of our own model, by the same road as everyone's."""
    return from_json(answer.to_json(), answer.size_hw, problems)


def from_json(raw: Mapping[str, Any], size_hw: tuple[int, int], problems: Counter[str]) -> Given:
    """An answer's JSON, cleared of what is wrong with it.

    A mask that can't be read counts as a mask of nothing: it was predicted, and is wrong.

    Args:
        raw: The line.
        size_hw: Of the image that was asked about.
        problems: Told what was wrong, by kind.
    """
    if raw.get("error") is not None:
        problems["answers that are errors, scored as no answer"] += 1
        return NOTHING
    instances, said = raw.get("instances"), raw.get("text")
    if not isinstance(instances, list):
        problems['answers without a list of "instances", scored as words alone'] += 1
        instances = []
    if len(instances) > MOST_INSTANCES:
        problems[f"instances beyond the first {MOST_INSTANCES:,} of an answer, left out"] += (
            len(instances) - MOST_INSTANCES
        )
    masks, scores, boxes, classes = [], [], [], []
    for one in instances[:MOST_INSTANCES]:
        if not isinstance(one, dict):
            problems["instances that are no object, left out"] += 1
            continue
        box = _box(one.get("bbox_xyxy_px"), problems)
        if box is not None:
            boxes.append(box)
        if one.get("mask") is not None:
            masks.append(_mask(one["mask"], size_hw, problems))
            scores.append(_score(one.get("score"), problems))
            classes.append((str(one.get("class")), _score(one.get("class_score"), problems)))
    return Given(said if isinstance(said, str) else "", tuple(masks), tuple(scores), tuple(boxes), tuple(classes))


class Answers:
    """A file of answers; of what it holds only ids and places are kept.

    Args:
        path: One answer a line, in any order.
        sizes: Id -> height and width of the image, of everything that was asked.

    Raises:
        AnswersError: If it holds no answer to anything that was asked.
        OSError: If it can't be read.
    """

    def __init__(self, path: Path, sizes: Sizes) -> None:
        self.path, self.sizes = path, sizes
        self.problems: Counter[str] = Counter()
        self.models: Counter[str] = Counter()
        self._places: dict[str, int] = {}
        with path.open("rb") as file:
            while True:
                place, line = file.tell(), file.readline(LONGEST_LINE + 1)
                if not line:
                    break
                if len(line) > LONGEST_LINE:
                    self.problems[f"lines longer than {LONGEST_LINE:,} bytes, left out"] += 1
                    while line and not line.endswith(b"\n"):
                        line = file.readline(LONGEST_LINE)
                elif line.strip(b"\xef\xbb\xbf \t\r\n"):
                    self._index(place, line)
        if not self._places:
            told = "; ".join(f"{n:,} {what}" for what, n in self.problems.items()) or "it is empty"
            raise AnswersError(
                f"{path} holds no answer to these questions ({told}); answer the questions of this table, by id, "
                "one line of JSON each, as docs/answer.schema.json has it"
            )
        missing = len(sizes) - len(self._places)
        if missing:
            self.problems["questions without an answer, scored as no answer"] += missing

    def of(self, id: str) -> Given:
        """The answer to a question; `NOTHING` where there is none.

        Raises:
            AnswersError: If the file has changed since it was opened.
        """
        if id not in self._places:
            return NOTHING
        with self.path.open("rb") as file:
            file.seek(self._places[id])
            raw = _parsed(file.readline(LONGEST_LINE))
        if raw is None or _id(raw) != id:
            raise AnswersError(f"{self.path} was changed while it was read; wait until it is written, and run again")
        return from_json(raw, self.sizes[id], self.problems)

    def _index(self, place: int, line: bytes) -> None:
        raw = _parsed(line)
        key = None if raw is None else _id(raw)
        if raw is None:
            broken = "last lines cut short" if not line.endswith(b"\n") else "lines that are no JSON object"
            self.problems[f"{broken}, left out"] += 1
        elif key is None:
            self.problems['lines without an "id", left out'] += 1
        elif key not in self.sizes:
            self.problems["answers to questions that were not asked, left out"] += 1
        elif key in self._places:
            self.problems["second answers to one question, left out (the first counts)"] += 1
        else:
            self._places[key] = place
            name = raw.get("model")
            self.models[name if isinstance(name, str) and name else _SHORTEST_MODEL] += 1


def _parsed(line: bytes) -> dict[str, Any] | None:
    try:
        raw = json.loads(line.decode("utf-8-sig"))
    except (ValueError, RecursionError):
        return None
    return raw if isinstance(raw, dict) else None


def _id(raw: Mapping[str, Any]) -> str | None:
    key = raw.get("id")
    if isinstance(key, int) and not isinstance(key, bool):
        return str(key)
    return key if isinstance(key, str) and key else None


def _mask(raw: Any, size_hw: tuple[int, int], problems: Counter[str]) -> str:
    height, width = size_hw
    nothing = _empty(height * width)
    try:
        size, counts = list(raw["size"]), raw["counts"]
        if size != [height, width]:
            problems["masks of another size than their image, scored as empty"] += 1
            return nothing
        if not isinstance(counts, str):
            raise TypeError("counts are no text")
        run_lengths(counts, size_hw)
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError):
        problems["masks whose run lengths are invalid, scored as empty"] += 1
        return nothing
    return str(counts)


def _empty(pixels: int) -> str:
    """COCO's text of one run that is outside: five bits a character, the sixth where more follow."""
    letters = ""
    while True:
        bits, pixels = pixels & 31, pixels >> 5
        more = pixels != 0 or bits & 16 != 0  # bit 16 of the last letter is the sign
        letters += chr(48 + bits + 32 * more)
        if not more:
            return letters


def _score(raw: Any, problems: Counter[str]) -> float | None:
    if raw is None:
        return None
    if isinstance(raw, bool) or not isinstance(raw, (int, float)) or not 0.0 <= raw <= 1.0:  # NaN is neither
        problems["scores that are no number in 0..1, left out"] += 1
        return None
    return float(raw)


def _box(raw: Any, problems: Counter[str]) -> Box | None:
    if raw is None:
        return None
    try:
        x1, y1, x2, y2 = (float(value) for value in raw)
        if not all(map(math.isfinite, (x1, y1, x2, y2))) or x2 < x1 or y2 < y1:
            raise ValueError("not a box")
    except (ValueError, TypeError, OverflowError):
        problems["boxes that are not four ordered numbers, left out"] += 1
        return None
    return x1, y1, x2, y2
