"""A number of a table with what it is made of: one row a sample, an interval over images (§V).

Every number here depends on its samples only through sums over them (a mean, a ratio of sums, a mean of groups'
means), so that a resampled image costs one multiplication and two tables can be compared sample by sample later on.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from geopix.evaluate.metrics import DRAWS, Floats, Interval

UInt16: TypeAlias = NDArray[np.uint16]
_DRAWS_AT_ONCE = 200
_MOST_KEPT = 40_000_000
"""Images times draws that are kept from one number to the next, two bytes each."""


class MeasureError(ValueError):
    """Samples that make no number, or two numbers that can't be compared."""


def ratio(sums: Floats) -> Floats:
    """(..., 2) sums -> the first over the second; NaN over 0. The mean of values is this with ones beside them."""
    return _divided(sums[..., 0], sums[..., 1])


def macro(sums: Floats) -> Floats:
    """(..., 2 g) sums, of every group its total and its number -> the mean of the means of groups that are there."""
    means = _divided(sums[..., 0::2], sums[..., 1::2])
    there = ~np.isnan(means)
    return _divided(np.where(there, means, 0.0).sum(axis=-1), there.sum(axis=-1).astype(np.float64))


def ece(sums: Floats) -> Floats:
    """(..., bins + 1) sums: of every bin what was predicted minus what came, then how many -> the expected error."""
    return _divided(np.abs(sums[..., :-1]).sum(axis=-1), sums[..., -1])


def bleu(sums: Floats) -> Floats:
    """(..., 2 n + 2) sums: n-grams that match for 1 to n, n-grams, words, words of the closest reference -> BLEU-n."""
    n = sums.shape[-1] // 2 - 1
    shares = (sums[..., :n] + 1e-15) / (sums[..., n : 2 * n] + 1e-9)  # pycocoevalcap's, so nothing is divided by zero
    length = (sums[..., -2] + 1e-15) / (sums[..., -1] + 1e-9)
    return np.asarray(np.prod(shares, axis=-1) ** (1 / n) * np.exp(np.minimum(0.0, 1 - 1 / length)))


def meteor(sums: Floats) -> Floats:
    """(..., 23) sums of METEOR 1.5's counts -> METEOR (English) of the corpus, as its own program adds them up.

    Denkowski and Lavie 2014: words matched as they are, by stem, by synonym and by paraphrase weigh 1, 0.6, 0.8, 0.6,
    function words a quarter of a content word's three; alpha 0.85, beta 0.2, gamma 0.6.
    """
    kinds = sums[..., 4:20].reshape(*sums.shape[:-1], 4, 4)
    matches = np.einsum("k,...kc->...c", np.array([1.0, 0.6, 0.8, 0.6]), kinds)  # content said, true; function words
    said = 0.75 * (sums[..., 0] - sums[..., 2]) + 0.25 * sums[..., 2]
    true = 0.75 * (sums[..., 1] - sums[..., 3]) + 0.25 * sums[..., 3]
    precision = np.nan_to_num(_divided(0.75 * matches[..., 0] + 0.25 * matches[..., 2], said))
    recall = np.nan_to_num(_divided(0.75 * matches[..., 1] + 0.25 * matches[..., 3], true))
    mean = np.nan_to_num(_divided(precision * recall, 0.15 * recall + 0.85 * precision))
    pieces = np.nan_to_num(_divided(sums[..., 20], (sums[..., 21] + sums[..., 22]) / 2))
    return np.asarray(mean * (1 - 0.6 * pieces**0.2))


STATISTICS: dict[str, Callable[[Floats], Floats]] = {
    "ratio": ratio, "macro": macro, "ece": ece, "bleu": bleu, "meteor": meteor,
}  # fmt: skip
"""What may be made of sums (..., k); one line adds another."""


