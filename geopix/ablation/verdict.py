"""Whether a row's difference is real: paired by question, over images and over seeds (§V-F); pure functions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.stats import t as student

from geopix.evaluate.metrics import Floats, Interval, bootstrap, cumulative_iou_of, paired_difference

Verdict = Literal["better", "worse", "no difference shown"]

RULE = (
    "A difference is called real where two 95 % intervals of the mean IoU's difference leave zero out on one side: "
    "by bootstrap over images (2,000 draws, the seeds' mean paired by question), and of the seeds (Student's t of one "
    "mean difference a seed; rows without training have no such part). With one seed nothing trained is called real."
)


@dataclass(frozen=True)
class Scores:
    """A row's scores: ``ious`` (seeds, questions) in 0..1, ``pixels`` (seeds, questions, 2) shared and in unions."""

    ious: Floats
    pixels: NDArray[np.float64]

    def some(self, seeds: Sequence[int]) -> Scores:
        """Chosen seeds, by place."""
        return Scores(self.ious[list(seeds)], self.pixels[list(seeds)])


@dataclass(frozen=True)
class Comparison:
    """A row minus another: intervals over images, of mean IoU also ``over_seeds`` (None with fewer than two)."""

    miou: Interval
    ciou: Interval
    by_seed: tuple[float, ...]
    over_seeds: Interval | None
    verdict: Verdict


def summary(scores: Scores, images: Sequence[str]) -> tuple[Interval, Interval]:
    """mIoU and cIoU of a row, its seeds taken together, with intervals over images."""
    return bootstrap(scores.ious.mean(axis=0), images), bootstrap(scores.pixels.sum(axis=0), images, cumulative_iou_of)


def compare(ours: Scores, theirs: Scores, images: Sequence[str], trained: bool) -> Comparison:
    """Hold a row against another, seed by seed and question by question.

    Args:
        ours, theirs: Of the same seeds and questions.
        images: The image of every question.
        trained: Whether the rows come from training runs, whose luck counts.

    Raises:
        ValueError: If the two differ in shape, or are not one image for every question.
    """
    if ours.ious.shape != theirs.ious.shape:
        raise ValueError(
            f"rows of different seeds or questions can't be paired: {ours.ious.shape}, {theirs.ious.shape}"
        )
    miou = paired_difference(ours.ious.mean(axis=0), theirs.ious.mean(axis=0), images)
    both = np.concatenate([ours.pixels.sum(axis=0), theirs.pixels.sum(axis=0)], axis=1)
    ciou = bootstrap(both, images, lambda rows: cumulative_iou_of(rows[:, :2]) - cumulative_iou_of(rows[:, 2:]))
    by_seed = (ours.ious - theirs.ious).mean(axis=1)
    over_seeds = _over_seeds(by_seed)
    intervals = [miou] if not trained else [miou, over_seeds]
    return Comparison(miou, ciou, tuple(map(float, by_seed)), over_seeds, _verdict(intervals))


def _over_seeds(differences: Floats) -> Interval | None:
    n = len(differences)
    if n < 2:
        return None
    mean, spread = float(differences.mean()), float(differences.std(ddof=1))
    reach = float(student.ppf(0.975, n - 1)) * spread / n**0.5
    return Interval(mean, mean - reach, mean + reach)


def _verdict(intervals: Sequence[Interval | None]) -> Verdict:
    if all(one is not None and one.low > 0 for one in intervals):
        return "better"
    if all(one is not None and one.high < 0 for one in intervals):
        return "worse"
    return "no difference shown"
