"""Table VIII: a box for a phrase, by VRSBench's own rule and by the continuous IoU (§V-E)."""

from __future__ import annotations

import re
from typing import Final

from geopix.evaluate.answers import Given
from geopix.evaluate.metrics import box_iou
from geopix.evaluate.probe import Probe, Units, box_units
from geopix.evaluate.sums import Sums
from geopix.evaluate.table import Row
from geopix.records import Box

COLUMNS: Final = ("+1 pixel rule", "continuous IoU")
PROTOCOL: Final = (
    "the first box of the answer; where it has none, the first four whole numbers in its words, as hundredths of width "
    "and height. +1 pixel rule: VRSBench's own, on hundredths with both ends counted in, which flatters small boxes. "
    "A hit is an IoU of at least the threshold; an answer without a box is a miss. In percent, with the 95 % interval "
    "of 2,000 draws of images"
)
AT: Final = (0.5, 0.7)


class Tally:
    """Scores boxes one at a time.

    Args:
        twins: Keys of images that show what a training image shows.
    """

    def __init__(self, twins: frozenset[str] = frozenset()) -> None:
        self.twins = twins
        self.sums = {column: Sums() for column in COLUMNS}

    def add(self, probe: Probe, answer: Given) -> None:
        """Score a question."""
        assert probe.box is not None
        assert probe.units is not None
        units, box = said(answer, probe.size_hw)
        found = {
            COLUMNS[0]: 0.0 if units is None else whole_iou(units, probe.units),
            COLUMNS[1]: 0.0 if box is None else box_iou(box, probe.box),
        }
        parts = ["all", *([] if probe.unique is None else ["unique" if probe.unique else "non-unique"])]
        if self.twins and probe.image_key not in self.twins:
            parts.append("without twins of training images")
        for column, iou in found.items():
            for part in parts:
                for t in AT:
                    self.sums[column].add(f"A@{t}, {part}", probe, float(iou >= t), 1.0)
            self.sums[column].add("mean IoU", probe, iou, 1.0)
        self.sums[COLUMNS[0]].add("answers without a box", probe, float(units is None), 1.0)

    def rows(self) -> tuple[Row, ...]:
        """The table's rows, a cell for each of `COLUMNS`."""
        parts = ("unique", "non-unique", "all", "without twins of training images")
        names = [*(f"A@{t}, {part}" for part in parts for t in AT), "mean IoU", "answers without a box"]
        made = (Row(name, tuple(self.sums[column].measure(name) for column in COLUMNS)) for name in names)
        return tuple(row for row in made if any(cell is not None for cell in row.cells))


def said(answer: Given, size_hw: tuple[int, int]) -> tuple[Units | None, Box | None]:
    """An answer's box in whole hundredths and in pixels; None and None where it has none."""
    if answer.boxes:
        return box_units(answer.boxes[0], size_hw), answer.boxes[0]
    # VRSBench takes any digits, and no more than nine of them are a number that anyone meant.
    numbers = [int(one) for one in re.findall(r"\d+", answer.text, re.ASCII)[:4] if len(one) <= 9]
    if len(numbers) < 4:
        return None, None
    height, width = size_hw
    x1, y1, x2, y2 = numbers
    return (x1, y1, x2, y2), (x1 * width / 100, y1 * height / 100, x2 * width / 100, y2 * height / 100)


def whole_iou(predicted: Units, true: Units) -> float:
    """The IoU of boxes of whole numbers whose both ends belong to them: the +1 rule. 0 for a box turned inside out."""
    width = min(predicted[2], true[2]) - max(predicted[0], true[0]) + 1
    height = min(predicted[3], true[3]) - max(predicted[1], true[1]) + 1
    shared = max(0, width) * max(0, height)
    areas = [max(0, box[2] - box[0] + 1) * max(0, box[3] - box[1] + 1) for box in (predicted, true)]
    union = sum(areas) - shared
    return shared / union if shared and union > 0 else 0.0
