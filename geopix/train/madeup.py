"""Windows of rectangles with noise for features: what a step costs can be told before any data are there (§III-C)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from geopix.classes import VHR10
from geopix.data.describe import describe
from geopix.records import Instance
from geopix.train.features import MASK_SIDE, CachedImage

_SIDE = 480
"""Of a made-up window, in pixels."""
_OBJECTS = (0.3, 0.25, 0.15, 0.12, 0.1, 0.08)
"""How often a window has one to six objects."""

_DIFFERENT = 64
"""Windows that are made up before they repeat."""


class MadeUpStore:
    """Used as `geopix.train.features.FeatureStore` is, with nothing on disk; the same every time.

    Args:
        shape: Of an image's features (scales, patches, channels).
        count: How many windows; past `_DIFFERENT` they come again.
        class_names: What the objects are.
    """

    def __init__(
        self, shape: tuple[int, int, int], count: int = _DIFFERENT, class_names: tuple[str, ...] = VHR10
    ) -> None:
        self.shape, self.class_names = shape, class_names
        self.count = count
        self.facts = [self._facts(index) for index in range(min(count, _DIFFERENT))]
        self.unreadable: list[str] = []

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> CachedImage:
        facts = self.facts[index % len(self.facts)]
        noise = torch.Generator().manual_seed(index)
        masks = torch.zeros(len(facts["instances"]), MASK_SIDE, MASK_SIDE, dtype=torch.uint8)
        for mask, instance in zip(masks, facts["instances"], strict=True):
            left, top, right, bottom = (round(edge * MASK_SIDE / _SIDE) for edge in instance["box"])
            mask[top : max(bottom, top + 1), left : max(right, left + 1)] = 255
        return CachedImage(torch.randn(self.shape, generator=noise).bfloat16(), masks, facts)

    def places(self, masked: bool) -> Sequence[int]:
        """The windows to draw from: all, since each has masks."""
        return range(len(self))

    def look(self, places: Sequence[int], views: Sequence[int]) -> list[CachedImage]:
        """Some windows, in one view only."""
        return [self[place] for place in places]

    def _facts(self, index: int) -> dict[str, Any]:
        """As `geopix.data.mixture.facts_of` gives them."""
        rng = np.random.default_rng((index, 7))
        instances = []
        for _ in range(1 + int(rng.choice(len(_OBJECTS), p=_OBJECTS))):
            width, height = rng.integers(20, 150, size=2)
            left, top = rng.integers(0, _SIDE - 150, size=2)
            name = self.class_names[int(rng.integers(len(self.class_names)))]
            box = (float(left), float(top), float(left + width), float(top + height))
            instances.append(Instance(name, name, box))
        phrases = describe(instances, (_SIDE, _SIDE))
        return {
            "key": f"made up {index}",
            "size_hw": (_SIDE, _SIDE),
            "instances": [
                {"class": one.class_name, "box": list(one.box_xyxy_px), "phrases": words}
                for one, words in zip(instances, phrases, strict=True)
            ],
            "captions": [],
            "turns": [],
            "complete": True,
        }
