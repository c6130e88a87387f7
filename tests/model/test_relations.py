"""Counting, when every cell tells the truth."""

from __future__ import annotations

from typing import Any

import torch
from torch.nn import functional

from geopix.losses import cell_facts
from geopix.model.relations import OrdinalEncoding, Relations

SIDE = 12


def test_ranks_and_counts_follow_from_true_cells() -> None:
    """Three ships along a diagonal, the middle one largest, and a bridge that must not be counted among them."""
    coverage = torch.zeros(4, SIDE, SIDE)
    coverage[0, 1, 1] = 1
    coverage[1, 4:7, 4:7] = 1
    coverage[2, 10, 9:11] = 1
    coverage[3, 1:3, 9] = 1
    classes = torch.tensor([1, 1, 1, 0])
    facts = cell_facts(classes, coverage, n_classes=3)
    relations = Relations(
        40.0 * functional.one_hot(facts.classes, 3)[None].float(),
        facts.offset[None],
        facts.log_area[None],
    )
    described, there = OrdinalEncoding(8, 32, 3, SIDE).describe(relations)
    told = described[0, :, :35].unflatten(-1, (7, 5)).argmax(dim=-1).view(SIDE, SIDE, 7)
    # left, right, top, bottom, larger ones, smaller ones, how many others
    assert told[1, 1].tolist() == [0, 2, 0, 2, 2, 0, 2]
    assert told[5, 5].tolist() == [1, 1, 1, 1, 0, 2, 2]
    assert told[10, 9].tolist() == told[10, 10].tolist() == [2, 0, 2, 0, 1, 1, 2]
    assert told[2, 9].tolist() == [0] * 7
    assert torch.equal(there[0, :, 0] > 0.5, facts.owned)


def test_nothing_is_encoded_where_there_is_nothing() -> None:
    encoding = OrdinalEncoding(8, 32, 3, SIDE)
    last: Any = encoding.head[-1]
    with torch.no_grad():
        last.weight.zero_()
        last.bias.copy_(torch.tensor([0.0, 0.0, 60.0, 0.0, 0.0, 0.0]))
    _, encoded = encoding(torch.randn(2, SIDE * SIDE, 8))
    assert encoded.abs().max() < 1e-6
