"""The nouns refuse what does not fit, and masks survive COCO's run lengths."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pycocotools import mask as coco_mask

from geopix.records import (
    Answer,
    Box,
    Instance,
    Mask,
    Sample,
    decode_mask,
    encode_mask,
    mask_box,
    run_lengths,
    runs_box,
)

BOX: Box = (1.0, 2.0, 3.0, 4.0)
IMAGE = np.zeros((4, 6, 3), np.uint8)


@pytest.mark.parametrize(
    "box", [(3.0, 0.0, 1.0, 4.0), (0.0, 4.0, 1.0, 3.0), (0.0, 0.0, math.nan, 1.0), (0.0, 0.0, math.inf, 1.0)]
)
def test_a_box_is_ordered_and_finite(box: Box) -> None:
    with pytest.raises(ValueError, match="x_min, y_min, x_max, y_max"):
        Instance("it", "ship", box)


@pytest.mark.parametrize("mask", [np.zeros((4, 6), np.uint8), np.zeros((1, 4, 6), np.bool_), np.zeros(4, np.bool_)])
def test_a_mask_is_two_dimensional_and_bool(mask: Any) -> None:
    with pytest.raises(ValueError, match=r"\(H, W\) bool"):
        Instance("it", "ship", BOX, mask)


@pytest.mark.parametrize("name", ["score", "class_score"])
@pytest.mark.parametrize("value", [-0.01, 1.01, math.nan])
def test_scores_are_probabilities(name: str, value: float) -> None:
    scores: dict[str, Any] = {name: value}
    with pytest.raises(ValueError, match=f"{name} is a probability"):
        Instance("it", "ship", BOX, **scores)


@pytest.mark.parametrize("image", [np.zeros((4, 6), np.uint8), np.zeros((3, 4, 6), np.uint8), np.zeros((4, 6, 3))])
def test_an_image_is_rgb_bytes(image: Any) -> None:
    with pytest.raises(ValueError, match=r"harbour: an image is \(H, W, 3\) uint8 RGB"):
        Sample("harbour", image)


def test_masks_have_the_size_of_their_image() -> None:
    fitting = Instance("it", "ship", BOX, np.ones((4, 6), np.bool_))
    assert Sample("harbour", IMAGE, (fitting,)).size_hw == (4, 6)
    with pytest.raises(ValueError, match=r"harbour: a mask of \(6, 4\)"):
        Sample("harbour", IMAGE, (Instance("it", "ship", BOX, np.ones((6, 4), np.bool_)),))


def test_an_answer_as_json_is_rounded_and_plain() -> None:
    instance = Instance("the quay", "harbor", (0.123, 1.0, 2.0, 2.999), score=0.5)
    assert Answer("the quay [1]", (instance,), (4, 6), "nano", 0.12345, id="a").to_json() == {
        "id": "a",
        "text": "the quay [1]",
        "instances": [
            {
                "phrase": "the quay",
                "class": "harbor",
                "class_score": None,
                "score": 0.5,
                "bbox_xyxy_px": [0.12, 1.0, 2.0, 3.0],
                "mask": None,
            }
        ],
        "size_hw": [4, 6],
        "model": "nano",
        "elapsed_s": 0.123,
        "error": None,
    }


def test_run_lengths_go_down_the_columns() -> None:
    mask = np.array([[False, True, False], [True, False, False]])
    assert np.array_equal(decode_mask({"size": [2, 3], "counts": [1, 2, 3]}), mask)
    assert encode_mask(mask) == {"size": [2, 3], "counts": "123"}
    assert np.array_equal(decode_mask({"size": [2, 3], "counts": "123"}), mask)


@st.composite
def rectangles(draw: st.DrawFn) -> Mask:
    """Up to five rectangles on an image large enough for runs of several characters."""
    height, width = draw(st.integers(1, 300)), draw(st.integers(1, 300))
    mask = np.zeros((height, width), np.bool_)
    for _ in range(draw(st.integers(0, 5))):
        top, left = draw(st.integers(0, height - 1)), draw(st.integers(0, width - 1))
        mask[top : top + draw(st.integers(1, 300)), left : left + draw(st.integers(1, 300))] ^= True
    return mask


@given(rectangles())
def test_text_run_lengths_are_those_of_pycocotools(mask: Mask) -> None:
    encoded = encode_mask(mask)
    decoded = decode_mask(encoded)
    assert decoded.dtype == np.bool_
    assert np.array_equal(decoded, mask)
    assert np.array_equal(coco_mask.decode(encoded), mask)


@pytest.mark.parametrize(
    "counts", [[1, 2], [7], [-1, 7], [], [3.0, 3.0], [True, 5], ["6"], "12", "1234", "123o", "", "zz\x7f~", "é"]
)
def test_run_lengths_of_another_size_are_refused(counts: Any) -> None:
    with pytest.raises(ValueError, match="not 2 x 3 pixels"):
        decode_mask({"size": [2, 3], "counts": counts})


def test_the_box_of_a_mask_is_tight_and_counts_pixel_borders() -> None:
    mask = np.zeros((5, 8), np.bool_)
    assert mask_box(mask) == (0.0, 0.0, 0.0, 0.0)
    mask[2, 3] = True
    assert mask_box(mask) == (3.0, 2.0, 4.0, 3.0)
    mask[4, 7] = True
    assert mask_box(mask) == (3.0, 2.0, 8.0, 5.0)


def test_a_run_length_that_never_ends_is_refused_at_once() -> None:
    with pytest.raises(ValueError, match="not 2 x 3 pixels"):  # as one number it would take minutes to add up
        run_lengths("o" * 5_000_000, (2, 3))


@given(rectangles())
def test_the_box_of_run_lengths_is_that_of_the_mask(mask: Mask) -> None:
    runs = run_lengths(encode_mask(mask)["counts"], (mask.shape[0], mask.shape[1]))
    assert runs_box(runs, mask.shape[0]) == mask_box(mask)


def test_empty_runs_have_no_box() -> None:
    assert runs_box([2, 0, 4], 2) == (0.0, 0.0, 0.0, 0.0)
    assert runs_box([2, 0, 1, 1, 2], 2) == (1.0, 1.0, 2.0, 2.0)
