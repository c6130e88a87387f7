"""Scores against hand-worked values, and properties that any score of sets of masks must have."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from geopix.evaluate.metrics import (
    Masks,
    bootstrap,
    box_iou,
    cumulative_iou,
    cumulative_iou_of,
    intersections,
    match,
    mean_iou,
    paired_difference,
    pooled_ious,
    score_question,
    shared_ious,
)


def stack(*rows: str) -> Masks:
    """Masks of one row of pixels each, drawn with # and . ("##.." is two of four)."""
    return np.array([[[letter == "#" for letter in row]] for row in rows], dtype=np.bool_)


def none(width: int) -> Masks:
    return np.zeros((0, 1, width), dtype=np.bool_)


def test_shared_pixels_and_ious_by_hand() -> None:
    shared = intersections(stack("##..", "..##", "...."), stack("###.", "...."))
    assert shared.tolist() == [[2, 0], [1, 0], [0, 0]]
    ious = shared_ious(shared, np.array([2, 2, 0]), np.array([3, 0]))
    assert ious == pytest.approx(np.array([[2 / 3, 0], [1 / 4, 0], [0, 0]]))


def test_no_masks_share_nothing() -> None:
    assert intersections(none(4), stack("##..")).shape == (0, 1)
    assert intersections(stack("##.."), none(4)).shape == (1, 0)


@pytest.mark.parametrize(
    ("predicted", "true"),
    [
        (np.zeros((1, 2, 3), np.bool_), np.zeros((1, 3, 2), np.bool_)),
        (np.zeros((1, 2, 3), np.uint8), np.zeros((1, 2, 3), np.bool_)),
        (np.zeros((2, 3), np.bool_), np.zeros((1, 2, 3), np.bool_)),
    ],
)
def test_masks_of_another_kind_are_refused(predicted: Masks, true: Masks) -> None:
    with pytest.raises(ValueError, match="masks"):
        intersections(predicted, true)


def test_matching_is_optimal_where_greedy_is_not() -> None:
    # Greedy takes 0.6 first and is left with 0.0: 0.6 in all. The best total pairs 0.5 with 0.5.
    assert match(np.array([[0.6, 0.5], [0.5, 0.0]])) == [(1, 0), (0, 1)]


def test_a_question_by_hand() -> None:
    # The pair shares 2 of 3 pixels; the second target (1 pixel) is missed.
    score = score_question(stack("##...."), stack("###...", ".....#"))
    assert score.ious == pytest.approx((2 / 3, 0.0))
    assert score.mean_iou == pytest.approx(1 / 3)
    assert (score.intersection_px, score.union_px) == (2, 4)
    assert not score.count_is_right
    assert score.n_extra == 0


def test_an_extra_mask_counts_as_zero_and_joins_the_union() -> None:
    score = score_question(stack("##....", "...###"), stack("##...."))
    assert score.ious == (1.0, 0.0)
    assert score.mean_iou == 0.5
    assert (score.intersection_px, score.union_px) == (2, 5)
    assert score.n_extra == 1


def test_nothing_meant_and_nothing_predicted_is_right() -> None:
    score = score_question(none(4), none(4))
    assert score.mean_iou == 1.0
    assert score.ious == ()
    assert score.count_is_right
    assert math.isnan(cumulative_iou([score]))


def test_a_mask_where_nothing_was_meant_is_wrong() -> None:
    score = score_question(stack("##.."), none(4))
    assert score.mean_iou == 0.0
    assert (score.intersection_px, score.union_px) == (0, 2)


def test_the_mean_over_questions_differs_from_the_mean_over_masks() -> None:
    one = score_question(stack("##.."), stack("##.."))
    two = score_question(none(4), stack("#...", ".#..", "..#."))
    assert mean_iou([one, two]) == 0.5
    assert pooled_ious([one, two]).tolist() == [1.0, 0.0, 0.0, 0.0]
    assert cumulative_iou([one, two]) == pytest.approx(2 / 5)
    assert cumulative_iou_of(np.array([[2.0, 2.0], [0.0, 3.0]])) == pytest.approx(2 / 5)


