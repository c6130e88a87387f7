"""Numbers with their samples against hand-worked values; the bootstrap covers what it should."""

from __future__ import annotations

import math

import numpy as np
import pytest

from geopix.evaluate import measures
from geopix.evaluate.measures import Measure, MeasureError, bleu, difference, ece, from_json, macro_of, mean_of, to_json
from geopix.evaluate.metrics import bootstrap


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


def test_kept_draws_are_those_of_the_bootstrap(monkeypatch: pytest.MonkeyPatch) -> None:
    keys, values = [str(place // 3) for place in range(60)], np.random.default_rng(2).normal(size=60)
    expected = bootstrap(values[:, None], keys, lambda rows: float(rows[:, 0].mean()))
    for most in (measures._MOST_KEPT, 0):
        monkeypatch.setattr(measures, "_MOST_KEPT", most)
        found = mean_of("m", list(map(str, range(60))), keys, values)
        for interval in (found.interval(), found.interval()):
            assert (interval.low, interval.high) == pytest.approx((expected.low, expected.high))
    assert found.interval(seed=1).low != found.interval().low


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
    said = np.array([3.0, 1.0, 4.0, 3.0, 4.0, 6.0])  # three of four words, one of three pairs; four words for six
    assert float(bleu(said)) == pytest.approx(math.sqrt(3 / 4 * 1 / 3) * math.exp(1 - 6 / 4))
    assert float(bleu(np.array([3.0, 4.0, 4.0, 4.0]))) == pytest.approx(3 / 4)
    assert float(ece(np.array([0.5, -0.25, 3.0]))) == pytest.approx(0.25)


def test_what_is_not_counted_weighs_nothing_and_keeps_its_place() -> None:
    ids, keys, values = list("abc"), list("xyz"), [1.0, math.nan, 0.0]
    found = mean_of("m", ids, keys, values, counted=[1, 0, 1])
    assert (found.value, found.n) == (0.5, 2)
    assert macro_of("m", ids, keys, values, ["p", "q", "p"], [1, 0, 1]).value == 0.5
    assert difference(found, mean_of("m", ids, keys, [1.0, 1.0, 0.0])).value == pytest.approx(0.5 - 2 / 3)
    assert math.isnan(mean_of("m", ids, keys, values, counted=[0, 0, 0]).interval().value)


def test_meteor_of_a_resample_is_meteor_of_its_sums() -> None:
    half = [4, 4, 0, 0, 2, 2, 0, 0, *[0] * 12, 1, 2, 2]
    none = [4, 4, 0, 0, *[0] * 19]
    measure = Measure("METEOR", ("a", "b"), ("x", "y"), np.array([half, none], dtype=np.float64), "meteor")
    alone, both = 0.5 * (1 - 0.6 * 0.5**0.2), 0.25 * (1 - 0.6 * 0.5**0.2)
    assert measure.value == pytest.approx(both)
    assert (measure.interval().low, measure.interval().high) == pytest.approx((0.0, alone))
