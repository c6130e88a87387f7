"""Masks in COCO's three forms (polygons, run lengths, run lengths as text) -> text (§IV-A)."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
from pycocotools import mask as coco_mask

from geopix.data.entries import EntryError
from geopix.records import Box, run_lengths, runs_box

_MOST_OUTLINE = 1_000_000
"""Pixels that an object's outlines may pass; pycocotools takes memory for every one of them."""


def counts_and_box(segmentation: Any, size_hw: tuple[int, int]) -> tuple[str, Box]:
    """A mask as COCO's compressed run lengths, and its tight box in pixels.

    Args:
        segmentation: Polygons, run lengths (of either form), a list of run lengths to be joined, or JSON text of any.
        size_hw: The image's height and width in pixels.

    Raises:
        EntryError: If it does not fit the image, holds no pixel, or would overflow.
        LookupError, TypeError, ValueError: If it is nothing of the kind.
    """
    if isinstance(segmentation, str):
        segmentation = json.loads(segmentation)
    if isinstance(segmentation, dict):
        counts, runs = _checked(segmentation, size_hw)
    else:
        if segmentation and all(isinstance(part, dict) for part in segmentation):
            counts = _joined([_checked(part, size_hw)[0] for part in segmentation], size_hw)
        else:
            counts = _filled(segmentation, size_hw)
        runs = run_lengths(counts, size_hw)
    box = runs_box(runs, size_hw[0])
    if box[2] <= box[0]:
        raise EntryError("mask empty")
    return counts, box


def _checked(encoded: dict[str, Any], size_hw: tuple[int, int]) -> tuple[str, list[int]]:
    """Run lengths as text and as numbers."""
    height, width = encoded["size"]
    if (height, width) != tuple(size_hw):
        raise EntryError("mask of the wrong size", f"a mask of {(height, width)} does not fit an image of {size_hw}")
    counts = encoded["counts"]
    if isinstance(counts, bytes):
        counts = counts.decode("ascii")
    try:
        runs = run_lengths(counts, size_hw)
    except ValueError as error:
        raise EntryError("mask of the wrong size", str(error)) from error
    if isinstance(counts, str) and all(runs[1:]):
        return counts, runs
    plain = runs[:1]
    for place, run in enumerate(runs[1:], start=1):
        if run and len(plain) % 2 == place % 2:
            plain.append(run)
        else:  # an empty run lets its neighbours touch: there is one way to write a mask
            plain[-1] += run
    return _ascii(coco_mask.frPyObjects({"size": [height, width], "counts": plain}, height, width)), plain


def _joined(parts: list[str], size_hw: tuple[int, int]) -> str:
    if len(parts) == 1:
        return parts[0]
    return _ascii(coco_mask.merge([{"size": list(size_hw), "counts": counts} for counts in parts]))


def _ascii(encoded: dict[str, Any]) -> str:
    return str(encoded["counts"].decode("ascii"))


def _filled(polygons: Any, size_hw: tuple[int, int]) -> str:
    height, width = size_hw
    outlines = [[float(value) for value in polygon] for polygon in polygons if len(polygon) >= 6]
    if not outlines:
        raise EntryError("mask empty")
    for outline in outlines:
        if len(outline) % 2:
            raise ValueError("a polygon has as many x as y")
        for values, side in ((outline[::2], width), (outline[1::2], height)):
            if not all(math.isfinite(value) and -side <= value <= 2 * side for value in values):
                raise EntryError("polygon out of the image", f"of {height} x {width} px")
    if sum(map(_outline_px, outlines)) > min(height * width, _MOST_OUTLINE) + 8 * (height + width):
        raise EntryError("polygon longer than its image has pixels")
    return _ascii(coco_mask.merge(coco_mask.frPyObjects(outlines, height, width)))


def _outline_px(outline: list[float]) -> float:
    """Pixels that a closed outline passes, about."""
    x, y = np.asarray(outline[::2]), np.asarray(outline[1::2])
    return float(np.maximum(np.abs(x - np.roll(x, 1)), np.abs(y - np.roll(y, 1))).sum())
