"""The endless, reproducible stream of training windows (§IV-A, §III-C): window i is the same on every machine."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from geopix.data.construct import mosaic, passes_filter, photometric, random_window, turn
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
