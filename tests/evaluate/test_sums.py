"""Sums by hand: what is added comes back as rows, and a number that nobody added to is none."""

from __future__ import annotations

from collections import namedtuple

import pytest

from geopix.evaluate.sums import Sums

Question = namedtuple("Question", "id image_key")


def test_what_is_added_comes_back_as_rows() -> None:
    sums = Sums()
    sums.add("IoU", Question("a", "one"), 1.5, 2)
    sums.add("IoU", Question("b", "one"), 0.5, 3)
    found = sums.measure("IoU", "masks")
    assert found is not None
    assert (found.ids, found.image_keys, found.rows.tolist()) == (("a", "b"), ("one", "one"), [[1.5, 2.0], [0.5, 3.0]])
    assert found.value == pytest.approx(2 / 5)
    assert (found.n, found.unit) == (5, "masks")
    assert sums.measure("cIoU") is None
