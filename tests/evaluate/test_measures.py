"""Numbers with their samples against hand-worked values; the bootstrap covers what it should."""

from __future__ import annotations

import math

import numpy as np
import pytest

from geopix.evaluate.captions import bleu_of
from geopix.evaluate.measures import Measure, MeasureError, bleu, difference, ece, from_json, macro_of, mean_of, to_json


def test_micro_and_macro_differ_where_groups_do() -> None:
    ids, keys, values = list("abc"), list("xyz"), [1.0, 1.0, 0.0]
    assert mean_of("m", ids, keys, values).value == pytest.approx(2 / 3)
    assert macro_of("m", ids, keys, values, ["p", "p", "q"]).value == pytest.approx(0.5)


def test_the_interval_covers_a_known_mean_about_95_percent_of_the_time() -> None:
    random, inside = np.random.default_rng(1), 0
    keys = [str(place // 2) for place in range(120)]
    for trial in range(200):
        image = np.repeat(random.normal(0.5, 0.2, 60), 2)  # both questions of an image go together
        interval = mean_of("m", list(map(str, range(120))), keys, image).interval(draws=300, seed=trial)
        inside += interval.low <= 0.5 <= interval.high
    assert 0.89 <= inside / 200 <= 0.99


def test_a_difference_is_paired_by_id_and_a_table_with_itself_differs_by_nothing() -> None:
    ours = mean_of("m", ["a", "b"], ["x", "y"], [1.0, 0.0])
    theirs = mean_of("m", ["b", "a"], ["y", "x"], [0.0, 0.5])
    found = difference(ours, theirs)
    assert found.value == pytest.approx(0.25)
    assert (found.low, found.high) == pytest.approx((0.0, 0.5))
    assert difference(ours, ours).high == 0.0
    with pytest.raises(MeasureError, match="the same questions"):
        difference(ours, mean_of("m", ["a", "c"], ["x", "y"], [1.0, 0.0]))


def test_a_sample_stands_once() -> None:
    with pytest.raises(MeasureError, match="twice"):
        mean_of("m", ["a", "a"], ["x", "x"], [1.0, 0.0])


def test_json_and_back() -> None:
    samples: list[dict[str, object]] = []
    ours = mean_of("m", ["a", "b"], ["x", "y"], [1.0, 0.0])
    back = from_json(to_json(ours, samples), samples)
    assert (back.value, back.ids, back.image_keys) == (0.5, ours.ids, ours.image_keys)
    assert math.isnan(Measure("none", (), (), np.zeros((0, 2))).interval().low)


def test_bleu_and_calibration_of_sums() -> None:
    rows = np.array([[4, 2, 1, 0, 6, 5, 4, 3, 6, 7], [5, 3, 2, 1, 5, 4, 3, 2, 5, 5]], dtype=np.float64)
    for n in range(1, 5):
        columns = [*range(n), *range(4, 4 + n), 8, 9]
        assert float(bleu(rows[:, columns].sum(axis=0))) == pytest.approx(bleu_of(rows, n))
    assert float(ece(np.array([0.5, -0.25, 3.0]))) == pytest.approx(0.25)
