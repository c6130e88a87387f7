"""Masks of every form become the same text; whatever would not fit, or not end, is refused before it is drawn."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from geopix.data.entries import EntryError
from geopix.data.foreign.segmentation import counts_and_box
from geopix.records import decode_mask, encode_mask

HW = (8, 10)
RECT = [2, 1, 6, 1, 6, 4, 2, 4]
"""Columns 2 to 5, rows 1 to 3."""


def rect() -> np.ndarray[Any, np.dtype[np.bool_]]:
    mask = np.zeros(HW, np.bool_)
    mask[1:4, 2:6] = True
    return mask


RUNS = [17, 3, 5, 3, 5, 3, 5, 3, 36]


@pytest.mark.parametrize(
    "segmentation",
    [
        [RECT],
        json.dumps([RECT]),
        [[2, 1, 4, 1, 4, 4, 2, 4], [4, 1, 6, 1, 6, 4, 4, 4]],
        [RECT, [0, 0, 1, 1]],
        {"size": [8, 10], "counts": RUNS},
        encode_mask(rect()),
        {"size": [8, 10], "counts": encode_mask(rect())["counts"].encode()},
        [encode_mask(rect())],
        [encode_mask(rect()), {"size": [8, 10], "counts": RUNS}],
        {"size": [8, 10], "counts": [17, 0, 0, 3, 5, 1, 0, 2, 5, 3, 5, 3, 36, 0]},
        {"size": [8, 10], "counts": [10, 0, 7, 3, 5, 3, 5, 3, 5, 3, 0, 0, 36]},
    ],
    ids=str,
)
def test_every_form_is_the_same_text(segmentation: Any) -> None:
    assert counts_and_box(segmentation, HW) == (encode_mask(rect())["counts"], (2.0, 1.0, 6.0, 4.0))


@given(st.lists(st.integers(0, 6), min_size=1, max_size=30))
def test_empty_runs_make_no_other_mask(runs: list[int]) -> None:
    runs = [*runs, 200 - sum(runs)]
    mask = decode_mask({"size": [10, 20], "counts": runs})
    if mask.any():
        counts, _ = counts_and_box({"size": [10, 20], "counts": runs}, (10, 20))
        assert counts == encode_mask(mask)["counts"]


def test_parts_are_joined() -> None:
    left, right = rect(), np.roll(rect(), 3, axis=1)
    counts, box = counts_and_box([encode_mask(left), encode_mask(right)], HW)
    assert counts == encode_mask(left | right)["counts"]
    assert box == (2.0, 1.0, 9.0, 4.0)


@pytest.mark.parametrize(
    ("segmentation", "reason"),
    [
        ([], "mask empty"),
        ([[1, 1, 2, 2]], "mask empty"),
        ({"size": [8, 10], "counts": [80]}, "mask empty"),
        ({"size": [8, 10], "counts": [10, 0, 70]}, "mask empty"),
        ({"size": [10, 8], "counts": RUNS}, "mask of the wrong size"),
        ({"size": [8, 10], "counts": [3, 4]}, "mask of the wrong size"),
        ({"size": [8, 10], "counts": [-1, 81]}, "mask of the wrong size"),
        ({"size": [8, 10], "counts": [2**64, 80 - 2**64]}, "mask of the wrong size"),
        ({"size": [8, 10], "counts": "o" * 1_000_000}, "mask of the wrong size"),
        ({"size": [8, 10], "counts": "PPPPPPPPPPPPPPPPPPPPPP3"}, "mask of the wrong size"),
        ({"size": [8, 10], "counts": "é"}, "mask of the wrong size"),
        ([[2, 1, 6, 1, math.nan, 4]], "polygon out of the image"),
        ([[2, 1, 6, 1, math.inf, 4]], "polygon out of the image"),
        ([[2, 1, 1e9, 1, 6, 4]], "polygon out of the image"),
        ([[2, 1, 6, -9, 6, 4]], "polygon out of the image"),
        ([[0, 0, 10, 8] * 1000], "polygon longer than its image has pixels"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_what_does_not_fit_has_a_reason(segmentation: Any, reason: str) -> None:
    with pytest.raises(EntryError) as caught:
        counts_and_box(segmentation, HW)
    assert caught.value.reason == reason


@pytest.mark.parametrize(
    "segmentation", [None, 7, {}, {"size": [8, 10]}, {"size": 8, "counts": RUNS}, [[2, 1, 6, 1, 6, 4, 2]], ["abcdefg"],
        [[2, 1, 6, 1, 6, "x"]], "[[", "not json", [[[2, 1]] * 6]],
    ids=str,
)  # fmt: skip
def test_nonsense_raises_what_readers_expect(segmentation: Any) -> None:
    with pytest.raises((LookupError, TypeError, ValueError)):
        counts_and_box(segmentation, HW)


def test_a_polygon_may_leave_the_image_a_little() -> None:
    counts, box = counts_and_box([[-3, -2, 14, -2, 14, 16, -3, 16]], HW)
    assert decode_mask({"size": HW, "counts": counts}).all()
    assert box == (0.0, 0.0, 10.0, 8.0)
