"""The filter's limits, and windows, turns and mosaics that keep image, mask and box together."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from geopix.data.construct import crop, mosaic, passes_filter, photometric, random_window, refusal, resize, turn
from geopix.records import Instance, Mask, Sample, mask_box
from tests.tiny import boxed, scene

THING = boxed("ship", (0.0, 0.0, 1.0, 1.0))


def crowd(*counts: int) -> list[Instance]:
    """So many of each of several classes."""
    return [boxed(f"class {index}", (0.0, 0.0, 1.0, 1.0)) for index, count in enumerate(counts) for _ in range(count)]


@pytest.mark.parametrize(
    ("counts", "passes"),
    [
        ((), False),
        ((1,), True),
        ((4,), True),
        ((5,), False),
        ((4, 4, 3), True),
        ((4, 4, 4), False),
        ((1,) * 11, True),
        ((1,) * 12, False),
        ((1, 5), False),
    ],
)
def test_the_papers_filter(counts: tuple[int, ...], passes: bool) -> None:
    assert passes_filter(crowd(*counts)) is passes


def test_the_filter_says_why() -> None:
    assert refusal([]) == "no object"
    assert refusal(["ship"] * 5) == "too many of one class"
    assert refusal([str(number) for number in range(12)]) == "too many objects"
    assert refusal(["ship"] * 4 + ["bridge"]) is None


def test_the_filters_limits_can_be_set() -> None:
    assert passes_filter(crowd(5), max_per_class=5)
    assert not passes_filter(crowd(2, 2), max_total=3)


def masks(sample: Sample) -> list[Mask]:
    """Its masks; checks on the way that every box is its mask's and every mask lies on its own red."""
    found = []
    for instance in sample.instances:
        assert instance.mask is not None
        assert instance.box_xyxy_px == mask_box(instance.mask)
        assert len(set(sample.image[instance.mask, 0])) == 1
        found.append(instance.mask)
    return found


def reds(sample: Sample) -> list[int]:
    """Which objects of `scene` they are."""
    return [int(sample.image[mask, 0][0]) - 200 for mask in masks(sample)]


ONE = scene([("ship", (10, 10, 20, 20))])
"""A hundred pixels, in columns and rows 10 to 19."""


@pytest.mark.parametrize(
    ("left", "kept"),
    [
        (10, True),  # all of it
        (14, True),  # sixty of a hundred
        (15, None),  # half
        (19, None),  # ten
        (20, False),  # nothing
    ],
)
def test_a_window_that_halves_an_object_is_refused(left: int, kept: bool | None) -> None:
    window = crop(ONE, left, 0, 60, 60)
    assert (window is not None and bool(window.instances)) == bool(kept)
    assert (window is None) == (kept is None)


def test_a_stray_piece_is_dropped_from_the_window() -> None:
    long = scene([("bridge", (0, 40, 100, 50)), ("ship", (95, 10, 100, 15))])
    window = crop(long, 93, 0, 7, 100)  # seven of a hundred columns of the bridge
    assert window is not None
    assert [instance.class_name for instance in window.instances] == ["ship"]
    assert crop(long, 92, 0, 8, 100) is None


def test_an_object_too_small_to_see_refuses_the_window() -> None:
    eight, seven = scene([("ship", (0, 0, 4, 2))]), scene([("ship", (0, 0, 7, 1))])
    assert crop(eight, 0, 0, 100, 100) is not None  # 8 of 10,000 pixels
    assert crop(seven, 0, 0, 100, 100) is None


def test_a_window_keeps_pixels_masks_and_boxes_in_step() -> None:
    sample = scene([("ship", (10, 10, 20, 20)), ("ship", (50, 60, 60, 64)), ("harbor", (80, 80, 99, 99))])
    window = crop(sample, 5, 8, 70, 60)
    assert window is not None
    assert window.size_hw == (60, 70)
    assert np.array_equal(window.image, sample.image[8:68, 5:75])
    assert [instance.box_xyxy_px for instance in window.instances] == [(5, 2, 15, 12), (45, 52, 55, 56)]
    assert reds(window) == [0, 1]
    assert window.key == "scene#5,8,70,60"
    assert sample.instances[0].box_xyxy_px == (10, 10, 20, 20)


def test_objects_without_masks_can_not_be_cut_turned_or_resized() -> None:
    sample = Sample("boxes", ONE.image, (THING,))
    assert crop(sample, 0, 0, 50, 50) is None
    with pytest.raises(ValueError, match="only instances with masks"):
        turn(sample, 1, False)
    with pytest.raises(ValueError, match="only instances with masks"):
        resize(sample, 10, 10)


MANY = scene(
    [("ship", (5, 5, 30, 20)), ("ship", (60, 5, 90, 25)), ("harbor", (10, 70, 50, 90)), ("vehicle", (70, 70, 80, 80))],
    size_hw=(100, 140),
)


@given(st.integers(0, 2**32))
def test_a_random_window_is_as_random_as_its_generator_and_passes(seed: int) -> None:
    first, second = (random_window(MANY, np.random.default_rng(seed)) for _ in range(2))
    assert (first is None) == (second is None)
    if first is not None and second is not None:
        assert first.key == second.key
        assert np.array_equal(first.image, second.image)
        assert passes_filter(first.instances)
        assert len(masks(first)) == len(first.instances)
        assert max(first.size_hw) <= 140


