"""The feature stores that nano trains on: which images, how many windows, which split (docs/model_card_nano.md)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from geopix.config import ConfigError
from geopix.data.entries import Entry, EntryError
from geopix.data.foreign.found import Place
from geopix.data.indexed import keys_hash
from geopix.data.mixture import facts_of
from geopix.data.scenes import AID, AIRPORT, PORT, Scene, ucm_scenes
from geopix.data.sources import dota, rsicd
from geopix.data.sources.coco import read_coco, read_vhr10
from geopix.data.sources.ucm import read_ucm
from geopix.data.windows import boxed_window, training_window
from geopix.records import Sample
from geopix.train.batches import Source
from geopix.train.features import CachedImage, Eye, FeatureStore, picture

HELD_OUT_PORT = "casablanca"
"""The port that no training window shows; the demonstration's picture is cut from it."""
HELD_OUT_AIRPORT = "airport_17"
"""The demonstration's other picture."""
TWINS = ("288.jpg",)
"""Training images of NWPU VHR-10 that show what a validation image shows (297.jpg), as `geopix data build` found."""


@dataclass(frozen=True)
class Recipe:
    """How a store is filled: ``count`` samples, of which ``samples(data, first)`` yields those from ``first`` on.

    ``needs`` are files and folders in the data folder without which it can't be filled, besides the images.
    """

    count: int
    samples: Callable[[Path, int], Iterator[Sample]]
    needs: tuple[str, ...]


def ports(data: Path) -> list[Sample]:
    """The Sentinel-2 ports but for the one held out; only ships are annotated in them."""
    root = data / "sen2ships"
    found = read_coco(root / "annotations.json", root / "images", source="sen2ships", complete=False)
    return [sample for sample in found if HELD_OUT_PORT not in sample.key]


def vhr10(data: Path) -> list[Sample]:
    """NWPU VHR-10's training part, without `TWINS`."""
    return [sample for sample in read_vhr10(data / "nwpu_vhr10", "train") if Path(sample.key).name not in TWINS]


def _windows(
    read: Callable[[Path], list[Sample]], seed: int, count: int, needs: tuple[str, ...], scene: Scene | None = None
) -> Recipe:
    def samples(data: Path, first: int) -> Iterator[Sample]:
        whole = read(data)
        windows = (training_window(whole, seed, index) for index in range(first, count))
        return (scene.told(window) if scene else window for window in windows)

    return Recipe(count, samples, needs)


def _ucm(data: Path, first: int) -> Iterator[Sample]:
    scenes = ucm_scenes(data / "ucm" / "LandUse_Multilabeled.txt")
    whole = (sample for index, sample in enumerate(read_ucm(data / "ucm", "train")) if index >= first)
    return (scenes.get(Path(sample.key).stem, Scene()).told(sample) for sample in whole)


def _gdit(data: Path, first: int) -> Iterator[Sample]:
    """Airports with the boxes of all airplanes and of nothing else."""
    root = data / "gdit_airport"
    found = dota.read(Place(root, root / "images", "gdit"))
    whole = [
        replace(one, complete=False)
        for one in found
        if isinstance(one, Entry) and one.objects and one.key != f"gdit/{HELD_OUT_AIRPORT}"
    ]
    if not whole:
        raise EntryError(f"{root} holds no airport with airplanes", "complete the data folder")
    windows = (
        boxed_window(whole, root / "images", seed=2, index=index) for index in range(first, RECIPES["gdit"].count)
    )
    return (AIRPORT.told(window) for window in windows)


def _aid(data: Path, first: int) -> Iterator[Sample]:
    """AID's scenes with RSICD's captions, of RSICD's validation part: none of our numbers is measured on it.

    RSICD's test part stays out, so that it can be asked about one day.
    """
    root = data / "aid_rsicd"
    entries = (one for one in rsicd.read(Place(root, root / "images", "rsicd")) if isinstance(one, Entry))
    told = (entry for entry in entries if entry.split == "val")
    samples = (entry.sample(root / "images") for index, entry in enumerate(told) if index >= first)
    return (AID.get(Path(sample.key).parent.name, Scene()).told(sample) for sample in samples)


