"""Table III: several referred masks, by three protocols side by side, per class, per size, and calibrated (§V-B).

A question adds one row of sums to every number, so memory grows with questions, not with masks or pixels.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Final, Literal, TypeAlias

import numpy as np

from geopix.evaluate.answers import Given
from geopix.evaluate.masks import Held, Stack, stack
from geopix.evaluate.metrics import THRESHOLDS, Pairing, pairs_of, score_shared
from geopix.evaluate.probe import Probe
from geopix.evaluate.sums import Sums
from geopix.evaluate.table import Cell, Row

Protocol: TypeAlias = Literal["AR-H", "AR-O", "TF"]
PROTOCOLS: Final[tuple[Protocol, ...]] = ("AR-H", "AR-O", "TF")
PAIRINGS: Final[dict[Protocol, Pairing]] = {"AR-H": "best", "AR-O": "order", "TF": "order"}
PROTOCOL: Final = (
    "masks at the image's own size. AR-H (the headline): the system writes its answer itself; its masks are paired "
    "with the true ones for the greatest total IoU, and a missing or extra mask counts as zero. AR-O: paired in the "
    "order spoken; the last mask stands in for missing ones, extra ones are not counted. TF: the true words are given "
    "(so the number of masks is right, and phrases name their classes), each mask is held against the one its words "
    "are about. In percent, with the 95 % interval of 2,000 draws of images"
)
NOT_GIVEN: Final = "not given"
"""In TF's place, where nobody drew with the true words given: other systems' answers."""
SIZES: Final = (
    ("theta below 0.1 %", 0.001),
    ("theta 0.1 to 1 %", 0.01),
    ("theta 1 to 10 %", 0.1),
    ("theta above 10 %", 2.0),
)
"""Bins of the share of its image that an object covers (Fig. 4), each with its upper edge, which is not in it."""
QUERY: Final = "class right, by Q_c alone"
"""Of the masks with the true words given: Q_c, predicted before anyone reads the words' class, puts more than half of
its probability on the true one (so never more than by its likeliest class)."""
BINS: Final = 10
"""Of the predicted IoU, for calibration; the last one holds 1."""


class Tally:
    """Scores answers one at a time.

    Args:
        twins: Keys of images that show what a training image shows.
    """

    def __init__(self, twins: frozenset[str] = frozenset()) -> None:
        self.twins = twins
        self.sums = {protocol: Sums() for protocol in PROTOCOLS}

    def add(self, probe: Probe, answer: Given, told: Given | None = None) -> None:
        """Score a question.

        Args:
            probe: What was asked.
            answer: What the system said by itself.
            told: What it drew with the true words given, or None.

        Raises:
            ValueError: If a mask is not one of the image's size.
        """
        free = self.sums["AR-H"]
        if probe.kind == "absent":
            refused = not answer.masks
            free.add("absent objects refused", probe, float(refused), 1.0)
            free.add("mIoU with absent objects, nothing meant and nothing said is 1", probe, float(refused), 1.0)
            free.add("mIoU with absent objects, nothing meant and nothing said is 0", probe, 0.0, 1.0)
            return
        true = stack([one.counts for one in probe.truth], probe.size_hw)
        predicted = stack(answer.masks, probe.size_hw)
        free.add("present objects refused", probe, float(not answer.masks), 1.0)
        free.add("number of masks right", probe, float(len(answer.masks) == len(probe.truth)), 1.0)
        free.add("extra masks", probe, max(0, len(answer.masks) - len(probe.truth)), len(answer.masks))
        held = Held(predicted, true)
        _add("AR-H", held, probe, free, self.twins, answer.scores)
        _add("AR-O", held, probe, self.sums["AR-O"], self.twins)
        if told is not None:
            _add("TF", Held(stack(told.masks, probe.size_hw), true), probe, self.sums["TF"], self.twins)
            _query(probe, self.sums["TF"], told)

    def rows(self) -> tuple[Row, ...]:
        """The table's rows, a cell for each of `PROTOCOLS`; a number nobody could add to is left out."""
        names: list[tuple[str, str, str]] = [
            ("mIoU, mean over masks", "masks", "ratio"),
            ("mIoU, mean over questions", "questions", "ratio"),
            ("cIoU", "questions", "ratio"),
            *((f"P@{t}, IoU {sign} {t}", "masks", "ratio") for t in THRESHOLDS for sign in ("≥", ">")),
            ("boundary IoU", "masks", "ratio"),
            ("mIoU over questions, referred objects", "questions", "ratio"),
            ("mIoU over questions, all of a class", "questions", "ratio"),
            ("mIoU with absent objects, nothing meant and nothing said is 1", "questions", "ratio"),
            ("mIoU with absent objects, nothing meant and nothing said is 0", "questions", "ratio"),
            ("mIoU over masks, without twins of training images", "masks", "ratio"),
            ("number of masks right", "questions", "ratio"),
            ("extra masks", "masks", "ratio"),
            ("absent objects refused", "questions", "ratio"),
            ("present objects refused", "questions", "ratio"),
            *((f"IoU, {name}", "masks", "ratio") for name, _ in SIZES),
            *((name, "masks", "ratio") for name in self._named("IoU of ")),
            (QUERY, "masks", "ratio"),
            ("error of the predicted IoU", "masks", "ratio"),
            ("ECE of the predicted IoU, against the IoU", "masks", "ece"),
            ("ECE of the predicted IoU, against IoU ≥ 0.5", "masks", "ece"),
        ]
        made = (Row(name, self._cells(name, unit, how)) for name, unit, how in names)
        return tuple(row for row in made if any(cell is not None for cell in row.cells))

    def _cells(self, name: str, unit: str, statistic: str) -> tuple[Cell, ...]:
        free, order, told = (self.sums[one].measure(name, unit, statistic) for one in PROTOCOLS)
        return free, order, NOT_GIVEN if told is None and order is not None else told

    def _named(self, start: str) -> list[str]:
        return sorted({name for sums in self.sums.values() for name in sums.rows if name.startswith(start)})