@dataclass(frozen=True, eq=False)
class Measure:
    """A number of a table.

    Args:
        name: Its row in the table.
        ids: (n,) of the samples, as the questions have them.
        image_keys: (n,) what the bootstrap draws.
        rows: (n, k) what each sample adds to the sums.
        statistic: Of `STATISTICS`, what is made of the sums.
        count: How many things the number is about, where a sample holds several (masks of a question); else n.
        unit: What these are.

    Raises:
        MeasureError: If the lists differ in length, or an id is there twice.
    """

    name: str
    ids: tuple[str, ...]
    image_keys: tuple[str, ...]
    rows: Floats
    statistic: str = "ratio"
    count: int | None = None
    unit: str = "questions"

    def __post_init__(self) -> None:
        if self.rows.ndim != 2 or not len(self.ids) == len(self.image_keys) == len(self.rows):
            raise MeasureError(
                f"{self.name} needs a row of numbers for each sample and its image: {len(self.ids)} ids, "
                f"{len(self.image_keys)} images, rows of shape {self.rows.shape}"
            )
        if len(set(self.ids)) != len(self.ids):
            raise MeasureError(f"{self.name} holds a sample twice; sum what belongs to one id")

    @property
    def n(self) -> int:
        """How many things the number is about."""
        return len(self.ids) if self.count is None else self.count

    @property
    def value(self) -> float:
        """The number; NaN where there is nothing to make it of."""
        return float(STATISTICS[self.statistic](self.rows.sum(axis=0))) if len(self.rows) else math.nan

    def interval(self, draws: int = DRAWS, seed: int = 0) -> Interval:
        """The number with its percentile 95 % interval, resampling images; NaN throughout without samples."""
        return self._interval if (draws, seed) == (DRAWS, 0) else self._drawn(draws, seed)

    @cached_property
    def _interval(self) -> Interval:
        return self._drawn(DRAWS, 0)  # every form of a table shows it

    def _drawn(self, draws: int, seed: int) -> Interval:
        if not len(self.rows):
            return Interval(math.nan, math.nan, math.nan)
        function = STATISTICS[self.statistic]
        drawn = [function(sums) for sums in _resampled(self.rows, self.image_keys, draws, seed)]
        return Interval(self.value, *_middle(np.concatenate(drawn)))


def mean_of(
    name: str,
    ids: Sequence[str],
    image_keys: Sequence[str],
    values: ArrayLike,
    unit: str = "",
    counted: ArrayLike | None = None,
) -> Measure:
    """The mean of one value a sample, of those that are ``counted`` (1 or 0 each; all where it is None)."""
    rows, count = _counted(values, counted)
    return Measure(name, tuple(ids), tuple(image_keys), rows, count=count, unit=unit or "questions")


def macro_of(
    name: str,
    ids: Sequence[str],
    image_keys: Sequence[str],
    values: ArrayLike,
    groups: Sequence[str],
    counted: ArrayLike | None = None,
) -> Measure:
    """The mean of the groups' means of one value a sample, of those that are ``counted`` as in `mean_of`."""
    pairs, count = _counted(values, counted)
    names = sorted(set(groups))
    rows = np.zeros((len(pairs), 2 * len(names)))
    places = 2 * np.array([names.index(group) for group in groups], dtype=np.int64)
    rows[np.arange(len(pairs)), places] = pairs[:, 0]
    rows[np.arange(len(pairs)), places + 1] = pairs[:, 1]
    return Measure(name, tuple(ids), tuple(image_keys), rows, "macro", count)


def _counted(values: ArrayLike, counted: ArrayLike | None) -> tuple[Floats, int | None]:
    """(n, 2): the value and one where it counts, else nothing; and how many count."""
    column = np.asarray(values, dtype=np.float64).reshape(-1)
    if counted is None:
        return np.stack([column, np.ones_like(column)], axis=1), None
    there = np.asarray(counted, dtype=np.bool_).reshape(-1)
    return np.stack([np.where(there, column, 0.0), there], axis=1), int(there.sum())


