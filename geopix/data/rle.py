"""Masks as run lengths, measured and cut without drawing them: the side of an image costs no memory (§IV-A)."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from geopix.records import Box, Mask, encode_mask, run_lengths


def spans(counts: str, size_hw: tuple[int, int]) -> NDArray[np.int64]:
    """Where a mask is on, as (n, 3) rows (column, first row, row after the last), none longer than a column.

    Raises:
        ValueError: As `geopix.records.run_lengths`.
    """
    height = size_hw[0]
    edges = np.cumsum(np.asarray(run_lengths(counts, size_hw), dtype=np.int64))
    begins, ends = edges[:-1:2][: edges.size // 2], edges[1::2]
    filled = ends > begins
    begins, ends = begins[filled], ends[filled]
    first, last = begins // height, (ends - 1) // height
    parts = last - first + 1
    columns = np.repeat(first, parts) + (np.arange(int(parts.sum())) - np.repeat(np.cumsum(parts) - parts, parts))
    tops = np.maximum(np.repeat(begins, parts) - columns * height, 0)
    bottoms = np.minimum(np.repeat(ends, parts) - columns * height, height)
    return np.stack([columns, tops, bottoms], axis=1)


def area(counts: str, size_hw: tuple[int, int]) -> int:
    """Pixels of a mask.

    Raises:
        ValueError: As `geopix.records.run_lengths`.
    """
    return sum(run_lengths(counts, size_hw)[1::2])


def cut(on: NDArray[np.int64], left: int, top: int, width: int, height: int) -> NDArray[np.int64]:
    """The part of `spans` in a window, in the window's own pixels."""
    columns, tops, bottoms = on[:, 0] - left, on[:, 1] - top, on[:, 2] - top
    tops, bottoms = np.maximum(tops, 0), np.minimum(bottoms, height)
    kept = (columns >= 0) & (columns < width) & (bottoms > tops)
    return np.stack([columns[kept], tops[kept], bottoms[kept]], axis=1)


def pixels(on: NDArray[np.int64]) -> int:
    """How many pixels `spans` hold."""
    return int((on[:, 2] - on[:, 1]).sum())


def box(on: NDArray[np.int64]) -> Box:
    """The tight box of `spans` that are not empty, in pixels."""
    left, right = int(on[:, 0].min()), int(on[:, 0].max()) + 1
    return float(left), float(on[:, 1].min()), float(right), float(on[:, 2].max())


def draw(on: NDArray[np.int64], size_hw: tuple[int, int]) -> Mask:
    """`spans` as a (H, W) bool mask."""
    height, width = size_hw
    changes = np.zeros(height * width + 1, dtype=np.int8)
    np.add.at(changes, on[:, 0] * height + on[:, 1], 1)
    np.add.at(changes, on[:, 0] * height + on[:, 2], -1)
    filled: NDArray[Any] = np.cumsum(changes[:-1], dtype=np.int8) > 0
    return filled.reshape(width, height).T


def text(on: NDArray[np.int64], size_hw: tuple[int, int]) -> str:
    """`spans` as COCO's compressed text."""
    return str(encode_mask(draw(on, size_hw))["counts"])
