"""Run lengths without pixels: the same as drawing the mask, and nothing hostile gets through."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pycocotools import mask as coco_mask

from geopix.data import rle
from geopix.records import Mask, decode_mask, encode_mask, mask_box


@st.composite
def masks(draw: st.DrawFn) -> Mask:
    """Blobs, stripes and noise, empty and full ones too."""
    height, width = draw(st.integers(1, 40)), draw(st.integers(1, 40))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    share = draw(st.sampled_from([0.0, 0.02, 0.5, 0.98, 1.0]))
    mask: Mask = rng.random((height, width)) < share
    if draw(st.booleans()):
        mask[draw(st.integers(0, height - 1)) :] = True
    return mask


@given(masks())
def test_a_mask_is_measured_as_if_it_were_drawn(mask: Mask) -> None:
    counts, size_hw = encode_mask(mask)["counts"], (mask.shape[0], mask.shape[1])
    on = rle.spans(counts, size_hw)
    assert rle.area(counts, size_hw) == rle.pixels(on) == mask.sum()
    assert np.array_equal(rle.draw(on, size_hw), mask)
    assert rle.text(on, size_hw) == counts
    if mask.any():
        assert rle.box(on) == mask_box(mask)


@given(masks(), st.integers(0, 30), st.integers(0, 30), st.integers(1, 20), st.integers(1, 20))
def test_a_window_of_a_mask_is_the_masks_window(mask: Mask, left: int, top: int, width: int, height: int) -> None:
    size_hw = (mask.shape[0], mask.shape[1])
    on = rle.cut(rle.spans(encode_mask(mask)["counts"], size_hw), left, top, width, height)
    expected = np.zeros((height, width), dtype=np.bool_)
    piece = mask[top : top + height, left : left + width]
    expected[: piece.shape[0], : piece.shape[1]] = piece
    assert np.array_equal(rle.draw(on, (height, width)), expected)


def test_runs_agree_with_pycocotools_where_they_are_long() -> None:
    rows, columns = np.indices((800, 3000))
    mask = ((rows - 400) / 390) ** 2 + ((columns - 1500) / 1400) ** 2 < 1
    counts = encode_mask(mask)["counts"]
    assert rle.area(counts, (800, 3000)) == coco_mask.area({"size": [800, 3000], "counts": counts})
    assert np.array_equal(decode_mask({"size": (800, 3000), "counts": counts}), mask)


def test_run_lengths_that_lie_are_refused() -> None:
    with pytest.raises(ValueError, match="run lengths"):
        rle.spans("oooooooo", (6, 8))
    with pytest.raises(ValueError, match="sum to 5"):
        rle.area("50", (6, 8))
