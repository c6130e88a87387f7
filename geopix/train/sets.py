"""Sets in our own format as a source of training (§III-C): read by number, seen each step or kept as features."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from geopix.config import ConfigError, Stage
from geopix.data.askable import askable
from geopix.data.entries import ABOUT, Entry, EntryError, read_image, replace_pixels
from geopix.data.facts import facts_of_entry
from geopix.data.indexed import IndexedSet
from geopix.data.turns import turn_entry, turn_image
from geopix.train.features import CachedImage, Eye, FeatureStore, Picture, picture

MOST_BROKEN = 20
"""Images in a row that may be unreadable before a run gives up."""


@dataclass(frozen=True)
class Opened:
    """A set that a stage is fed from, and what the run writes down of it.

    ``record`` holds its "fingerprint", how many "images" there are to train on, and of a draw the "taken" keys' hash.
    """

    name: str
    index: IndexedSet
    record: dict[str, Any]


def is_set(folder: Path) -> bool:
    """Whether a folder holds a set in our format."""
    return (folder / ABOUT).is_file()


def open_set(name: str, stage: Stage, data: Path, watch: Callable[[int, int], None]) -> Opened:
    """Find what a stage may use of a set: of the training split, with masks where the stage is about masks.

    Args:
        name: The folder, from the data folder; one of the stage's sources.
        stage: Says which subsets, and how many images to take.
        data: The data folder.
        watch: Told how many bytes of how many have been read.

    Raises:
        ConfigError: If there is nothing to use, or less than is to be taken.
    """
    masked = stage.language != "dialogue"
    try:
        index = IndexedSet(
            data / name, "train", stage.subsets.get(name, ()), lambda entry: _useful(entry, masked), watch
        )
        if not len(index):
            asked = "with a mask, which a stage of " + stage.language + " needs" if masked else "anything is known of"
            raise EntryError(f"none of its {index.in_split:,} training images is one {asked}", "name another source")
        record: dict[str, Any] = {"set": name, "fingerprint": index.fingerprint}
        if name in stage.take:
            record["taken"] = index.draw(stage.take[name], stage.seed)
    except EntryError as error:
        raise ConfigError(f"sources: {name}: {error}") from error
    return Opened(name, index, {**record, "images": len(index)})


def place_of(opened: Opened, stage: Stage) -> str:
    """What to call the folder of a set's kept features: another set or choice of images has another name."""
    told = json.dumps([opened.record, stage.subsets.get(opened.name, ()), stage.language != "dialogue"], sort_keys=True)
    plain = re.sub(r"\W+", "-", opened.name).strip("-")
    return f"{plain}-{hashlib.sha256(told.encode()).hexdigest()[:12]}"


def _useful(entry: Entry, masked: bool) -> bool:
    if masked:
        return any(one.counts is not None and (one.descriptions or entry.complete) for one in entry.objects)
    return bool(entry.objects or entry.captions or entry.turns)


@dataclass
class SetSource:
    """A set whose images the encoder sees each time they are drawn.

    ``skipped`` tells, by key, why an image could not be used; the next one that can be takes its place, so that a run
    over the same files is always the same. ``unreadable`` gathers these each time that one is drawn.
    """

    opened: Opened
    eye: Eye
    skipped: dict[str, str] = field(default_factory=dict)
    unreadable: list[str] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.opened.index)

    @property
    def facts(self) -> Iterator[dict[str, Any]]:
        """What is true of every image, one after the other."""
        return (self._facts(entry) for entry in self.opened.index)

    def places(self, masked: bool) -> Sequence[int]:
        """The images to draw from; the index holds no others."""
        return range(len(self))

    def look(self, places: Sequence[int], views: Sequence[int]) -> list[CachedImage]:
        """Some images, each in a view of `geopix.data.turns`.

        Raises:
            EntryError: If too many in a row can't be read.
        """
        pictures = [self._readable(place, view) for place, view in zip(places, views, strict=True)]
        features = self.eye.see([one.square for one in pictures])
        return [
            CachedImage(seen, torch.from_numpy(one.masks), one.facts, self.opened.name)
            for seen, one in zip(features, pictures, strict=True)
        ]

    def pictures(self, after: str = "") -> Iterator[Picture]:
        """Every image as it is, for a store; from the one after a key on."""
        passed = not after
        for entry in self.opened.index:
            if passed:
                try:
                    yield self._picture(entry, 0)
                except (EntryError, ValueError) as error:
                    self.skipped[entry.key] = str(error)
            passed = passed or entry.key == after

    def _readable(self, place: int, view: int) -> Picture:
        for step in range(MOST_BROKEN):
            entry = self.opened.index[(place + step) % len(self)]
            if entry.key not in self.skipped:
                try:
                    return self._picture(entry, view)
                except (EntryError, ValueError) as error:
                    self.skipped[entry.key] = str(error)
            self.unreadable.append(f"{self.opened.name}: {entry.key}: {self.skipped[entry.key]}")
        last = next(reversed(self.skipped.values()))
        raise EntryError(f"{self.opened.name}: {MOST_BROKEN} images in a row can't be used", f"the last: {last}")

    def _picture(self, entry: Entry, view: int) -> Picture:
        pixels = read_image(self.opened.index.reader.images / entry.image, entry.size_hw)
        moved = turn_entry(entry, view)
        facts = self._facts(moved)
        if not askable(facts):  # what is said of it is all about left and right
            moved, facts, view = entry, self._facts(entry), 0
        if not askable(facts):
            raise EntryError("nothing can be asked about the image", entry.key)
        return picture(replace_pixels(moved, turn_image(pixels, view)), facts, self.eye.side)

    def _facts(self, entry: Entry) -> dict[str, Any]:
        return facts_of_entry(entry, self.opened.index.classes.get(entry.subset, ()))


def keep(source: SetSource, folder: Path, shape: tuple[int, int, int], progress: Callable[[int], None]) -> FeatureStore:
    """The features of a set's images on disk, computed now as far as they are not there; a killed fill goes on.

    Args:
        source: The set.
        folder: Where its store lives; another set, or another choice of its images, needs another folder.
        shape: Scales, patches and channels of an image's features.
        progress: Told how many images are there.
    """
    store = FeatureStore(folder, *shape)
    last = store.facts[-1]["key"] if len(store) else ""
    if not (folder / "whole").is_file():
        store.fill(source.eye, source.pictures(last), progress=progress)
        (folder / "whole").touch()
    if not len(store):
        raise EntryError(f"no image of {source.opened.name} can be used", next(iter(source.skipped.values())))
    return store
