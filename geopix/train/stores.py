"""The feature stores that nano trains on: which images, how many windows, which split (docs/model_card_nano.md)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from geopix.data.sources.coco import read_coco, read_vhr10
from geopix.data.sources.ucm import read_ucm
from geopix.data.windows import training_window
from geopix.model.encoder import VisionEncoder
from geopix.records import Sample
from geopix.train.features import FeatureStore

HELD_OUT_PORT = "casablanca"
"""The port that no training window shows; the demonstration's picture is cut from it."""


@dataclass(frozen=True)
class Recipe:
    """How a store is filled: ``count`` samples, of which ``samples(data, first)`` yields those from ``first`` on."""

    count: int
    samples: Callable[[Path, int], Iterator[Sample]]


def ports(data: Path) -> list[Sample]:
    """The Sentinel-2 ports but for the one held out; only ships are annotated in them."""
    root = data / "sen2ships"
    found = read_coco(root / "annotations.json", root / "images", source="sen2ships", complete=False)
    return [sample for sample in found if HELD_OUT_PORT not in sample.key]


def _windows(read: Callable[[Path], list[Sample]], seed: int, count: int) -> Recipe:
    def samples(data: Path, first: int) -> Iterator[Sample]:
        whole = read(data)
        return (training_window(whole, seed, index) for index in range(first, count))

    return Recipe(count, samples)


def _ucm(data: Path, first: int) -> Iterator[Sample]:
    return (sample for index, sample in enumerate(read_ucm(data / "ucm", "train")) if index >= first)


RECIPES = {
    "vhr": _windows(lambda data: read_vhr10(data / "nwpu_vhr10", "train"), seed=0, count=4500),
    "ports": _windows(ports, seed=1, count=400),
    "ucm": Recipe(1680, _ucm),
}


def open_store(
    name: str, data: Path, folder: Path, encoder: VisionEncoder, side: int, progress: Callable[[int, int], None]
) -> FeatureStore:
    """A store, filled now if it is not full yet; a killed fill goes on where it stopped.

    Args:
        name: One of `RECIPES`.
        data: The folder of the data sets.
        folder: Where stores live.
        encoder: The frozen encoder.
        side: Of the letterboxed square, in pixels.
        progress: Told how many of how many windows are there.
    """
    recipe = RECIPES[name]
    store = FeatureStore(folder / name)
    if len(store) < recipe.count:
        store.build(encoder, recipe.samples(data, len(store)), side, progress=lambda done: progress(done, recipe.count))
    return store