RECIPES = {
    "vhr": _windows(vhr10, 0, 4500, ("nwpu_vhr10/annotations.json", "nwpu_vhr10/split.json")),
    "vhr_more": _windows(vhr10, 3, 3000, ("nwpu_vhr10/annotations.json", "nwpu_vhr10/split.json")),
    "vhr_unseen": _windows(vhr10, 5, 200, ("nwpu_vhr10/annotations.json", "nwpu_vhr10/split.json")),
    "ports": _windows(ports, 1, 400, ("sen2ships/annotations.json",), scene=PORT),
    "ucm": Recipe(1680, _ucm, ("ucm/captions.json", "ucm/LandUse_Multilabeled.txt")),
    "gdit": Recipe(600, _gdit, ("gdit_airport/labelTxt",)),
    "aid": Recipe(358, _aid, ("aid_rsicd/captions.json",)),
}


def recipe_record(name: str) -> dict[str, Any]:
    """What a run writes down of a store that feeds it."""
    return {"store": name, "images": RECIPES[name].count}


def missing_data(name: str, data: Path, folder: Path) -> Path | None:
    """What a store still has to be filled from and is not there; None if all is, or if the store is full.

    Args:
        name: One of `RECIPES`.
        data: The folder of the data sets.
        folder: Where stores live.
    """
    recipe, index = RECIPES[name], folder / name / "index.jsonl"
    if index.is_file() and index.read_bytes().count(b"\n") >= recipe.count:
        return None
    return next((data / needed for needed in recipe.needs if not (data / needed).exists()), None)


def open_store(
    name: str, data: Path, folder: Path, eye: Eye, shape: tuple[int, int, int], progress: Callable[[int, int], None]
) -> FeatureStore:
    """A store, filled now if it is not full yet; a killed fill goes on where it stopped.

    Args:
        name: One of `RECIPES`.
        data: The folder of the data sets.
        folder: Where stores live.
        eye: The frozen encoder.
        shape: Scales, patches and channels of an image's features.
        progress: Told how many of how many windows are there.

    Raises:
        ConfigError: If the store was begun when images did not tell yet what their labels say of absence: its images
            would be asked about less than the others, and nobody would see it.
    """
    recipe = RECIPES[name]
    store = FeatureStore(folder / name, *shape)
    if any("unreadable" not in facts and not {"there", "missing"} <= facts.keys() for facts in store.facts):
        raise ConfigError(
            f"the feature store {folder / name} doesn't tell which classes its images show and lack, as an older "
            "GeoPix made it; delete that folder, and it is made anew"
        )
    if len(store) < recipe.count:
        pictures = (picture(one, facts_of(one), eye.side) for one in recipe.samples(data, len(store)))
        store.fill(eye, pictures, progress=lambda done: progress(done, recipe.count))
    return store


@dataclass
class Taken:
    """Some windows of a store."""

    store: Source
    chosen: tuple[int, ...]

    @property
    def facts(self) -> list[dict[str, Any]]:
        """What is true of each."""
        wanted = set(self.chosen)
        return [facts for place, facts in enumerate(self.store.facts) if place in wanted]

    @property
    def unreadable(self) -> list[str]:
        """What the store could not read."""
        return self.store.unreadable

    @unreadable.setter
    def unreadable(self, told: list[str]) -> None:
        self.store.unreadable = told

    def __len__(self) -> int:
        return len(self.chosen)

    def places(self, masked: bool) -> Sequence[int]:
        """Those to draw from, see `geopix.train.batches.Source`."""
        able = set(self.store.places(masked))
        return [place for place, own in enumerate(self.chosen) if own in able]

    def look(self, places: Sequence[int], views: Sequence[int]) -> list[CachedImage]:
        """See `geopix.train.batches.Source`."""
        return self.store.look([self.chosen[place] for place in places], views)


def take(store: Source, name: str, count: int, seed: int) -> tuple[Taken, str]:
    """Some windows of a store at random, and the SHA-256 of their keys.

    Raises:
        ConfigError: If there are fewer.
    """
    if count > len(store):
        raise ConfigError(f"take: {count:,} of {name!r} are wanted, and it has {len(store):,}; take fewer")
    taken = Taken(store, tuple(sorted(np.random.default_rng(seed).permutation(len(store))[:count].tolist())))
    return taken, keys_hash(facts["key"] for facts in taken.facts)
