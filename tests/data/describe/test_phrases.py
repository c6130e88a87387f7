"""Phrases that mean one object: each is read back by a small oracle of its own and must be true of that one only."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from geopix.data.describe.phrases import describe, of_an_only_one, reading_order
from geopix.records import Box, Instance
from tests.tiny import boxed, rectangle

SIDE = 1024  # a power of two: centres are exact, so a mirrored layout is no hair's breadth off
ORDINAL = {
    word: place
    for place, word in enumerate("first second third fourth fifth sixth seventh eighth ninth tenth eleventh".split())
}
ENDS = {"left": (0, 1), "right": (0, -1), "top": (1, 1), "bottom": (1, -1)}
"""Axis of the centre, and the direction in which one counts."""
ROWS = {"upper": 0, "top": 0, "lower": 2, "bottom": 2}
COLUMNS = {"left": 0, "right": 2}


def centre(instance: Instance) -> tuple[float, float]:
    x1, y1, x2, y2 = instance.box_xyxy_px
    return (x1 + x2) / 2, (y1 + y2) / 2


def area(instance: Instance) -> float:
    x1, y1, x2, y2 = instance.box_xyxy_px
    return (x2 - x1) * (y2 - y1)


def meant(phrase: str, group: Sequence[Instance]) -> list[int]:
    """The members of a class that a phrase may mean; fails for a phrase that it can't read."""
    words = phrase.removeprefix("the ").replace("{}", "").split()
    text = " ".join(words)
    if not text:
        return list(range(len(group)))
    if text in ("largest", "biggest", "larger", "smallest", "smaller"):
        assert len(group) == 2 or not text.endswith("er")
        best = (min if text.startswith("small") else max)(map(area, group))
        return [index for index, one in enumerate(group) if area(one) == best]
    if text == "middle":
        assert len(group) == 3
        return counted(group, "left", 1)
    if found := re.fullmatch(r"(\w+) from the (\w+)", text):
        return counted(group, found[2], ORDINAL[found[1]])
    if found := re.fullmatch(r"(left|right|top|bottom)most|farthest to the (\w+)", text):
        return counted(group, found[1] or found[2], 0)
    if found := re.fullmatch(r"(?:on|at) the (left|right|top|bottom)( of the image)?", text):
        return counted(group, found[1], 0)
    if text in ("left", "right", "upper", "lower"):
        assert len(group) == 2
        return counted(group, {"upper": "top", "lower": "bottom"}.get(text, text), 0)
    assert re.search(r"corner|cent(er|re)|middle|edge|at the (top|bottom) (left|right)", text), (
        f"cannot read {phrase!r}"
    )
    row = next((ROWS[word] for word in words if word in ROWS), 1)
    column = next((COLUMNS[word] for word in words if word in COLUMNS), 1)
    return [i for i, one in enumerate(group) if tuple(int(3 * v / SIDE) for v in centre(one)) == (column, row)]


def counted(group: Sequence[Instance], side: str, place: int) -> list[int]:
    """Who may be number ``place`` counted from a side: several where centres are equal."""
    axis, way = ENDS[side]
    values = [way * centre(one)[axis] for one in group]
    return [index for index, value in enumerate(values) if value == sorted(values)[place]]


@st.composite
def layouts(draw: st.DrawFn) -> list[Instance]:
    """One to seven boxes of two classes, often in a row or on top of one another."""
    instances = []
    for _ in range(draw(st.integers(1, 7))):
        x, y = draw(st.integers(0, 30)) * 32, draw(st.sampled_from([100, 330, 512, 700, 940]))
        width, height = draw(st.sampled_from([16, 40, 64])), draw(st.sampled_from([16, 40, 64]))
        name = draw(st.sampled_from(["ship", "ship", "harbor"]))
        instances.append(boxed(name, (float(x), float(y), float(x + width), float(y + height))))
    return instances


@given(layouts())
def test_every_phrase_means_its_object_and_no_other_of_the_class(instances: list[Instance]) -> None:
    for instance, phrases in zip(instances, describe(instances, (SIDE, SIDE)), strict=True):
        group = [other for other in instances if other.class_name == instance.class_name]
        for phrase in phrases:
            assert [group[index] for index in meant(phrase, group)] == [instance], phrase


def mirror_box(box: Box) -> Box:
    return SIDE - box[2], box[1], SIDE - box[0], box[3]


@given(layouts())
def test_a_mirrored_layout_swaps_left_and_right(instances: list[Instance]) -> None:
    mirrored = [replace(one, box_xyxy_px=mirror_box(one.box_xyxy_px)) for one in instances]
    pairs = zip(describe(instances, (SIDE, SIDE)), describe(mirrored, (SIDE, SIDE)), strict=True)
    for phrases, others in pairs:
        swapped = {re.sub("left|right", lambda found: {"left": "right", "right": "left"}[found[0]], p) for p in phrases}
        assert swapped == set(others)


def at(x: float, y: float, size: float = 40) -> Instance:
    return boxed("ship", (x - size / 2, y - size / 2, x + size / 2, y + size / 2))


