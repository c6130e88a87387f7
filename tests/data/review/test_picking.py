"""The lot: so many of each class and arrangement, the same whatever the order, another with another seed."""

from __future__ import annotations

from dataclasses import replace

from geopix.data.review.picking import Wish, pick
from tests.tiny_review import entry, pair, thing

LONE = [entry(n, thing("ship", (2, 2, 12, 12), arrangement="isolated")) for n in range(40)]
PAIRS = [pair(n) for n in range(40, 60)]
BRIDGES = [entry(n, thing("bridge", (2, 2, 12, 12))) for n in range(60, 62)]
ALL = LONE + PAIRS + BRIDGES


def test_every_class_and_arrangement_gets_its_share() -> None:
    picked = pick(ALL, Wish(images=5))
    assert picked.groups == {
        ("bridge", "unknown"): (2, 2),
        ("ship", "cluster"): (5, 20),
        ("ship", "isolated"): (5, 40),
    }
    assert len(picked.keys) == 12


def test_the_order_of_the_set_does_not_matter_and_the_seed_does() -> None:
    wish = Wish(images=5)
    assert pick(ALL, wish) == pick(reversed(ALL), wish)
    assert pick(ALL, wish).keys != pick(ALL, replace(wish, seed=1)).keys


def test_an_image_serves_all_its_groups() -> None:
    both = [
        entry(
            n, thing("ship", (2, 2, 12, 12), arrangement="line"), thing("bridge", (20, 2, 30, 12), arrangement="line")
        )
        for n in range(30)
    ]
    assert len(pick(both, Wish(images=7)).keys) == 7


def test_only_the_split_that_is_wished_for() -> None:
    mixed = [pair(1), pair(2, split="val"), pair(3, split="test")]
    assert pick(mixed, Wish()).keys == {"toy/1"}
    assert pick(mixed, Wish(split="val")).keys == {"toy/2"}
    assert pick(mixed, Wish(split=None)).keys == {"toy/1", "toy/2", "toy/3"}


def test_the_lot_is_even() -> None:
    # Of 40 images 10 are picked with each of 200 seeds: 50 times each is expected, with a deviation of 6.
    times = dict.fromkeys((one.key for one in LONE), 0)
    for seed in range(200):
        for key in pick(LONE, Wish(images=10, seed=seed)).keys:
            times[key] += 1
    assert sum(times.values()) == 2000
    assert 25 < min(times.values()) < 50 < max(times.values()) < 75
