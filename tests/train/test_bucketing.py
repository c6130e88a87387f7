"""Buckets: everything once, the same every time, and less padding than by chance."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from geopix.train.bucketing import by_length, padding


def test_neighbours_in_length_go_together() -> None:
    lengths = [30, 10, 31, 11, 50]
    batches = by_length(lengths, 2)
    assert batches == [[1, 3], [0, 2], [4]]
    assert padding(lengths, batches) == pytest.approx(1 - 132 / (22 + 62 + 50))
    assert padding(lengths, [[0, 1, 2, 3, 4]]) == pytest.approx(1 - 132 / 250)
    assert (by_length([], 3), padding([], [])) == ([], 0.0)
    with pytest.raises(ValueError, match="batches of 0 sequences"):
        by_length(lengths, 0)


@given(st.lists(st.integers(1, 900), max_size=40), st.integers(1, 9), st.integers(0, 99))
def test_everything_comes_once_and_the_same_every_time(lengths: list[int], size: int, seed: int) -> None:
    batches = by_length(lengths, size, np.random.default_rng(seed))
    assert sorted(index for batch in batches for index in batch) == list(range(len(lengths)))
    assert all(len(batch) <= size for batch in batches)
    assert batches == by_length(lengths, size, np.random.default_rng(seed))
    assert sorted(batches) == sorted(by_length(lengths, size))
    unsorted = [list(range(start, min(start + size, len(lengths)))) for start in range(0, len(lengths), size)]
    if len(lengths) % size == 0:
        assert padding(lengths, batches) <= padding(lengths, unsorted) + 1e-9
