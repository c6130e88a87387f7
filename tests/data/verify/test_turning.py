"""Words turned with their image: examples worked by hand, and the pixels of a real turn as a witness."""

from __future__ import annotations

import numpy as np
import pytest

from geopix.data.construct import turn
from geopix.data.entries import Annotated, Entry
from geopix.data.verify.check import check
from geopix.data.verify.scene import Scene
from geopix.data.verify.turning import turned
from tests.tiny import scene


@pytest.mark.parametrize(
    ("text", "anticlockwise", "mirrored"),
    [
        (
            "the ship on the left of the image",
            "the ship at the bottom of the image",
            "the ship on the right of the image",
        ),
        ("the ship at the top", "the ship on the left", "the ship at the top"),
        ("The leftmost ship", "The bottommost ship", "The rightmost ship"),
        ("the upper left ship", "the lower left ship", "the upper right ship"),
        (
            "the ship in the bottom-left corner",
            "the ship in the bottom right corner",
            "the ship in the bottom right corner",
        ),
        ("the ship to the left of the harbor", "the ship below the harbor", "the ship to the right of the harbor"),
        ("the ship below the harbor", "the ship right of the harbor", "the ship below the harbor"),
        ("the ship near the upper edge", "the ship near the left edge", "the ship near the upper edge"),
        ("the ship near the right edge", "the ship near the upper edge", "the ship near the left edge"),
        (
            "the second ship from the left in the row of three ships",
            "the second ship from the bottom in the column of three ships",
            "the second ship from the right in the row of three ships",
        ),
        ("the left ship of the pair", "the lower ship of the pair", "the right ship of the pair"),
        ("the ship at the right center", "the ship at the top center", "the ship at the left center"),
        (
            "the ship at the left end of the row",
            "the ship at the lower end of the column",
            "the ship at the right end of the row",
        ),
        (
            "the ship on the left of the cluster",
            "the ship at the bottom of the cluster",
            "the ship on the right of the cluster",
        ),
        (
            "the A220 right next to the overpass",
            "the A220 right next to the overpass",
            "the A220 right next to the overpass",
        ),
        ("the largest ship in the center", "the largest ship in the center", "the largest ship in the center"),
    ],
)
def test_by_hand(text: str, anticlockwise: str, mirrored: str) -> None:
    assert turned(text, 1, False) == anticlockwise
    assert turned(text, 0, True) == mirrored
    assert turned(turned(text, 0, True), 0, True).lower().replace("-", " ") == text.lower().replace("-", " ")
    assert turned(text, 4, False) == text


def test_the_turn_is_that_of_the_pixels() -> None:
    sample = scene([("ship", (10, 20, 30, 40)), ("ship", (60, 70, 80, 90)), ("harbor", (70, 10, 90, 40))], (100, 100))
    for text, target in (("the ship in the upper left corner", 0), ("the ship below the harbor", 1)):
        for quarter_turns in range(4):
            for mirrored in (False, True):
                moved = turn(sample, quarter_turns, mirrored)
                objects = tuple(Annotated(one.class_name, one.box_xyxy_px) for one in moved.instances)
                view = Scene(Entry("k", "k.png", moved.size_hw, objects))
                assert check(turned(text, quarter_turns, mirrored), target, view).outcome == "unique"


def test_any_text_comes_through() -> None:
    rng = np.random.default_rng(0)
    for _ in range(300):
        text = "".join(map(chr, rng.integers(0, 0x300, 40)))
        assert isinstance(turned(text, int(rng.integers(4)), bool(rng.integers(2))), str)
