"""How masks and boxes are scored (§V, Tables III-V and IX): pure functions on arrays, no model and no files.

The headline protocol is AR-H: the model writes its answer freely, its masks are paired with the true ones by the
assignment of greatest total IoU, and a missing or an extra mask counts as zero. Everything is computed at the
original resolution of the image, and deterministic.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import linear_sum_assignment

from geopix.records import Box

Masks: TypeAlias = NDArray[np.bool_]
"""(n, H, W) bool; (0, H, W) where there are none."""

Floats: TypeAlias = NDArray[np.float64]

Counts: TypeAlias = NDArray[np.int64]
"""Pixels."""

Pairing: TypeAlias = Literal["best", "order"]
"""Which predicted mask answers for which true one: the assignment of greatest total IoU (AR-H), or the order in which
they were spoken (AR-O), where the last one stands in for those that are missing and what is too much is not counted."""

THRESHOLDS = (0.5, 0.6, 0.7, 0.8, 0.9)
DRAWS = 2000


@dataclass(frozen=True, slots=True)
class QuestionScore:
    """One question's masks against the truth.

    Args:
        ious: One IoU in 0..1 for every matched pair, in the order of the true masks, then a 0 for every missing and
            every extra mask: ``max(n_predicted, n_true)`` values; empty where nothing was meant and nothing predicted.
            By order, ``n_true`` values: extra masks are not counted.
        intersection_px: Pixels shared by the matched pairs, summed.
        union_px: Pixels of the matched pairs' unions, summed, plus the areas of the missing and the extra masks.
        n_predicted: Masks in the answer.
        n_true: Masks in the truth.
    """

    ious: tuple[float, ...]
    intersection_px: int
    union_px: int
    n_predicted: int
    n_true: int

    @property
    def mean_iou(self) -> float:
        """The question's score in 0..1: the mean over ``max(n_predicted, n_true)`` masks.

        Nothing meant and nothing predicted is the right answer and scores 1, as in LISA and GRES; anything predicted
        where nothing was meant scores 0.
        """
        return float(np.mean(self.ious)) if self.ious else 1.0

    @property
    def count_is_right(self) -> bool:
        """True where the answer holds as many masks as the truth."""
        return self.n_predicted == self.n_true

    @property
    def n_extra(self) -> int:
        """Masks beyond the number meant."""
        return max(0, self.n_predicted - self.n_true)


@dataclass(frozen=True, slots=True)
class Interval:
    """A value with its bootstrap interval."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.3f} [{self.low:.3f}, {self.high:.3f}]"


def intersections(predicted: Masks, true: Masks) -> Counts:
    """Pixels shared by every pair: (P, H, W) and (T, H, W) bool -> (P, T).

    Raises:
        ValueError: If the arrays are not bool stacks of masks of one size.
    """
    for name, masks in (("predicted", predicted), ("true", true)):
        if masks.ndim != 3 or masks.dtype != np.bool_:
            raise ValueError(f"{name} masks are a (n, H, W) bool array, not {masks.dtype} of shape {masks.shape}")
    if predicted.shape[1:] != true.shape[1:]:
        raise ValueError(f"predicted masks of {predicted.shape[1:]} cannot be scored against {true.shape[1:]} pixels")
    shared = np.zeros((len(predicted), len(true)), dtype=np.int64)
    for row, mask in enumerate(predicted):
        shared[row] = np.count_nonzero(true & mask, axis=(1, 2))
    return shared


def match(ious: Floats) -> list[tuple[int, int]]:
    """The one-to-one pairs (predicted, true) of greatest total IoU, in the order of the true masks.

    (P, T) IoUs -> min(P, T) pairs. A pair that shares no pixel is kept: it counts as zero either way. Exact and
    deterministic, where PixelLM's matching samples points at random.
    """
    rows, columns = linear_sum_assignment(ious, maximize=True)
    return sorted(zip(rows.tolist(), columns.tolist(), strict=True), key=lambda pair: pair[1])


def score_question(predicted: Masks, true: Masks) -> QuestionScore:
    """AR-H for one question: optimal matching; missing and extra masks count as zero.

    Args:
        predicted: (P, H, W) bool.
        true: (T, H, W) bool.

    Raises:
        ValueError: If the arrays are not bool stacks of masks of one size.
    """
    return score_shared(intersections(predicted, true), _areas(predicted), _areas(true))


def score_shared(
    shared: Counts, areas_predicted: Counts, areas_true: Counts, pairing: Pairing = "best"
) -> QuestionScore:
    """The same from numbers of pixels alone, as run lengths give them without being drawn.

    Args:
        shared: (P, T) pixels that every pair shares.
        areas_predicted: (P,).
        areas_true: (T,).
        pairing: See `Pairing`.
    """
    n_predicted, n_true = shared.shape
    ious = shared_ious(shared, areas_predicted, areas_true)
    pairs = pairs_of(ious, pairing)
    intersection = sum(int(shared[pair]) for pair in pairs)
    wanted = n_true if pairing == "order" else max(n_predicted, n_true)
    counted = areas_predicted
    if pairing == "order":
        counted = areas_predicted[[row for row, _ in pairs]]
    return QuestionScore(
        ious=(*(float(ious[pair]) for pair in pairs), *[0.0] * (wanted - len(pairs))),
        intersection_px=intersection,
        # Over all masks, paired or not: areas minus what pairs share is the sum of unions plus the areas left over.
        union_px=int(counted.sum() + areas_true.sum()) - intersection,
        n_predicted=n_predicted,
        n_true=n_true,
    )