def test_random_windows_differ_and_are_usually_found() -> None:
    windows = [random_window(MANY, np.random.default_rng(seed)) for seed in range(50)]
    found = [window for window in windows if window is not None]
    assert len(found) > 40
    assert len({window.key for window in found}) > 30
    assert {len(window.instances) for window in found} >= {1, 2, 4}


def test_no_window_is_found_where_none_passes() -> None:
    crowded = Sample("crowd", ONE.image, ONE.instances * 5)  # five in one place
    assert all(random_window(crowded, np.random.default_rng(seed)) is None for seed in range(20))
    assert random_window(scene([]), np.random.default_rng(0)) is None


def test_a_quarter_turn_goes_anticlockwise_and_a_mirror_swaps_left_and_right() -> None:
    sample = scene([("ship", (90, 0, 100, 20))], size_hw=(40, 100))  # upper right
    turned = turn(sample, 1, False)
    assert turned.size_hw == (100, 40)
    assert turned.instances[0].box_xyxy_px == (0.0, 0.0, 20.0, 10.0)  # upper left
    assert turn(sample, 0, True).instances[0].box_xyxy_px == (0.0, 0.0, 10.0, 20.0)


@given(st.integers(0, 3), st.booleans())
def test_every_way_to_hold_a_picture_keeps_its_objects(quarters: int, mirrored: bool) -> None:
    moved = turn(MANY, quarters, mirrored)
    assert reds(moved) == [0, 1, 2, 3]
    assert [mask.sum() for mask in masks(moved)] == [mask.sum() for mask in masks(MANY)]
    back = turn(turn(moved, 0, mirrored), 4 - quarters, False)
    assert np.array_equal(back.image, MANY.image)
    assert all(np.array_equal(ours, theirs) for ours, theirs in zip(masks(back), masks(MANY), strict=True))


def test_doubling_doubles_masks_and_boxes() -> None:
    larger = resize(MANY, 200, 280)
    assert larger.size_hw == (200, 280)
    for instance, before in zip(larger.instances, MANY.instances, strict=True):
        assert before.mask is not None
        assert instance.mask is not None
        assert np.array_equal(instance.mask, np.kron(before.mask, np.ones((2, 2), np.bool_)))
        assert instance.box_xyxy_px == tuple(2 * value for value in before.box_xyxy_px)


def test_an_object_that_shrinks_to_nothing_is_gone() -> None:
    assert resize(scene([("ship", (0, 0, 1, 1)), ("ship", (40, 40, 80, 80))]), 10, 10).instances[0].box_xyxy_px == (
        4,
        4,
        8,
        8,
    )


def quarter(name: str, complete: bool = True) -> Sample:
    return scene([(name, (2, 4, 12, 10))], size_hw=(20, 20), key=name, complete=complete)


@pytest.mark.parametrize(
    ("names", "across", "corners"),
    [
        ("abcd", 2, [(0, 0), (20, 0), (0, 20), (20, 20)]),
        ("abc", 2, [(0, 0), (20, 0), (0, 20)]),
    ],
)
def test_a_mosaic_puts_windows_in_their_cells(names: str, across: int, corners: Sequence[tuple[int, int]]) -> None:
    cells = [quarter(name) for name in names]
    joined = mosaic(cells, 40, across)
    assert joined.size_hw == (40, 40)
    assert joined.key == "+".join(names)
    for cell, instance, (left, top) in zip(cells, joined.instances, corners, strict=True):
        assert np.array_equal(joined.image[top : top + 20, left : left + 20], cell.image)
        assert instance.class_name == cell.key
        assert instance.box_xyxy_px == (left + 2, top + 4, left + 12, top + 10)
    assert len(masks(joined)) == len(names)


def test_a_mosaic_of_two_stretches_its_cells() -> None:
    joined = mosaic([quarter("a"), quarter("b")], 40, 2)  # one row: cells 40 high and 20 wide
    assert [instance.box_xyxy_px for instance in joined.instances] == [(2, 8, 12, 20), (22, 8, 32, 20)]


def test_a_mosaic_is_complete_only_where_all_of_it_is() -> None:
    assert mosaic([quarter("a"), quarter("b")], 40, 2).complete
    assert not mosaic([quarter("a"), quarter("b", complete=False)], 40, 2).complete


@given(st.integers(0, 2**32))
def test_other_light_leaves_shape_and_type(seed: int) -> None:
    lit, again = (photometric(MANY.image, np.random.default_rng(seed)) for _ in range(2))
    assert lit.dtype == np.uint8
    assert lit.shape == MANY.image.shape
    assert np.array_equal(lit, again)


def test_other_light_differs_but_does_not_hide_the_picture() -> None:
    grey = np.tile(np.arange(60, 190, dtype=np.uint8)[:, None, None], (1, 30, 3))
    for seed in range(20):
        lit = photometric(grey, np.random.default_rng(seed)).astype(int).mean(axis=(1, 2))
        assert (np.diff(lit) >= 0).all()
        assert lit[-1] - lit[0] > 80
    assert not np.array_equal(photometric(grey, np.random.default_rng(0)), grey)
