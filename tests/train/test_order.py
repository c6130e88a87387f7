"""The order of a run in epochs: everything as often as it is due, and a function of seed and position alone."""

from __future__ import annotations

from collections import Counter

from geopix.train.order import Order


def epoch(order: Order, number: int) -> list[tuple[int, int]]:
    return [order[number * len(order) + place] for place in range(len(order))]


def test_an_epoch_shows_every_image_once_in_an_order_of_its_own() -> None:
    order = Order(5, [7, 3], [1, 1])
    everything = sorted([(0, place) for place in range(7)] + [(1, place) for place in range(3)])
    shown = [epoch(order, number) for number in range(3)]
    assert all(sorted(one) == everything for one in shown)
    assert shown[0] != shown[1] != shown[2] != shown[0]
    assert epoch(Order(5, [7, 3], [1, 1]), 1) == shown[1]
    assert epoch(Order(6, [7, 3], [1, 1]), 1) != shown[1]


def test_positions_need_not_be_asked_for_in_turn() -> None:
    order, other = Order(1, [11], [1]), Order(1, [11], [1])
    forward = [order[position] for position in range(33)]
    assert [other[position] for position in reversed(range(33))] == forward[::-1]
    assert [other[position] for position in range(1, 33, 4)] == forward[1::4]  # what one device of four is given


def test_a_source_may_be_due_more_than_once_or_in_part() -> None:
    order = Order(0, [4, 10, 5], [2, 0.5, 0])
    assert len(order) == 13
    halves = []
    for number in range(8):
        shown = Counter(epoch(order, number))
        assert all(shown[(0, place)] == 2 for place in range(4))
        half = [image for image in shown if image[0] == 1]
        assert len(half) == sum(shown[image] for image in half) == 5
        halves.append(frozenset(half))
        assert not any(source == 2 for source, _ in shown)
    assert len(set(halves)) > 4
