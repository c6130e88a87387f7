"""Label Studio's run lengths, against what its own writer gives for the same mask."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from geopix.data.review.brush import decode, encode

# label_studio_sdk 2.1.2, converter.brush.mask2rle of MASK * 255
THEIRS = [
    0, 0, 0, 140, 57, 27, 254, 35, 0, 191, 255, 108, 2, 63, 248, 192, 39, 255, 182, 1, 127, 254, 48, 8, 255,
    240, 184, 0,
]  # fmt: skip
MASK = np.zeros((5, 7), dtype=np.bool_)
MASK[1:4, 2:6] = True
MASK[2, 3] = False
MASK[4, 0] = True


def test_a_mask_is_written_as_label_studio_writes_it() -> None:
    assert encode(MASK) == THEIRS
    assert np.array_equal(decode(THEIRS, (5, 7)), MASK)


@given(st.integers(1, 40), st.integers(1, 40), st.integers(0, 2**32 - 1))
def test_what_is_written_is_read_back(height: int, width: int, seed: int) -> None:
    mask = np.random.default_rng(seed).random((height, width)) < 0.3
    assert np.array_equal(decode(encode(mask), (height, width)), mask)


def test_runs_longer_than_a_field_are_cut() -> None:
    mask = np.zeros((300, 300), dtype=np.bool_)
    mask[100:] = True
    rle = encode(mask)
    assert len(rle) < 40
    assert np.array_equal(decode(rle, (300, 300)), mask)


def test_single_words_are_read_too() -> None:
    bits = f"{8:032b}" + "00111" + "0010001101111111" + "0" + "00" + f"{7:03b}" + "00000000" * 7 + "11111111"
    bits += "0" * (-len(bits) % 8)
    rle = [int(bits[at : at + 8], 2) for at in range(0, len(bits), 8)]
    assert decode(rle, (1, 2)).tolist() == [[False, True]]


@pytest.mark.parametrize("rle", [[], [256], ["a"], THEIRS[:9], [0, 0, 0, 141, *THEIRS[4:]], THEIRS[:7] + [255] * 30])
def test_broken_run_lengths_are_told(rle: list[int]) -> None:
    with pytest.raises(ValueError, match="brush"):
        decode(rle, (5, 7))
