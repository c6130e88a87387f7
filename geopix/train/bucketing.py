"""Sequences of similar length share a batch, so that little of it is padding (§V-A)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def by_length(lengths: Sequence[int], size: int, rng: np.random.Generator | None = None) -> list[list[int]]:
    """Which sequences go together: neighbours in order of length, every one of them in exactly one batch.

    Equals stay in their order, so the same lengths always give the same batches. The batches come in an order drawn
    with ``rng``, so that a training does not go from short to long; without one, from short to long.

    Args:
        lengths: Of every sequence, in tokens.
        size: Sequences in a batch; the batch of the longest may have fewer.
        rng: Where the batches' order comes from.

    Raises:
        ValueError: If a batch is to hold less than one.
    """
    if size < 1:
        raise ValueError(f"batches of {size} sequences were asked for, at least 1 is expected")
    order = sorted(range(len(lengths)), key=lambda index: lengths[index])
    batches = [order[start : start + size] for start in range(0, len(order), size)]
    return batches if rng is None else [batches[int(place)] for place in rng.permutation(len(batches))]


def padding(lengths: Sequence[int], batches: Sequence[Sequence[int]]) -> float:
    """The share of all places in batches, each as long as its longest sequence, that nothing stands in."""
    places = sum(len(batch) * max(lengths[index] for index in batch) for batch in batches if batch)
    return 1 - sum(lengths[index] for batch in batches for index in batch) / places if places else 0.0