def _add(
    protocol: Protocol,
    held: Held,
    probe: Probe,
    sums: Sums,
    twins: frozenset[str],
    scores: Sequence[float | None] = (),
) -> None:
    """What a question adds to all numbers of a protocol."""
    pairing, true = PAIRINGS[protocol], held.true
    score, pairs = score_shared(held.shared, held.predicted.areas, true.areas, pairing), pairs_of(held.ious, pairing)
    values = np.array(score.ious)
    n = float(len(values))
    sums.add("mIoU, mean over masks", probe, float(values.sum()), n)
    sums.add("mIoU, mean over questions", probe, score.mean_iou, 1.0)
    part = "referred objects" if probe.kind == "referred" else "all of a class"
    sums.add(f"mIoU over questions, {part}", probe, score.mean_iou, 1.0)
    sums.add("cIoU", probe, score.intersection_px, score.union_px)
    if probe.image_key not in twins and twins:
        sums.add("mIoU over masks, without twins of training images", probe, float(values.sum()), n)
    for t in THRESHOLDS:
        sums.add(f"P@{t}, IoU ≥ {t}", probe, float((values >= t).sum()), n)
        sums.add(f"P@{t}, IoU > {t}", probe, float((values > t).sum()), n)
    sums.add("boundary IoU", probe, sum(held.boundary_iou(*pair) for pair in pairs), n)
    for start, labels in (("IoU of ", [one.class_name for one in probe.truth]), ("IoU, ", _sizes(true))):
        found: dict[str, list[float]] = defaultdict(lambda: [0.0, 0.0])
        for label in labels:
            found[label][1] += 1
        for row, column in pairs:
            found[labels[column]][0] += float(held.ious[row, column])
        for label, (total, count) in sorted(found.items()):
            sums.add(f"{start}{label}", probe, total, count)
    if protocol == "AR-H":
        sums.add("mIoU with absent objects, nothing meant and nothing said is 1", probe, score.mean_iou, 1.0)
        sums.add("mIoU with absent objects, nothing meant and nothing said is 0", probe, score.mean_iou, 1.0)
        came = dict.fromkeys(range(len(scores)), 0.0) | {row: float(held.ious[row, column]) for row, column in pairs}
        _calibrate(probe, sums, [(said, came[row]) for row, said in enumerate(scores) if said is not None])


def _query(probe: Probe, sums: Sums, told: Given) -> None:
    """Whether Q_c knows the class of every mask."""
    if any(chance is None for _, chance in told.classes) or len(told.classes) != len(probe.truth):
        return
    pairs = zip(told.classes, probe.truth, strict=True)
    right = sum(name == truth.class_name and (chance or 0.0) > 0.5 for (name, chance), truth in pairs)
    sums.add(QUERY, probe, float(right), float(len(probe.truth)))


def _sizes(true: Stack) -> list[str]:
    height, width = true.size_hw
    return [next(name for name, edge in SIZES if area / (height * width) < edge) for area in true.areas]


def _calibrate(probe: Probe, sums: Sums, pairs: Sequence[tuple[float, float]]) -> None:
    """Predicted IoU of every mask against what it came to; an extra mask came to nothing."""
    if not pairs:
        return
    said, came = np.array(pairs).T
    sums.add("error of the predicted IoU", probe, float(np.abs(said - came).sum()), len(pairs))
    places = np.minimum((said * BINS).astype(int), BINS - 1)
    for name, truth in (("the IoU", came), ("IoU ≥ 0.5", came >= 0.5)):
        off = np.bincount(places, weights=said - truth, minlength=BINS)
        sums.add(f"ECE of the predicted IoU, against {name}", probe, *map(float, off), float(len(pairs)))
