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


class FeatureStore:
    """A folder of cached windows: two flat files that are memory-mapped, and an index of one JSON line a window.

    The index line is written last, so a killed build continues with the first window that has none.

    Args:
        folder: Where the files are.
        scales, patches, channels: Shape of one window's features.
    """

    def __init__(self, folder: Path, scales: int = 2, patches: int = 576, channels: int = 384) -> None:
        self.folder = folder
        self.shape = (scales, patches, channels)
        folder.mkdir(parents=True, exist_ok=True)
        index = folder / "index.jsonl"
        lines = index.read_text(encoding="utf-8").splitlines(keepends=True) if index.is_file() else []
        if lines and not lines[-1].endswith("\n"):
            lines = lines[:-1]
            index.write_text("".join(lines), encoding="utf-8")
        self.facts: list[dict[str, Any]] = [json.loads(line) for line in lines]
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
        if self._mapped is None:
            self._mapped = self._map()
        features, masks = self._mapped
        facts = self.facts[index]
        start = facts["first_mask"]
        own = torch.from_numpy(np.array(masks[start : start + len(facts["instances"])]))
        return CachedImage(features[index], own, facts, self.folder.name)

    def _map(self) -> tuple[Tensor, np.ndarray[Any, np.dtype[np.uint8]]]:
        """Both files as far as the index knows them; a killed build may have left more behind that."""
        size = len(self) * int(np.prod(self.shape))
        path = str(self.folder / "features.bin")
        features = torch.from_file(path, shared=False, size=size, dtype=torch.bfloat16).view(-1, *self.shape)
        shape = (self._n_masks(), MASK_SIDE, MASK_SIDE)
        if not shape[0]:  # captions and questions only: an empty file can't be mapped
            return features, np.zeros(shape, np.uint8)
        return features, np.memmap(self.folder / "masks.bin", np.uint8, "r", shape=shape)

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
