"""In which order a run that is told in epochs shows its images: a permutation a (seed, epoch), by position (§V-A)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


class Order:
    """Position in the run -> source and image.

    Every epoch shows all images that are due in an order of its own. Whoever trains on several devices gives each its
    positions; nothing is drawn, so nothing needs to be agreed on.

    Args:
        seed: The stage's.
        sizes: How many images each source has.
        times: How often an epoch shows each of them: 2 twice, 0.5 every other one, chosen anew each time.
    """

    def __init__(self, seed: int, sizes: Sequence[int], times: Sequence[float]) -> None:
        self.seed, self.sizes = seed, sizes
        self.whole = [int(often) for often in times]
        self.part = [round((often % 1) * size) for size, often in zip(sizes, times, strict=True)]
        self.first = np.cumsum([0, *sizes])
        self._epoch, self._shown = -1, np.zeros(0, np.int64)

    def __len__(self) -> int:
        """Images in an epoch."""
        return sum(size * whole + part for size, whole, part in zip(self.sizes, self.whole, self.part, strict=True))

    def __getitem__(self, position: int) -> tuple[int, int]:
        """Source and image at a position, which may lie in any epoch."""
        epoch, place = divmod(position, len(self))
        if epoch != self._epoch:
            self._epoch, self._shown = epoch, self._shuffled(epoch)
        number = int(self._shown[place])
        source = int(np.searchsorted(self.first, number, side="right")) - 1
        return source, number - int(self.first[source])

    def _shuffled(self, epoch: int) -> NDArray[np.int64]:
        rng = np.random.default_rng((self.seed, epoch))
        due = []
        for size, whole, part, first in zip(self.sizes, self.whole, self.part, self.first, strict=False):
            due += [np.arange(size) + first] * whole + [rng.permutation(size)[:part] + first]
        return rng.permutation(np.concatenate(due))
