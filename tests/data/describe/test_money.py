"""Prices, estimates and budgets, worked by hand."""

from __future__ import annotations

from pathlib import Path

import pytest

from geopix.data.describe.money import BATCH_DISCOUNT, Price, Purse, expected_tokens, picture_tokens, price_of
from geopix.data.describe.prompt import text
from geopix.data.describe.task import StopError, Task
from geopix.data.entries import Annotated, Entry


def task(count: int = 2) -> Task:
    objects = tuple(Annotated("ship", (10.0 * k, 0.0, 10.0 * k + 5, 5.0)) for k in range(count))
    return Task(Entry("k", "k.png", (512, 512), objects), Path(), tuple(range(count)))


@pytest.mark.parametrize(
    ("size_hw", "tokens"),
    [((512, 512), 85 + 170), ((600, 600), 85 + 170 * 4), ((800, 800), 85 + 170 * 4), ((1000, 4000), 85 + 170 * 4 * 1)],
)
def test_pictures_cost_by_the_tile(size_hw: tuple[int, int], tokens: int) -> None:
    assert picture_tokens(size_hw) == tokens


def test_models_are_known_by_name_date_and_tuning() -> None:
    assert price_of("gpt-4o") == price_of("gpt-4o-2024-08-06") == Price(2.5, 10.0)
    assert price_of("gpt-4o-mini-2024-07-18") == Price(0.15, 0.6)
    assert price_of("ft:gpt-4o-2024-08-06:org::abc") == Price(3.75, 15.0)
    assert price_of("gpt-4o", batch=True) == Price(2.5 * BATCH_DISCOUNT, 10.0 * BATCH_DISCOUNT)
    assert price_of("gpt-4omnipotent") is None
    assert price_of("qwen-vl") is None


def test_what_tokens_cost() -> None:
    assert Price(2.0, 10.0).of(1_000_000, 50_000) == pytest.approx(2.5)


def test_more_objects_are_expected_to_cost_more() -> None:
    few, many = expected_tokens(task(2)), expected_tokens(task(8))
    assert few[0] < many[0]
    assert few[1] < many[1]
    assert few[0] > len(text(task(2))) / 4 + 255  # a token is some four letters


def test_a_purse_keeps_to_its_budget() -> None:
    purse = Purse(Price(1.0, 0.0), budget_usd=0.010, spent_usd=0.004)
    purse.hold(0.005)
    with pytest.raises(StopError, match="--budget"):
        purse.hold(0.002)
    purse.release(0.005)
    assert purse.pay(6000, 10**9) == pytest.approx(0.006)
    assert purse.spent_usd == pytest.approx(0.010)
    with pytest.raises(StopError):
        purse.hold(0.001)


def test_what_is_set_aside_comes_back_when_the_question_fails() -> None:
    purse = Purse(Price(1.0, 1.0), budget_usd=1.0)

    def fails() -> None:
        with purse.reserve(task()):
            assert purse.reserved_usd > 0
            raise ConnectionError

    with pytest.raises(ConnectionError):
        fails()
    assert purse.reserved_usd == 0


def test_without_a_price_nothing_is_counted() -> None:
    purse = Purse(None)
    with purse.reserve(task()):
        assert purse.pay(100, 100) is None
    assert purse.spent_usd == 0
