"""Overlays: what is drawn lies where it belongs, stays readable, and any number of instances fits."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from geopix.records import Answer, Box, Image, Instance, Mask, mask_box
from geopix.render import READABLE_PX, _grown, _placed, _shared, colour, overlay

GREY = 90


def grey(height: int, width: int) -> Image:
    return np.full((height, width, 3), GREY, np.uint8)


def answer(size_hw: tuple[int, int], *instances: Instance) -> Answer:
    return Answer("", instances, size_hw, "nano", 0.1)


def disc(size_hw: tuple[int, int], row: int, column: int, radius: int) -> Mask:
    rows, columns = np.ogrid[: size_hw[0], : size_hw[1]]
    mask: Mask = (rows - row) ** 2 + (columns - column) ** 2 <= radius**2
    return mask


def masked(mask: Mask, phrase: str = "the pond") -> Instance:
    return Instance(phrase, "pond", mask_box(mask), mask)


def boxed(box: Box, phrase: str = "box") -> Instance:
    return Instance(phrase, "pond", box)


def test_masks_are_tinted_inside_and_outlined_at_the_rim() -> None:
    mask = disc((600, 700), 400, 300, 60)
    image = grey(600, 700)
    drawn = overlay(image, answer((600, 700), masked(mask)))
    assert drawn.shape == image.shape
    assert (image == GREY).all()
    expected = np.rint(GREY * 0.64 + np.array(colour(0)) * 0.36)
    np.testing.assert_array_equal(drawn[400, 300], expected)
    assert tuple(drawn[400, 360]) == colour(0)
    changed = (drawn != GREY).any(axis=-1)
    rows, columns = np.nonzero(changed)
    # Nothing but the chip, above, lies further than the halo from the mask.
    assert columns.min() >= 240 - 4
    assert rows.max() <= 460 + 4
    assert changed[:330].any()
    assert not changed[:290].any()


def test_holes_stay_open() -> None:
    mask = disc((600, 600), 300, 300, 100) & ~disc((600, 600), 300, 300, 40)
    drawn = overlay(grey(600, 600), answer((600, 600), masked(mask)))
    assert (drawn[300, 300] == GREY).all()


def test_boxes_are_rings_with_untouched_insides() -> None:
    drawn = overlay(grey(600, 600), answer((600, 600), boxed((100.0, 200.0, 300.0, 400.0))))
    assert (drawn[210:390, 110:290] == GREY).all()
    assert tuple(drawn[300, 100]) == colour(0)
    assert tuple(drawn[399, 200]) == colour(0)


@pytest.mark.parametrize(("side", "factor"), [(8, 64), (128, 4), (256, 2), (300, 2), (511, 2), (512, 1), (600, 1)])
def test_small_images_grow_by_a_whole_factor(side: int, factor: int) -> None:
    mask = disc((side, side), side // 2, side // 2, max(2, side // 5))
    drawn = overlay(grey(side, side), answer((side, side), masked(mask)))
    assert drawn.shape == (side * factor, side * factor, 3)
    assert max(drawn.shape[:2]) >= READABLE_PX
    assert not (drawn[side * factor // 2, side * factor // 2] == GREY).all()


@pytest.mark.parametrize("count", [0, 1, 25, 200])
def test_any_number_of_instances(count: int) -> None:
    rng = np.random.default_rng(0)
    places = rng.integers(10, 590, (count, 2))
    instances = [masked(disc((600, 600), row, column, 7), f"pond number {row}") for row, column in places]
    drawn = overlay(grey(600, 600), answer((600, 600), *instances))
    assert (drawn != GREY).any() == (count > 0)


def test_colours_differ_and_never_run_out() -> None:
    first = [colour(index) for index in range(21)]
    assert len(set(first)) == 21
    gaps = [math.dist(one, other) for at, one in enumerate(first[:7]) for other in first[:at]]
    assert min(gaps) > 50
    assert all(0 <= channel <= 255 for index in range(0, 10_000, 371) for channel in colour(index))


def test_odd_phrases_and_places() -> None:
    size_hw = (40, 900)
    instances = [
        boxed((-5.0, -5.0, 30.0, 60.0), "a phrase " * 50),
        boxed((2000.0, 10.0, 2100.0, 30.0), "outside"),
        boxed((5.0, 5.0, 5.0, 5.0), "a point"),
        boxed((870.0, 2.0, 872.0, 4.0), ""),
        boxed((400.0, 0.0, 900.0, 40.0), "line\nbreak\ttab \u8239"),
        masked(np.zeros(size_hw, np.bool_), "nothing"),
        masked(np.ones(size_hw, np.bool_), "everything"),
    ]
    assert overlay(grey(*size_hw), answer(size_hw, *instances)).shape == (40, 900, 3)
    assert overlay(grey(900, 8), answer((900, 8), boxed((1.0, 1.0, 6.0, 80.0), "narrow"))).shape == (900, 8, 3)


def test_another_images_answer_is_refused() -> None:
    with pytest.raises(ValueError, match=r"not \(600, 600\)"):
        overlay(grey(600, 600), answer((300, 600)))
    with pytest.raises(ValueError, match=r"not \(600, 600\)"):
        overlay(grey(600, 600), answer((600, 600), masked(np.ones((8, 8), np.bool_))))


def test_chips_stay_inside_and_apart_where_there_is_room() -> None:
    rects = [(20 * step, 100, 20 * step + 15, 115) for step in range(12)]
    chips: list[tuple[int, int, int, int]] = []
    for rect in rects:
        chips.append(_placed(rect, (90, 20), (600, 600), chips, rects, 3))
    for at, chip in enumerate(chips):
        assert 0 <= chip[0] < chip[2] <= 600
        assert 0 <= chip[1] < chip[3] <= 600
        assert not any(_shared(chip, other) for other in chips[:at])


@settings(max_examples=40, deadline=None)
@given(
    rect=st.tuples(st.integers(0, 99), st.integers(0, 99), st.integers(1, 50), st.integers(1, 50)),
    size=st.tuples(st.integers(1, 100), st.integers(1, 100)),
)
def test_every_chip_that_fits_lies_inside(rect: tuple[int, int, int, int], size: tuple[int, int]) -> None:
    x, y, w, h = rect
    box = (x, y, min(100, x + w), min(100, y + h))
    left, top, right, bottom = _placed(box, size, (100, 100), [], [box], 2)
    assert min(left, top) >= 0
    assert max(right, bottom) <= 100
    assert (right - left, bottom - top) == size


@pytest.mark.parametrize("radius", [0, 1, 2, 3, 7, 12])
def test_growing_is_a_square_dilation(radius: int) -> None:
    point = np.zeros((41, 45), np.bool_)
    point[20, 22] = True
    rows, columns = np.nonzero(_grown(point, radius))
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (
        20 - radius,
        20 + radius,
        22 - radius,
        22 + radius,
    )
    assert len(rows) == (2 * radius + 1) ** 2