def difference(ours: Measure, theirs: Measure, draws: int = DRAWS, seed: int = 0) -> Interval:
    """``ours - theirs`` on the same samples, with its interval; both see the same images in every draw.

    Raises:
        MeasureError: If the samples or the statistics differ.
    """
    if ours.statistic != theirs.statistic or ours.rows.shape[1] != theirs.rows.shape[1]:
        raise MeasureError(f"{ours.name} is computed in two ways; make both tables with the same version")
    place = {one: index for index, one in enumerate(theirs.ids)}
    if set(place) != set(ours.ids):
        shared = len(set(place) & set(ours.ids))
        raise MeasureError(
            f"{ours.name} is of {len(ours.ids):,} samples in one table and of {len(place):,} in the other, "
            f"{shared:,} of them the same; compare tables of the same questions"
        )
    if not ours.ids:
        return Interval(math.nan, math.nan, math.nan)
    function, width = STATISTICS[ours.statistic], ours.rows.shape[1]
    both = np.concatenate([ours.rows, theirs.rows[[place[one] for one in ours.ids]]], axis=1)
    drawn = [
        function(sums[:, :width]) - function(sums[:, width:]) for sums in _resampled(both, ours.image_keys, draws, seed)
    ]
    return Interval(ours.value - theirs.value, *_middle(np.concatenate(drawn)))


def _resampled(rows: Floats, image_keys: Sequence[str], draws: int, seed: int) -> Iterable[Floats]:
    """Sums (draws, k) over images drawn with replacement, some draws at a time; `metrics.bootstrap`'s own draws."""
    clusters: dict[str, int] = {}
    members = np.array([clusters.setdefault(key, len(clusters)) for key in image_keys])
    sums = np.zeros((len(clusters), rows.shape[1]))
    np.add.at(sums, members, rows)
    n = len(clusters)
    for drawn in _kept_draws(n, draws, seed) if n * draws <= _MOST_KEPT else _draws(n, draws, seed):
        yield drawn.astype(np.float64) @ sums


def _draws(n: int, draws: int, seed: int) -> Iterator[UInt16]:
    """(some draws, n) how often each image is drawn."""
    random = np.random.default_rng(seed)
    for start in range(0, draws, _DRAWS_AT_ONCE):
        size = min(_DRAWS_AT_ONCE, draws - start)
        picked = random.integers(n, size=(size, n)) + n * np.arange(size)[:, None]
        yield np.bincount(picked.ravel(), minlength=size * n).reshape(size, n).astype(np.uint16)


@lru_cache(maxsize=1)
def _kept_draws(n: int, draws: int, seed: int) -> tuple[UInt16, ...]:
    """The same, for the next number about as many images: the cells of a row have one set of draws."""
    return tuple(_draws(n, draws, seed))


def _middle(drawn: Floats) -> tuple[float, float]:
    there = drawn[~np.isnan(drawn)]
    if not len(there):
        return math.nan, math.nan
    low, high = np.percentile(there, (2.5, 97.5))
    return float(low), float(high)


def _divided(above: Floats, below: Floats) -> Floats:
    found = np.full(np.shape(above), np.nan)
    np.divide(above, below, out=found, where=np.asarray(below) != 0)
    return found


def to_json(measure: Measure, samples: list[dict[str, Any]]) -> dict[str, Any]:
    """A measure as JSON; its samples' names go to ``samples``, once for all measures about the same."""
    told = {"ids": list(measure.ids), "image_keys": list(measure.image_keys)}
    if told not in samples:
        samples.append(told)
    interval = measure.interval()
    return {
        "name": measure.name,
        "n": measure.n,
        "unit": measure.unit,
        "value": _number(interval.value),
        "low": _number(interval.low),
        "high": _number(interval.high),
        "statistic": measure.statistic,
        "samples": samples.index(told),
        "rows": measure.rows.round(9).tolist(),
    }


def from_json(raw: dict[str, Any], samples: Sequence[dict[str, Any]]) -> Measure:
    """The inverse of `to_json`.

    Raises:
        ValueError, KeyError, TypeError, IndexError: If it is none.
    """
    told = samples[raw["samples"]]
    rows = np.array(raw["rows"], dtype=np.float64)
    if raw["statistic"] not in STATISTICS or not np.isfinite(rows).all():
        raise MeasureError(f"{raw['name']} holds a statistic or a number that is none")
    return Measure(
        str(raw["name"]), tuple(map(str, told["ids"])), tuple(map(str, told["image_keys"])),
        rows.reshape(len(told["ids"]), -1) if len(rows) else np.zeros((0, 2)),
        str(raw["statistic"]), int(raw["n"]), str(raw["unit"]),
    )  # fmt: skip


def _number(value: float) -> float | None:
    return None if math.isnan(value) else value
