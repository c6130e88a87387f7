"""The endless, reproducible stream of training windows (§IV-A, §III-C): window i is the same on every machine."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from geopix.data.construct import MAX_STRAY, MIN_VISIBLE, mosaic, passes_filter, photometric, random_window, turn
from geopix.data.entries import Annotated, Entry, read_image, replace_pixels
from geopix.data.turns import VIEWS, turn_entry, turn_image
from geopix.records import Sample

SIDE = 336
MOSAIC_SHARE = 0.2


def training_window(samples: Sequence[Sample], seed: int, index: int) -> Sample:
    """Window number ``index``: a random window of a random image, turned, re-lit, at times four in a mosaic.

    Args:
        samples: Whole images with instance masks.
        seed: Names the stream.
        index: Names the window; the same (seed, index) always gives the same pixels.
    """
    rng = np.random.default_rng((seed, index))
    while True:
        sample = _single(samples, rng)
        if rng.random() < MOSAIC_SHARE:
            across, count = ((2, 2), (2, 4), (1, 2))[rng.integers(3)]
            joined = mosaic([sample, *(_single(samples, rng) for _ in range(count - 1))], SIDE, across)
            if not passes_filter(joined.instances):
                continue
            sample = joined
        return sample


def _single(samples: Sequence[Sample], rng: np.random.Generator) -> Sample:
    while True:
        window = random_window(samples[int(rng.integers(len(samples)))], rng)
        if window is None:
            continue
        turned = turn(window, int(rng.integers(4)), bool(rng.integers(2)))
        return Sample(
            turned.key,
            photometric(turned.image, rng),
            turned.instances,
            split=turned.split,
            complete=turned.complete,
        )


def boxed_window(entries: Sequence[Entry], images: Path, seed: int, index: int) -> Sample:
    """Window number ``index`` of images whose objects have boxes only: square, turned, re-lit; see `training_window`.

    Args:
        entries: Whole images, each with an object.
        images: Their folder.
        seed: Names the stream.
        index: Names the window.
    """
    rng = np.random.default_rng((seed, index))
    while True:
        entry = entries[int(rng.integers(len(entries)))]
        x1, y1, x2, y2 = entry.objects[int(rng.integers(len(entry.objects)))].box_xyxy_px
        largest = min(entry.size_hw)
        smallest = min(1.6 * max(x2 - x1, y2 - y1, 60.0), float(largest))
        side = round(math.exp(rng.uniform(math.log(smallest), math.log(largest))))
        left, top = (
            int(np.clip(rng.uniform(high - 0.95 * side, low - 0.05 * side), 0, limit - side))
            for low, high, limit in ((x1, x2, entry.size_hw[1]), (y1, y2, entry.size_hw[0]))
        )
        objects = _inside(entry.objects, left, top, side)
        view, light = int(rng.integers(VIEWS)), rng.spawn(1)[0]
        if not objects:
            continue
        key = f"{entry.key}#{left},{top},{side},{side}"
        cut = turn_entry(replace(entry, key=key, size_hw=(side, side), objects=objects), view)
        pixels = read_image(images / entry.image, entry.size_hw)[top : top + side, left : left + side]
        window = replace_pixels(cut, photometric(turn_image(pixels, view), light))
        if passes_filter(window.instances):
            return window


def _inside(objects: Sequence[Annotated], left: int, top: int, side: int) -> tuple[Annotated, ...]:
    """The objects of a window, none where it would cut one in two."""
    kept = []
    for one in objects:
        x1, y1, x2, y2 = one.box_xyxy_px
        box = (max(x1 - left, 0), max(y1 - top, 0), min(x2 - left, side), min(y2 - top, side))
        visible = max(box[2] - box[0], 0) * max(box[3] - box[1], 0) / ((x2 - x1) * (y2 - y1))
        if MAX_STRAY <= visible < MIN_VISIBLE:
            return ()
        if visible >= MIN_VISIBLE:
            kept.append(replace(one, box_xyxy_px=box))
    return tuple(kept)


def passing_windows(samples: Sequence[Sample], per_sample: int, seed: int) -> list[Sample]:
    """The evaluation windows of whole images: the image itself where it passes the filter, else windows that do.

    Args:
        samples: Whole images with instance masks.
        per_sample: Windows cut from an image in addition to (or in place of) the whole.
        seed: Names the draw.
    """
    windows = []
    for index, sample in enumerate(samples):
        rng = np.random.default_rng((seed, index))
        if passes_filter(sample.instances):
            windows.append(sample)
        drawn = (random_window(sample, rng) for _ in range(per_sample))
        windows += [window for window in drawn if window is not None]
    return windows
