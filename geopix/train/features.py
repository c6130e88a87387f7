"""The frozen encoder's features, computed once and kept on disk (§V-A: the encoder never changes)."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import torch
from PIL import Image as PillowImage
from torch import Tensor

from geopix.data.mixture import facts_of
from geopix.model.encoder import IMAGENET_MEAN, IMAGENET_STD, Letterbox, VisionEncoder, to_pixels
from geopix.records import Image, Mask, Sample

MASK_SIDE = 96
"""Side of the stored target masks: share of every cell that the object covers, in 0..255."""


@dataclass(frozen=True)
class CachedImage:
    """One window, ready for training: what the encoder saw and what is true of it.

    ``features`` is (scales, patches, channels) bfloat16, ``masks`` (instances, 96, 96) uint8 coverage in the
    letterboxed square (zero where only a box is known), ``facts`` the sample without its pixels: key, size_hw,
    instances, captions, turns, complete; ``store`` is the name of the store or set.
    """

    features: Tensor
    masks: Tensor
    facts: dict[str, Any]
    store: str = ""


@dataclass(frozen=True)
class Picture:
    """The same before the encoder has seen it: ``square`` is the letterboxed image, (S, S, 3) uint8."""

    square: Image
    masks: np.ndarray[Any, np.dtype[np.uint8]]
    facts: dict[str, Any]


def picture(sample: Sample, facts: dict[str, Any], side: int) -> Picture:
    """A sample as the encoder wants it, in a square of so many pixels a side."""
    box = Letterbox(sample.size_hw, side)
    masks = np.zeros((len(sample.instances), MASK_SIDE, MASK_SIDE), np.uint8)
    for index, instance in enumerate(sample.instances):
        if instance.mask is not None:
            masks[index] = _coverage(instance.mask, box)
    return Picture(box.apply(sample.image), masks, facts)


@dataclass(frozen=True)
class Eye:
    """The frozen encoder with what stands in front of it: the square's side, the channels' mean and deviation."""

    encoder: VisionEncoder
    side: int
    mean: Sequence[float] = IMAGENET_MEAN
    std: Sequence[float] = IMAGENET_STD

    def see(self, squares: Sequence[Image]) -> Tensor:
        """(S, S, 3) uint8 squares -> (n, scales, patches, channels) bfloat16 on the CPU."""
        parameter = next(self.encoder.parameters())
        pixels = to_pixels(squares, self.mean, self.std).to(parameter.device, parameter.dtype)
        return self.encoder(pixels).to("cpu", torch.bfloat16)


class UnreadableError(ValueError):
    """A window of which something on the disk is broken."""


class FeatureStore:
    """A folder of cached windows: two flat files that are memory-mapped, and an index of one JSON line a window.

    The index line is written last, so a killed build continues with the first window that has none. In the place of a
    window that can't be read comes the next one that can, always the same; ``unreadable`` says which were met.

    Args:
        folder: Where the files are.
        scales, patches, channels: Shape of one window's features.
    """

    def __init__(self, folder: Path, scales: int = 2, patches: int = 576, channels: int = 384) -> None:
        self.folder = folder
        self.shape = (scales, patches, channels)
        folder.mkdir(parents=True, exist_ok=True)
        index = folder / "index.jsonl"
        lines = index.read_bytes().splitlines(keepends=True) if index.is_file() else []
        whole = len(lines)
        while whole and (not lines[whole - 1].endswith(b"\n") or "unreadable" in _facts(lines[whole - 1], whole)):
            whole -= 1
        if whole < len(lines):
            index.write_bytes(b"".join(lines[:whole]))
        self.facts: list[dict[str, Any]] = [_facts(line, number) for number, line in enumerate(lines[:whole], start=1)]
        self.unreadable: list[str] = []
        self._mapped: tuple[Tensor, np.ndarray[Any, np.dtype[np.uint8]]] | None = None

    def __len__(self) -> int:
        return len(self.facts)

    def places(self, masked: bool) -> Sequence[int]:
        """The windows to draw from: all, or those with a mask."""
        if not masked:
            return range(len(self))
        return [place for place, facts in enumerate(self.facts) if has_masks(facts)]

    def look(self, places: Sequence[int], views: Sequence[int]) -> list[CachedImage]:
        """Some windows; they are kept in one view only."""
        return [self[place] for place in places]

    def __getitem__(self, index: int) -> CachedImage:
        """A window, or where it is broken the next one that is whole (and has masks, if it has some).

        Raises:
            UnreadableError: If there is none.
        """
        wanted = has_masks(self.facts[index])
        for place in (*range(index, len(self)), *range(index)):
            if wanted and not has_masks(self.facts[place]):
                continue
            try:
                return self._read(place)
            except UnreadableError as error:
                self.unreadable.append(f"{self.folder.name}: {self.facts[place]['key']}: {error}")
        raise UnreadableError(f"no window of the feature store {self.folder} can be read; delete it to build it anew")

    def _read(self, index: int) -> CachedImage:
        """The window in one place of the store.

        Raises:
            UnreadableError: Saying what is broken.
        """
        facts = self.facts[index]
        if "unreadable" in facts:
            raise UnreadableError(facts["unreadable"])
        if self._mapped is None:
            self._mapped = self._map()
        features, masks = self._mapped
        start, stop = facts["first_mask"], facts["first_mask"] + len(facts["instances"])
        if index >= len(features) or stop > len(masks):
            raise UnreadableError("features.bin or masks.bin ends before it")
        if not torch.isfinite(features[index]).all():
            raise UnreadableError("its features are not finite")
        return CachedImage(features[index], torch.from_numpy(np.array(masks[start:stop])), facts, self.folder.name)

    def _map(self) -> tuple[Tensor, np.ndarray[Any, np.dtype[np.uint8]]]:
        """Both files as far as they reach; a killed build may have left more in them than the index knows."""
        each, path = int(np.prod(self.shape)), self.folder / "features.bin"
        count = min(len(self), path.stat().st_size // (2 * each))
        features = torch.empty(0, *self.shape, dtype=torch.bfloat16)
        if count:
            features = torch.from_file(str(path), shared=False, size=count * each, dtype=torch.bfloat16)
            features = features.view(-1, *self.shape)
        path = self.folder / "masks.bin"
        shape = (path.stat().st_size // MASK_SIDE**2, MASK_SIDE, MASK_SIDE)
        if not shape[0]:  # captions and questions only: an empty file can't be mapped
            return features, np.zeros(shape, np.uint8)
        return features, np.memmap(path, np.uint8, "r", shape=shape)

    def _n_masks(self) -> int:
        return int(self.facts[-1]["first_mask"]) + len(self.facts[-1]["instances"]) if self.facts else 0

    def build(
        self,
        encoder: VisionEncoder,
        samples: Iterable[Sample],
        side: int,
        batch_size: int = 16,
        progress: Callable[[int], None] = lambda done: None,
    ) -> None:
        """Append samples; the caller passes only those past ``len(self)``.

        Raises:
            OSError: If the disk is full, where what was stored before stays usable; or if a file has lost its end.
        """
        self.fill(Eye(encoder, side), (picture(one, facts_of(one), side) for one in samples), batch_size, progress)

    def fill(
        self,
        eye: Eye,
        pictures: Iterable[Picture],
        batch_size: int = 16,
        progress: Callable[[int], None] = lambda done: None,
    ) -> None:
        """Append pictures; see `build`."""
        rest = iter(pictures)
        while batch := list(islice(rest, batch_size)):
            self._append(eye, batch)
            progress(len(self))

    def _append(self, eye: Eye, batch: list[Picture]) -> None:
        first = self._n_masks()
        features = eye.see([one.square for one in batch])
        bytes_each = 2 * int(np.prod(self.shape))
        with _open_at(self.folder / "features.bin", len(self) * bytes_each) as file:
            file.write(features.contiguous().view(torch.uint8).numpy().tobytes())
        facts = []
        with _open_at(self.folder / "masks.bin", first * MASK_SIDE**2) as file:
            for one in batch:
                facts.append({"first_mask": first, **one.facts})
                file.write(one.masks.tobytes())
                first += len(one.masks)
        with (self.folder / "index.jsonl").open("a", encoding="utf-8") as file:
            file.writelines(json.dumps(fact) + "\n" for fact in facts)
        self.facts += facts
        self._mapped = None


def has_masks(facts: dict[str, Any]) -> bool:
    """Whether the mask of any object of an image is known."""
    return any(instance.get("masked", True) for instance in facts["instances"])


def _facts(line: bytes, number: int) -> dict[str, Any]:
    """What a line of the index says; one that is broken becomes a window of nothing that says so."""
    try:
        facts = json.loads(line)
        for key, kind in (("first_mask", int), ("key", str), ("instances", list), ("captions", list), ("turns", list)):
            if not isinstance(facts[key], kind):
                raise ValueError(f"{key} is no {kind.__name__}")
        if facts["first_mask"] < 0 or not all({"class", "box", "phrases"} <= one.keys() for one in facts["instances"]):
            raise ValueError("its instances have no class, box or phrases")
        tuple(facts[key] for key in ("size_hw", "complete"))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        nothing: dict[str, list[Any]] = {"instances": [], "captions": [], "turns": []}
        broken = f"line {number} of index.jsonl is broken"
        return {"key": f"line {number}", "unreadable": broken, "first_mask": 0, "complete": False, **nothing}
    return dict(facts)


def _coverage(mask: Mask, box: Letterbox) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """Share of every cell of the letterboxed square that the mask covers, (96, 96) in 0..255."""
    height, width = box.inner_hw
    top, left = box.offset_yx
    square = PillowImage.new("L", (box.side, box.side))
    scaled = PillowImage.fromarray(mask.astype(np.uint8) * 255).resize((width, height), PillowImage.Resampling.BOX)
    square.paste(scaled, (left, top))
    return np.asarray(square.resize((MASK_SIDE, MASK_SIDE), PillowImage.Resampling.BOX))


def _open_at(path: Path, offset: int) -> BinaryIO:
    """Open for writing at an offset, dropping what a killed build may have left behind it."""
    size = path.stat().st_size if path.is_file() else 0
    if size < offset:
        raise OSError(f"{path} has {size:,} bytes where its index counts on {offset:,}; delete {path.parent}")
    file = path.open("r+b" if path.is_file() else "w+b")
    file.truncate(offset)
    file.seek(offset)
    return file