@pytest.mark.parametrize(
    ("predicted", "true", "expected"),
    [
        ((0, 0, 2, 2), (0, 0, 2, 2), 1.0),
        ((0, 0, 2, 2), (1, 0, 3, 2), 1 / 3),
        ((0, 0, 1.5, 1), (0.5, 0, 2, 1), 0.5),
        ((0, 0, 1, 1), (1, 0, 2, 1), 0.0),
        ((1, 1, 1, 1), (1, 1, 1, 1), 0.0),
    ],
)
def test_box_iou_by_hand(
    predicted: tuple[float, float, float, float], true: tuple[float, float, float, float], expected: float
) -> None:
    assert box_iou(predicted, true) == pytest.approx(expected)


mask_stacks = st.integers(0, 4).flatmap(lambda count: arrays(np.bool_, (count, 3, 4)))


@given(mask_stacks)
def test_the_truth_scores_one(masks: Masks) -> None:
    masks = masks[masks.any(axis=(1, 2))]
    score = score_question(masks, masks)
    assert score.mean_iou == pytest.approx(1.0)
    assert score.intersection_px == score.union_px


@given(mask_stacks, mask_stacks, st.randoms(use_true_random=False))
def test_the_order_of_the_masks_does_not_matter(predicted: Masks, true: Masks, random: np.random.RandomState) -> None:
    order = list(range(len(predicted)))
    random.shuffle(order)
    permuted = score_question(predicted[order], true)
    assert permuted.mean_iou == pytest.approx(score_question(predicted, true).mean_iou)


@given(mask_stacks, mask_stacks)
def test_scores_stay_between_zero_and_one_and_do_not_depend_on_who_is_truth(predicted: Masks, true: Masks) -> None:
    score = score_question(predicted, true)
    assert 0.0 <= score.mean_iou <= 1.0
    assert 0 <= score.intersection_px <= score.union_px
    assert score_question(true, predicted).mean_iou == pytest.approx(score.mean_iou)


@given(mask_stacks)
def test_one_more_mask_than_meant_lowers_the_score(masks: Masks) -> None:
    masks = masks[masks.any(axis=(1, 2))]
    extra = np.concatenate([masks, np.ones((1, 3, 4), np.bool_)])
    assert score_question(extra, masks).mean_iou < score_question(masks, masks).mean_iou
    assert score_question(masks, extra).mean_iou < 1.0


def test_the_bootstrap_is_repeatable_and_holds_its_value() -> None:
    values, images = [0.2, 0.4, 0.9, 0.5], ["a", "a", "b", "c"]
    first = bootstrap(values, images)
    assert first == bootstrap(values, images)
    assert first.low <= first.value <= first.high
    assert first.value == pytest.approx(0.5)
    assert str(bootstrap([0.5], ["a"], draws=2)) == "0.500 [0.500, 0.500]"


def test_resampling_images_is_wider_than_resampling_questions_when_images_differ() -> None:
    values = np.repeat([0.0, 1.0, 0.0, 1.0], 25)
    by_image = bootstrap(values, np.repeat(np.arange(4), 25).tolist())
    by_question = bootstrap(values, list(range(100)))
    assert by_image.high - by_image.low > 2 * (by_question.high - by_question.low)


def test_the_bootstrap_covers_a_known_mean() -> None:
    random = np.random.default_rng(1)
    n_images, repeats, hits = 60, 200, 0
    images = np.repeat(np.arange(n_images), 2).tolist()
    for repeat in range(repeats):
        shared = np.repeat(random.normal(0.5, 0.1, n_images), 2)
        interval = bootstrap(shared + random.normal(0, 0.05, 2 * n_images), images, draws=200, seed=repeat)
        hits += interval.low <= 0.5 <= interval.high
    assert 0.90 <= hits / repeats <= 0.99


def test_a_paired_difference_sees_a_gain_that_the_spread_hides() -> None:
    random = np.random.default_rng(0)
    theirs = random.uniform(0, 0.9, 80)
    gain = paired_difference(theirs + 0.05, theirs, list(range(80)))
    assert gain.low == pytest.approx(0.05)
    assert gain.value == pytest.approx(0.05)
    with pytest.raises(ValueError, match="same questions"):
        paired_difference([0.1], [0.1, 0.2], ["a"])


def test_the_bootstrap_refuses_rows_without_images() -> None:
    with pytest.raises(ValueError, match="one image for each"):
        bootstrap([0.1, 0.2], ["a"])
    with pytest.raises(ValueError, match="one image for each"):
        bootstrap([], [])
