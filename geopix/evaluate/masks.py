"""Masks compared as run lengths: shared pixels without drawing them, and the quality of outlines (§V, Table III)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from pycocotools import mask as coco_mask

from geopix.evaluate.metrics import Counts, shared_ious
from geopix.records import Mask, decode_mask, encode_mask, mask_box, run_lengths

DILATION_RATIO = 0.02
"""How deep a boundary is, as a share of the image's diagonal (Cheng et al. 2021)."""


@dataclass(frozen=True, slots=True, eq=False)
class Stack:
    """Masks of one image: COCO's compressed run lengths, each with its area in pixels."""

    size_hw: tuple[int, int]
    runs: tuple[str, ...]
    areas: Counts

    def drawn(self, place: int) -> Mask:
        """One of them as (H, W) bool."""
        return decode_mask({"size": self.size_hw, "counts": self.runs[place]})


def stack(counts: Sequence[str | Sequence[int]], size_hw: tuple[int, int]) -> Stack:
    """Masks from their run lengths, compressed or not, which may come from anywhere.

    Raises:
        ValueError: If one does not describe an image of this size.
    """
    runs, areas = [], []
    for one in counts:
        lengths = run_lengths(one, size_hw)
        areas.append(sum(lengths[1::2]))
        # A run of no pixels is legal and unusual, and pycocotools' boxes go wrong on it.
        usual = isinstance(one, str) and all(lengths[1:])
        runs.append(str(one) if usual else str(encode_mask(decode_mask({"size": size_hw, "counts": one}))["counts"]))
    return Stack(size_hw, tuple(runs), np.array(areas, dtype=np.int64))


def shared_pixels(predicted: Stack, true: Stack) -> Counts:
    """Pixels that every pair shares, (P, T).

    Raises:
        ValueError: If the sizes differ.
    """
    if predicted.size_hw != true.size_hw:
        raise ValueError(f"predicted masks of {predicted.size_hw} cannot be scored against {true.size_hw} pixels")
    if not predicted.runs or not true.runs:
        return np.zeros((len(predicted.runs), len(true.runs)), dtype=np.int64)
    ious = coco_mask.iou(_coco(predicted), _coco(true), [0] * len(true.runs))
    areas = predicted.areas[:, None] + true.areas[None, :]
    # iou = shared / (areas - shared); the numbers are whole, and far below where a float64 would round them wrong.
    return np.asarray(np.rint(ious * areas / (1 + ious)), dtype=np.int64)


@dataclass(eq=False)
class Held:
    """Predicted masks held against the true ones; no mask is drawn twice, however often its boundary is asked for.

    Raises:
        ValueError: If the sizes differ.
    """

    predicted: Stack
    true: Stack

    def __post_init__(self) -> None:
        self.shared = shared_pixels(self.predicted, self.true)
        """Pixels of every pair, (P, T)."""
        self.ious = shared_ious(self.shared, self.predicted.areas, self.true.areas)
        """(P, T), in 0..1."""
        self._edges: dict[tuple[bool, int], Edge] = {}

    def boundary_iou(self, row: int, column: int) -> float:
        """Of a predicted mask and a true one, in 0..1."""
        return self._edge(False, row).iou(self._edge(True, column))

    def _edge(self, true: bool, place: int) -> Edge:
        if (true, place) not in self._edges:
            drawn = (self.true if true else self.predicted).drawn(place)
            self._edges[true, place] = edge(drawn, boundary_depth(self.true.size_hw))
        return self._edges[true, place]


def boundary_depth(size_hw: tuple[int, int], ratio: float = DILATION_RATIO) -> int:
    """How many pixels a boundary reaches into a mask of an image of this size; at least 1."""
    return max(1, round(ratio * math.hypot(*size_hw)))


@dataclass(frozen=True, slots=True, eq=False)
class Edge:
    """A mask's boundary: where its box begins in the image, what of the box it covers, and how many pixels it has."""

    left: int
    top: int
    inside: Mask
    pixels: int

    def shared(self, other: Edge) -> int:
        """Pixels that belong to both."""
        top, left = max(self.top, other.top), max(self.left, other.left)
        ours, theirs = (one.inside[top - one.top :, left - one.left :] for one in (self, other))
        height, width = min(len(ours), len(theirs)), min(ours.shape[1], theirs.shape[1])
        return int(np.count_nonzero(ours[:height, :width] & theirs[:height, :width]))

    def iou(self, other: Edge) -> float:
        """In 0..1; 0 for two empty ones."""
        shared = self.shared(other)
        union = self.pixels + other.pixels - shared
        return shared / union if union else 0.0


def edge(mask: Mask, depth: int) -> Edge:
    """The pixels of a mask that are within ``depth`` of what is not the mask, along rows, columns or diagonals.

    What is outside the image is not the mask.
    """
    x1, y1, x2, y2 = map(int, mask_box(mask))
    whole = mask[y1:y2, x1:x2]
    inside = whole & ~_eroded(_eroded(whole, depth).T, depth).T
    return Edge(x1, y1, inside, int(np.count_nonzero(inside)))


def boundary_iou(predicted: Mask, true: Mask, ratio: float = DILATION_RATIO) -> float:
    """The IoU of two masks' boundaries (Cheng et al. 2021), in 0..1; 0 for two empty masks.

    Raises:
        ValueError: If the sizes differ.
    """
    if predicted.shape != true.shape:
        raise ValueError(f"masks of {predicted.shape} and {true.shape} pixels have no boundaries in common")
    height, width = true.shape
    depth = boundary_depth((height, width), ratio)
    return edge(predicted, depth).iou(edge(true, depth))


def _eroded(mask: Mask, depth: int) -> Mask:
    """Rows (axis 0) that have ``depth`` rows of the mask on either side; windows double until they are long enough."""
    length, window, have = 2 * depth + 1, mask, 1
    found = np.zeros_like(mask)
    if len(mask) < length:
        return found
    while have < length:
        step = min(have, length - have)
        window = window[:-step] & window[step:]
        have += step
    found[depth : depth + len(window)] = window
    return found


def _coco(masks: Stack) -> list[dict[str, Any]]:
    return [{"size": list(masks.size_hw), "counts": one.encode("ascii")} for one in masks.runs]