def test_three_in_a_row() -> None:
    first, second, third = describe([at(100, 512), at(560, 520), at(900, 500)], (SIDE, SIDE))
    assert {"the leftmost {}", "the first {} from the left", "the {} on the left", "the third {} from the right"} <= {
        *first
    }
    assert {"the second {} from the left", "the second {} from the right", "the middle {}"} <= set(second)
    assert {"the rightmost {}", "the {} farthest to the right", "the third {} from the left"} <= set(third)
    assert not any(word in phrase for phrase in (*first, *second, *third) for word in ("top", "upper", "lower"))


def test_on_the_left_needs_to_be_there_and_alone() -> None:
    crowded, also, third = describe([at(100, 512), at(400, 520), at(900, 500)], (SIDE, SIDE))
    assert "the leftmost {}" in crowded
    assert not any("on the left" in phrase for phrase in (*crowded, *also))
    assert "the {} on the right" in third
    first, second = describe([at(600, 100), at(900, 120)], (SIDE, SIDE))
    assert "the left {}" in first
    assert "the {} on the left" not in first
    assert "the {} on the right" in second


def test_an_edge_is_named_for_the_only_one_beside_it() -> None:
    left, corner = describe([at(100, 512), at(120, 100)], (SIDE, SIDE))
    assert "the {} at the left center" in left
    assert "the {} near the left edge" not in left
    assert "the {} in the upper left corner" in corner
    alone, _ = describe([at(100, 512), at(900, 100)], (SIDE, SIDE))
    assert "the {} near the left edge" in alone


def test_two_of_different_size() -> None:
    large, small = describe([at(200, 200, 100), at(800, 800, 80)], (SIDE, SIDE))
    assert {"the largest {}", "the larger {}", "the left {}", "the upper {}", "the {} in the upper left corner"} <= {
        *large
    }
    assert {"the smallest {}", "the smaller {}", "the right {}", "the lower {}"} <= set(small)
    nearly, _ = describe([at(200, 200, 100), at(800, 800, 86)], (SIDE, SIDE))
    assert not any("larg" in phrase or "big" in phrase for phrase in nearly)


def test_size_is_what_the_mask_covers() -> None:
    half = rectangle("ship", (0, 0, 50, 50), (100, 100))
    assert half.mask is not None
    thin = replace(half, mask=half.mask & (np.arange(100) < 10))
    small = rectangle("ship", (60, 60, 90, 90), (100, 100))
    assert "the largest {}" in describe([thin, small], (100, 100))[1]


def test_the_only_one_of_its_class_needs_no_more_words() -> None:
    only, *_ = describe([at(512, 512), boxed("harbor", (0.0, 0.0, 9.0, 9.0))], (SIDE, SIDE))
    assert only[0] == "the {}"
    assert "the {} in the center of the image" in only


@pytest.mark.parametrize("apart", [0, 10, 51])
def test_two_that_only_a_ruler_tells_apart_have_no_phrase(apart: int) -> None:
    assert describe([at(500, 500), at(500 + apart, 500)], (SIDE, SIDE)) == [[], []]


def test_two_that_stand_clearly_apart_have_one() -> None:
    left, right = describe([at(500, 500), at(552, 500)], (SIDE, SIDE))
    assert "the left {}" in left
    assert "the right {}" in right


def test_a_pair_in_a_row_does_not_blur_its_neighbours() -> None:
    phrases = describe([at(100, 500), at(500, 500), at(520, 500), at(900, 500)], (SIDE, SIDE))
    assert "the leftmost {}" in phrases[0]
    assert not any("from the" in phrase for phrase in (*phrases[1], *phrases[2]))
    assert "the fourth {} from the left" in phrases[3]


def test_close_to_a_border_of_the_grid_nothing_is_in_a_corner() -> None:
    (phrases,) = describe([at(SIDE / 3, SIDE / 3)], (SIDE, SIDE))
    assert phrases == ["the {}"]


def test_more_than_eleven_are_counted_no_further_than_the_words_go() -> None:
    phrases = describe([at(40 + 66 * index, 512, 20) for index in range(14)], (SIDE, SIDE))
    assert "the eleventh {} from the left" in phrases[10]
    assert not any("from the left" in phrase for phrase in phrases[12])


def test_reading_order_follows_the_wider_spread() -> None:
    across = [at(900, 500), at(100, 520), at(400, 480)]
    assert reading_order(across, (SIDE, SIDE)) == (
        [1, 2, 0],
        ["the first {} from the left", "the second {} from the left", "the third {} from the left"],
    )
    down = [at(500, 900), at(520, 100)]
    assert reading_order(down, (SIDE, SIDE)) == ([1, 0], ["the first {} from the top", "the second {} from the top"])
    assert reading_order([at(5, 5)], (SIDE, SIDE)) == ([0], ["the {}"])


def test_reading_order_measures_in_shares_of_the_image() -> None:
    pair = [at(100, 100), at(160, 150)]  # 60 of 2,000 px across, 50 of 200 px down
    assert reading_order(pair, (200, 2000))[1][0] == "the first {} from the top"


def test_an_only_one_has_a_side_and_every_rank_of_one() -> None:
    assert set(of_an_only_one(at(200, 510), (SIDE, SIDE))) == {
        "the largest {}",
        "the leftmost {}",
        "the {} on the left",
    }
    assert "the bottommost {}" in of_an_only_one(at(510, 900), (SIDE, SIDE))
    assert of_an_only_one(at(510, 520), (SIDE, SIDE)) == ["the largest {}"]