def pairs_of(ious: Floats, pairing: Pairing) -> list[tuple[int, int]]:
    """The pairs (predicted, true) that are scored, in the order of the true masks: (P, T) IoUs -> pairs."""
    if pairing == "best":
        return match(ious)
    n_predicted, n_true = ious.shape
    return [(min(place, n_predicted - 1), place) for place in range(n_true)] if n_predicted else []


def mean_iou(scores: Sequence[QuestionScore]) -> float:
    """The headline: the mean of the questions' scores. NaN for no questions."""
    return float(np.mean([score.mean_iou for score in scores])) if scores else float("nan")


def pooled_ious(scores: Sequence[QuestionScore]) -> Floats:
    """Every mask's IoU, zeros for missing and extra ones, of all questions in one list: the per-mask mean's terms."""
    return np.array([iou for score in scores for iou in score.ious], dtype=np.float64)


def cumulative_iou(scores: Sequence[QuestionScore]) -> float:
    """cIoU (overall IoU): all shared pixels over all pixels of the unions. Large objects dominate it.

    NaN where no question has a pixel on either side.
    """
    union = sum(score.union_px for score in scores)
    return sum(score.intersection_px for score in scores) / union if union else float("nan")


def box_iou(predicted: Box, true: Box) -> float:
    """The IoU in 0..1 of two boxes (x_min, y_min, x_max, y_max) with continuous edges; 0 where both are empty."""
    width = min(predicted[2], true[2]) - max(predicted[0], true[0])
    height = min(predicted[3], true[3]) - max(predicted[1], true[1])
    shared = max(0.0, width) * max(0.0, height)
    union = _box_area(predicted) + _box_area(true) - shared
    return shared / union if union > 0 else 0.0


def mean(values: Floats) -> float:
    """The arithmetic mean; the default statistic of `bootstrap`."""
    return float(values.mean())


def bootstrap(
    values: ArrayLike,
    images: Sequence[Hashable],
    statistic: Callable[[Floats], float] = mean,
    draws: int = DRAWS,
    seed: int = 0,
) -> Interval:
    """The percentile 95 % interval of a statistic, resampling images: questions about one image are not independent.

    Args:
        values: (n,) or (n, k) numbers, one row per question (or per mask).
        images: The image of each row.
        statistic: What is computed from the rows of a draw.
        draws: How many resamples.
        seed: Of the resampling.

    Raises:
        ValueError: If there are no rows, or not one image for each.
    """
    rows = np.asarray(values, dtype=np.float64)
    if not len(rows) or len(rows) != len(images):
        raise ValueError(f"a bootstrap needs one image for each of at least one value: {len(rows)} and {len(images)}")
    members: dict[Hashable, list[int]] = {}
    for index, image in enumerate(images):
        members.setdefault(image, []).append(index)
    clusters = [rows[indices] for indices in members.values()]
    random = np.random.default_rng(seed)
    drawn = [
        statistic(np.concatenate([clusters[pick] for pick in random.integers(len(clusters), size=len(clusters))]))
        for _ in range(draws)
    ]
    low, high = np.percentile(drawn, (2.5, 97.5))
    return Interval(statistic(rows), float(low), float(high))


def paired_difference(
    ours: ArrayLike, theirs: ArrayLike, images: Sequence[Hashable], draws: int = DRAWS, seed: int = 0
) -> Interval:
    """The mean of ``ours - theirs`` on the same questions, with its interval; an interval above 0 is a gain.

    Raises:
        ValueError: If the two lists, or the images, differ in length, or are empty.
    """
    mine, other = np.asarray(ours, dtype=np.float64), np.asarray(theirs, dtype=np.float64)
    if mine.shape != other.shape:
        raise ValueError(f"a paired difference needs the same questions on both sides: {mine.shape} and {other.shape}")
    return bootstrap(mine - other, images, draws=draws, seed=seed)


def cumulative_iou_of(rows: Floats) -> float:
    """cIoU of (n, 2) rows of (intersection_px, union_px): the statistic that bootstraps `cumulative_iou`."""
    shared, union = rows.sum(axis=0)
    return float(shared / union) if union else float("nan")


def _areas(masks: Masks) -> Counts:
    return np.asarray(np.count_nonzero(masks, axis=(1, 2)), dtype=np.int64)


def shared_ious(shared: Counts, predicted: Counts, true: Counts) -> Floats:
    """IoUs (P, T) of shared pixels (P, T) and areas (P,), (T,); 0 for a pair of empty masks."""
    unions = predicted[:, None] + true[None, :] - shared
    ious = np.zeros(shared.shape)
    np.divide(shared, unions, out=ious, where=unions > 0)
    return ious


def _box_area(box: Box) -> float:
    return max(0.0, box[2] - box[0]) * max(0.0, box[3] - box[1])
