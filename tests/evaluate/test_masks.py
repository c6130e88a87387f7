"""Run lengths against drawn masks, pycocotools' hostile corners, and boundary IoU against its definition."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import ndimage

from geopix.evaluate.answers import Given
from geopix.evaluate.masks import Held, boundary_depth, boundary_iou, edge, shared_pixels, stack
from geopix.evaluate.metrics import intersections, score_question, score_shared
from geopix.evaluate.probe import Probe, Truth
from geopix.evaluate.segmentation import Tally
from geopix.records import Mask, encode_mask


def _stack(masks: np.ndarray[tuple[int, ...], np.dtype[np.bool_]]) -> tuple[str, ...]:
    return tuple(encode_mask(mask)["counts"] for mask in masks)


some = st.integers(0, 3).flatmap(lambda count: arrays(np.bool_, (count, 5, 7)))


@given(some, some)
def test_shared_pixels_are_those_of_drawn_masks(predicted: Mask, true: Mask) -> None:
    ours, theirs = stack(_stack(predicted), (5, 7)), stack(_stack(true), (5, 7))
    assert shared_pixels(ours, theirs).tolist() == intersections(predicted, true).tolist()
    assert ours.areas.tolist() == [int(mask.sum()) for mask in predicted]
    score = score_shared(shared_pixels(ours, theirs), ours.areas, theirs.areas)
    assert score == score_question(predicted, true)


@given(st.lists(st.integers(0, 9), min_size=1, max_size=8), arrays(np.bool_, (1, 6, 6)))
def test_runs_of_no_pixels_are_read_as_what_they_mean(runs: list[int], true: Mask) -> None:
    runs = [run for run, total in zip(runs, np.cumsum(runs), strict=True) if total <= 36]
    runs += [36 - sum(runs)]
    drawn = np.repeat(np.arange(len(runs)) % 2 == 1, runs).reshape(6, 6).T
    odd = stack([runs], (6, 6))
    assert shared_pixels(odd, stack(_stack(true), (6, 6))).tolist() == [[int((drawn & true[0]).sum())]]


def test_large_areas_stay_exact() -> None:
    size = (20_000, 30_000)
    first = stack([encode_runs([1, 599_999_999])], size)
    second = stack([encode_runs([0, 599_999_998, 2])], size)
    assert shared_pixels(first, second).tolist() == [[599_999_997]]


def encode_runs(runs: list[int]) -> str:
    from pycocotools import mask as coco

    made = coco.frPyObjects({"size": [20_000, 30_000], "counts": runs}, 20_000, 30_000)
    return str(made["counts"].decode())


def test_masks_of_another_size_are_refused() -> None:
    with pytest.raises(ValueError, match="run lengths sum to 9, not 2 x 2"):
        stack([[0, 9]], (2, 2))
    with pytest.raises(ValueError, match="cannot be scored"):
        shared_pixels(stack([[0, 4]], (2, 2)), stack([[0, 6]], (2, 3)))


def boundary(mask: Mask, depth: int) -> Mask:
    """An edge drawn in its image."""
    found, one = np.zeros_like(mask), edge(mask, depth)
    height, width = one.inside.shape
    found[one.top : one.top + height, one.left : one.left + width] = one.inside
    assert found.sum() == one.pixels
    return found


def test_boundary_by_hand() -> None:
    mask = np.zeros((7, 7), np.bool_)
    mask[1:6, 1:6] = True  # 25 pixels; a depth of 1 leaves the inner 9
    assert boundary(mask, 1).sum() == 16
    assert boundary(mask, 2).sum() == 24
    assert boundary(mask, 3).sum() == 25
    edge = np.ones((4, 4), np.bool_)  # the image's border is a boundary, too
    assert boundary(edge, 1).sum() == 12


def test_boundary_iou_by_hand() -> None:
    assert boundary_depth((800, 800)) == 23
    assert boundary_depth((10, 10)) == 1
    small, large = np.zeros((40, 40), np.bool_), np.zeros((40, 40), np.bool_)
    small[10:20, 10:20] = True  # a ring of 36
    large[10:20, 10:21] = True  # a ring of 38
    # Common: the whole left, upper and lower sides of the smaller (28 pixels); its right side is inside the larger's
    # hull but one column off, so only its two corners are in both.
    shared = 10 + 9 + 9
    assert boundary_iou(small, large) == pytest.approx(shared / (36 + 38 - shared))
    assert boundary_iou(small, small) == 1.0
    assert boundary_iou(small, np.zeros_like(small)) == 0.0
    assert boundary_iou(np.zeros_like(small), np.zeros_like(small)) == 0.0
    with pytest.raises(ValueError, match="boundaries"):
        boundary_iou(small, large[:20])


@given(arrays(np.bool_, (9, 12), elements=st.sampled_from([True, True, True, True, False])), st.integers(1, 4))
def test_boundary_is_the_mask_without_what_erosion_leaves(mask: Mask, depth: int) -> None:
    eroded = ndimage.binary_erosion(mask, np.ones((3, 3)), iterations=depth, border_value=0)
    assert (boundary(mask, depth) == (mask & ~eroded)).all()


@given(arrays(np.bool_, (2, 30, 40)))
def test_boundary_iou_is_that_of_whole_images(masks: Mask) -> None:
    ours, theirs = (boundary(mask, 1) for mask in masks)
    union = (ours | theirs).sum()
    expected = (ours & theirs).sum() / union if union else 0.0
    assert boundary_iou(masks[0], masks[1]) == pytest.approx(float(expected))


@given(some, some)
def test_boundaries_of_pairs_are_those_of_the_drawn_masks(predicted: Mask, true: Mask) -> None:
    held = Held(stack(_stack(predicted), (5, 7)), stack(_stack(true), (5, 7)))
    for row, ours in enumerate(predicted):
        for column, theirs in enumerate(true):
            assert held.boundary_iou(row, column) == boundary_iou(ours, theirs)


def test_scoring_holds_the_masks_of_one_question_at_a_time() -> None:
    side, each, questions = 300, 2, 24
    rough = np.random.default_rng(0).integers(0, side // 2, (questions, each, side))
    asked = []
    for number, heights in enumerate(rough):
        masks = np.arange(side) < heights[..., None]
        asked.append((number, _stack(masks), _stack(np.roll(masks, 9, axis=2))))
    tally = Tally()
    tracemalloc.start()
    for number, true, predicted in asked:
        truth = tuple(Truth("ship", one) for one in true)
        probe = Probe(str(number), "image", "all", "", (side, side), Path("none"), truth=truth)
        tally.add(probe, Given("", predicted, (None, None)))
    kept, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert kept < 10 * side * side  # of 48 pairs, 90 kB a mask
    assert peak < kept + 20 * side * side
