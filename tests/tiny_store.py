"""Cached windows of rectangles, as the tiny GeoPix sees them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from geopix.model.geopix import GeoPixModel
from geopix.records import Sample, Turn
from geopix.train.features import FeatureStore
from tests.tiny import scene

WINDOWS = (
    scene([("ship", (5, 5, 45, 45)), ("ship", (60, 60, 95, 95)), ("bridge", (55, 5, 95, 40))], key="three"),
    scene([("airplane", (20, 10, 70, 30))], (40, 80), key="wide"),
    scene([("harbor", (10, 40, 30, 90)), ("airplane", (5, 5, 35, 25))], (100, 40), key="tall", complete=False),
    scene([("vehicle", (1 + 12 * k, 30, 10 + 12 * k, 60)) for k in range(8)], key="crowd"),
)
CAPTIONED = scene([], key="captioned", captions=("Many trees.",), turns=(Turn("Is there a road?", "No."),))


def tiny_store(folder: Path, model: GeoPixModel, windows: Sequence[Sample] = WINDOWS) -> FeatureStore:
    """A store of windows, built with the model's encoder in single precision."""
    store = FeatureStore(folder, scales=2, patches=16, channels=32)
    store.build(model.encoder, windows, model.config.image_size)
    return store
