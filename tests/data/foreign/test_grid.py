"""Boxes in words, turned ones too, checked against what was worked out by hand."""

from __future__ import annotations

import math

import pytest

from geopix.data.entries import EntryError
from geopix.data.foreign.grid import box_px, boxes, hull


def test_boxes_are_found_in_words() -> None:
    assert boxes("a ship {<16><55><24><63>|<11>} and {<0><1><2><3>}, not {<1><2><3>} or {<a><1><2><3>}") == [
        (16, 55, 24, 63, 11),
        (0, 1, 2, 3, 0),
    ]
    assert boxes("{ <1.5><-2><981><3>| <-90> }") == [(1.5, -2, 981, 3, -90)]


def test_the_grid_is_a_hundredth_of_each_side() -> None:
    assert box_px((10, 20, 50, 60, 0), (200, 400)) == (40, 40, 200, 120)


def test_a_turned_box_has_an_upright_one_around_it() -> None:
    # Half sides 20 and 10 about (50, 50): turned by 90 degrees they change places, by 30 they mix.
    assert box_px((30, 40, 70, 60, 90), (100, 100)) == pytest.approx((40, 30, 60, 70))
    half_x, half_y = 20 * math.sqrt(3) / 2 + 10 / 2, 20 / 2 + 10 * math.sqrt(3) / 2
    around = (50 - half_x, 50 - half_y, 50 + half_x, 50 + half_y)
    assert box_px((30, 40, 70, 60, 30), (100, 100)) == pytest.approx(around)
    assert box_px((30, 40, 70, 60, -30), (100, 100)) == pytest.approx(around)
    assert box_px((0, 40, 40, 60, 90), (100, 100)) == pytest.approx((10, 30, 30, 70))
    assert box_px((0, 0, 10, 40, 90), (100, 100)) == pytest.approx((0, 15, 25, 25))  # cut to the image


@pytest.mark.parametrize(
    ("box", "reason"),
    [
        ((10, 10, 10, 20, 0), "box degenerate"),
        ((10, 10, 5, 20, 0), "box degenerate"),
        ((10, 10, 154, 20, 0), "box out of the image"),
        ((-1, 10, 20, 20, 0), "box out of the image"),
        ((10, 10, 981, 20, 45), "box out of the image"),
    ],
)
def test_boxes_that_mean_nothing_have_a_reason(box: tuple[float, ...], reason: str) -> None:
    with pytest.raises(EntryError) as caught:
        box_px(box, (100, 100))
    assert caught.value.reason == reason


def test_corners_have_an_upright_box_around_them() -> None:
    assert hull([0.5, 0.1, 0.9, 0.5, 0.5, 0.9, 0.1, 0.5], (100, 200)) == pytest.approx((20, 10, 180, 90))
    assert hull([-0.1, 0.2, 1.1, 0.2, 1.1, 0.4, -0.1, 0.4], (100, 200)) == pytest.approx((0, 20, 200, 40))
    with pytest.raises(EntryError, match="degenerate"):
        hull([1.1, 0.2, 1.2, 0.2, 1.2, 0.4, 1.1, 0.4], (100, 200))
    for corners in ([0.1, 0.2, 0.3], [0.1, math.nan, 0.2, 0.3], []):
        with pytest.raises(ValueError, match="pairs of numbers"):
            hull(corners, (100, 200))
