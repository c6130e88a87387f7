"""Losses against values worked by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch.nn import functional

from geopix.losses import (
    CellFacts,
    alignment_loss,
    cell_facts,
    iou_loss,
    mask_iou,
    mask_loss,
    pointer_loss,
    relation_loss,
    telling_loss,
    word_loss,
)

LN2 = math.log(2)


def test_an_undecided_mask_costs_ln_2_and_a_dice_of_a_half() -> None:
    logits, coverage = torch.zeros(1, 2, 2), torch.tensor([[[1.0, 1.0], [0.0, 0.0]]])
    assert mask_loss(logits, coverage, 1.0, 0.0).item() == pytest.approx(LN2)
    # chances of one half: overlap 1, sums 2 and 2, one added above and below
    assert mask_loss(logits, coverage, 0.0, 1.0).item() == pytest.approx(1 - 3 / 5)
    assert mask_loss(logits, coverage, 2.0, 0.5).item() == pytest.approx(2 * LN2 + 0.2)


def test_a_sure_mask_costs_nothing_where_right_and_much_where_wrong() -> None:
    coverage = torch.tensor([[[1.0, 0.0], [0.0, 0.0]]])
    right = 20 * (2 * coverage - 1)
    assert mask_loss(right, coverage, 1.0, 1.0).item() == pytest.approx(0, abs=1e-6)
    assert mask_loss(-right, coverage, 1.0, 0.0).item() == pytest.approx(20)
    assert mask_loss(-right, coverage, 0.0, 1.0).item() == pytest.approx(1 - 1 / 5)


def test_mask_losses_are_averaged_over_targets() -> None:
    logits, coverage = torch.randn(3, 4, 4), torch.rand(3, 4, 4)
    each = [mask_loss(logits[i : i + 1], coverage[i : i + 1], 2.0, 0.5) for i in range(3)]
    torch.testing.assert_close(mask_loss(logits, coverage, 2.0, 0.5), torch.stack(each).mean())


def test_a_finer_coverage_is_pooled_to_the_logits() -> None:
    fine = torch.zeros(1, 4, 4)
    fine[0, :2, :2] = 1
    fine[0, 0, 2] = 1
    pooled = torch.tensor([[[1.0, 0.25], [0.0, 0.0]]])
    logits = torch.randn(1, 2, 2)
    torch.testing.assert_close(mask_loss(logits, fine, 1.0, 1.0), mask_loss(logits, pooled, 1.0, 1.0))


def test_half_precision_logits_are_compared_in_single() -> None:
    logits, coverage = torch.randn(2, 4, 4).bfloat16(), torch.rand(2, 4, 4)
    torch.testing.assert_close(mask_loss(logits, coverage, 1.0, 1.0), mask_loss(logits.float(), coverage, 1.0, 1.0))


def test_iou_is_counted_in_cells() -> None:
    logits = torch.tensor([[[1.0, 1.0], [-1.0, -1.0]], [[-1.0, -1.0], [-1.0, -1.0]], [[1.0, -1.0], [-1.0, -1.0]]])
    coverage = torch.tensor([[[1.0, 0.2], [0.6, 0.0]], [[0.0, 0.5], [0.0, 0.0]], [[0.0, 0.0], [0.0, 0.9]]])
    torch.testing.assert_close(mask_iou(logits, coverage), torch.tensor([1 / 3, 1.0, 0.0]))


def test_predicted_iou_and_words_are_cross_entropies() -> None:
    assert iou_loss(torch.tensor([0.0]), torch.tensor([0.3])).item() == pytest.approx(LN2)
    logits = torch.tensor([[0.0, math.log(3)], [0.0, 0.0]])
    assert word_loss(logits, torch.tensor([1, 0])).item() == pytest.approx((math.log(4 / 3) + LN2) / 2)


def test_cell_facts_by_hand() -> None:
    """A 4 x 4 grid: a ship on the two upper left cells, a bridge on one cell, a speck that covers a tenth of one."""
    coverage = torch.zeros(3, 4, 4)
    coverage[0, 0, :2] = 1.0
    coverage[1, 3, 2] = 0.8
    coverage[2, 2, 0] = 0.1
    facts = cell_facts(torch.tensor([0, 1, 0]), coverage, n_classes=3)
    assert facts.classes.view(4, 4).tolist() == [[0, 0, 2, 2], [2, 2, 2, 2], [0, 2, 2, 2], [2, 2, 1, 2]]
    assert facts.owned.sum() == 4
    assert facts.density.view(4, 4)[0].tolist() == [0.5, 0.5, 0, 0]
    assert facts.density.sum() == 3  # every object is one, the speck too
    assert facts.offset[0].tolist() == pytest.approx([0.125, 0.0])  # the ship's centre lies between its cells
    assert facts.offset[1].tolist() == pytest.approx([-0.125, 0.0])
    assert facts.log_area[0].item() == pytest.approx(np.log(2))


def test_cell_facts_without_objects_and_of_an_unknown_class() -> None:
    facts = cell_facts(torch.zeros(0).long(), torch.zeros(0, 3, 3), 5)
    assert facts.classes.tolist() == [4] * 9
    unknown = cell_facts(torch.tensor([4]), torch.ones(1, 3, 3), 5)
    assert unknown.classes.tolist() == [-1] * 9
    assert not unknown.owned.any()


def told(facts: CellFacts, n_classes: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """What a perfect head would say: one image of class logits, offsets and areas."""
    classes = 40.0 * functional.one_hot(facts.classes.clamp(min=0), n_classes)
    return classes[None], facts.offset[None], facts.log_area[None]


def one_image(facts: CellFacts) -> CellFacts:
    return CellFacts(*(part[None] for part in vars(facts).values()))


def test_relation_loss_is_least_where_all_is_true() -> None:
    coverage = torch.zeros(2, 4, 4)
    coverage[0, 0, 0] = coverage[1, 3, 2] = 1.0
    facts = cell_facts(torch.tensor([0, 1]), coverage, n_classes=3)
    perfect = told(facts, 3)
    assert relation_loss(*perfect, one_image(facts)).item() == pytest.approx(0, abs=1e-4)
    for index in range(3):
        worse = [part + (0.5 if position == index else 0) for position, part in enumerate(perfect)]
        worse[0] = perfect[0].roll(1, dims=-1) if index == 0 else perfect[0]
        assert relation_loss(worse[0], worse[1], worse[2], one_image(facts)) > 0.1


def test_relation_loss_asks_nothing_of_cells_that_nobody_knows() -> None:
    facts = cell_facts(torch.tensor([0]), torch.eye(3)[None] * torch.eye(3)[0], n_classes=3)
    silent = CellFacts(
        torch.full_like(facts.classes, -1), torch.zeros_like(facts.owned), *list(vars(facts).values())[2:]
    )
    anything = torch.randn(1, 9, 3), torch.randn(1, 9, 2), torch.randn(1, 9)
    assert relation_loss(*anything, one_image(silent)).item() == 0


def test_tokens_like_their_words_cost_little_and_their_length_counts() -> None:
    words = torch.eye(3)
    tokens, labels = words[[0, 1, 2, 2]][None], torch.tensor([[0, 1, 2, -1]])
    perfect = math.log(1 + 2 * math.exp(-20))
    assert alignment_loss(tokens, words, labels).item() == pytest.approx(perfect, abs=1e-6)
    assert alignment_loss(3 * tokens, words, labels).item() == pytest.approx(perfect + 4, abs=1e-5)
    wrong = torch.tensor([[1, -1, -1, -1]])
    assert alignment_loss(tokens, words, wrong).item() == pytest.approx(20, abs=1e-5)
    assert alignment_loss(tokens, words, torch.full((1, 4), -1)).item() == pytest.approx(0, abs=1e-6)


def test_all_that_was_said_of_an_image_should_be_found_among_its_tokens() -> None:
    words = torch.eye(3)
    half = torch.tensor([[0.5, 0.5, 0.0]])
    both, one = words[[0, 1]][None], words[[0, 0]][None]
    assert telling_loss(both, words, half).item() == pytest.approx(LN2, abs=1e-4)  # half of the tokens show each word
    assert telling_loss(one, words, half).item() > 5
    assert telling_loss(7 * both, words, half).item() == pytest.approx(LN2, abs=1e-4)
    two = torch.cat([both, one]), torch.cat([half, torch.zeros(1, 3)])
    assert telling_loss(two[0], words, two[1]).item() == pytest.approx(LN2, abs=1e-4)  # of the second nothing was said
    assert telling_loss(one, words, torch.zeros(1, 3)).item() == 0


def test_pointing_costs_the_entropy_of_the_object_where_it_is_right() -> None:
    coverage = torch.zeros(1, 4, 4)
    coverage[0, :2, :] = 1.0  # the upper two of four cells, each half of the object
    right = torch.tensor([[30.0, 30.0, 0.0, 0.0]])
    assert pointer_loss(right, coverage).item() == pytest.approx(LN2, abs=1e-4)
    assert pointer_loss(torch.zeros(1, 4), coverage).item() == pytest.approx(2 * LN2)
