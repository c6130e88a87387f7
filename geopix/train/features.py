"""The frozen encoder's features, computed once and kept on disk (§V-A: the encoder never changes)."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import torch
from PIL import Image as PillowImage
from torch import Tensor

from geopix.data.mixture import facts_of
from geopix.model.encoder import Letterbox, VisionEncoder, to_pixels
from geopix.records import Mask, Sample

MASK_SIDE = 96
"""Side of the stored target masks: share of every cell that the object covers, in 0..255."""


@dataclass(frozen=True)
class CachedImage:
    """One window, ready for training: what the encoder saw and what is true of it.

    ``features`` is (scales, patches, channels) bfloat16, ``masks`` (instances, 96, 96) uint8 coverage in the
    letterboxed square, ``facts`` the sample without its pixels: key, size_hw, instances, captions, turns, complete.
    """

    features: Tensor
    masks: Tensor
    facts: dict[str, Any]


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
        self._mapped: tuple[Tensor, np.ndarray[Any, np.dtype[np.uint8]]] | None = None

    def __len__(self) -> int:
        return len(self.facts)

    def __getitem__(self, index: int) -> CachedImage:
        if self._mapped is None:
            self._mapped = self._map()
        features, masks = self._mapped
        facts = self.facts[index]
        start = facts["first_mask"]
        own = torch.from_numpy(np.array(masks[start : start + len(facts["instances"])]))
        return CachedImage(features[index], own, facts)

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
            ValueError: If an instance has no mask.
        """
        batch: list[Sample] = []
        for sample in samples:
            batch.append(sample)
            if len(batch) == batch_size:
                self._append(encoder, batch, side)
                progress(len(self))
                batch = []
        if batch:
            self._append(encoder, batch, side)
            progress(len(self))

    def _append(self, encoder: VisionEncoder, batch: list[Sample], side: int) -> None:
        first = self._n_masks()
        boxes = [Letterbox(sample.size_hw, side) for sample in batch]
        pixels = to_pixels([box.apply(sample.image) for box, sample in zip(boxes, batch, strict=True)])
        parameter = next(encoder.parameters())
        features = encoder(pixels.to(parameter.device, parameter.dtype)).to("cpu", torch.bfloat16)
        bytes_each = 2 * int(np.prod(self.shape))
        with _open_at(self.folder / "features.bin", len(self) * bytes_each) as file:
            file.write(features.contiguous().view(torch.uint8).numpy().tobytes())
        facts = []
        with _open_at(self.folder / "masks.bin", first * MASK_SIDE**2) as file:
            for box, sample in zip(boxes, batch, strict=True):
                facts.append({"first_mask": first, **facts_of(sample)})
                for instance in sample.instances:
                    if instance.mask is None:
                        raise ValueError(f"{sample.key}: only instances with masks can be cached")
                    file.write(_coverage(instance.mask, box).tobytes())
                first += len(sample.instances)
        with (self.folder / "index.jsonl").open("a", encoding="utf-8") as file:
            file.writelines(json.dumps(fact) + "\n" for fact in facts)
        self.facts += facts
        self._mapped = None


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
