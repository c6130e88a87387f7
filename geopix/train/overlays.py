"""What the mask side does while it learns: true and predicted masks side by side, as a picture (Fig. 5)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from PIL import Image as PillowImage
from torch import Tensor
from torch.nn import functional

from geopix.dialogue import Dialogue
from geopix.records import Answer, Image, Instance, Mask, mask_box
from geopix.render import overlay
from geopix.train.batches import Batch

SIDE = 512
"""Of one panel in pixels; `render.overlay` enlarges what is smaller."""
_MOST_IMAGES = 4
_GAP = 8


def draw(batch: Batch, logits: Tensor, dialogue: Dialogue | None, path: Path) -> None:
    """Write a PNG with one row an image: the true masks on the left, the predicted ones on the right.

    A feature store holds no pixels, so the ground is what the encoder saw: the three main components of the coarse
    features as red, green and blue, on their own letterboxed grid. Chips say what was asked for, and on the right the
    IoU with the truth.

    Args:
        batch: What was fed, (B, m) targets.
        logits: (B, m, side, side) of the predicted masks.
        dialogue: To read phrases out of ids.
        path: Where to.
    """
    rows = [
        np.concatenate(_panels(batch, logits, dialogue, row), axis=1)
        for row in range(len(logits))
        if batch.present[row].any()
    ]
    gap = np.full((_GAP, 2 * SIDE + _GAP, 3), 255, np.uint8)
    stacked = [piece for row in rows[:_MOST_IMAGES] for piece in (row, gap)]
    if stacked:
        path.parent.mkdir(parents=True, exist_ok=True)
        PillowImage.fromarray(np.concatenate(stacked[:-1])).save(path)


def _panels(batch: Batch, logits: Tensor, dialogue: Dialogue | None, row: int) -> list[Image]:
    present = batch.present[row]
    places = present.nonzero().flatten().tolist()
    true = _masks(batch.coverage[row, present] - 0.5)
    predicted = _masks(logits[row, present])
    overlaps = [_iou(one, other) for one, other in zip(true, predicted, strict=True)]
    ground = _ground(batch.features[row, 0])
    phrases = [_phrase(batch, row, place, dialogue) for place in places]
    left = overlay(ground, _answer(true, phrases))
    right = overlay(ground, _answer(predicted, [f"IoU {value:.2f}" for value in overlaps]))
    return [left, np.full((SIDE, _GAP, 3), 255, np.uint8), right]


def _answer(masks: list[Mask], phrases: list[str]) -> Answer:
    instances = [Instance(phrase, "unknown", mask_box(mask), mask) for phrase, mask in zip(phrases, masks, strict=True)]
    return Answer("", tuple(instances), (SIDE, SIDE), "", 0.0)


def _masks(logits: Tensor) -> list[Mask]:
    """(m, side, side), inside above zero -> m masks of a panel's size."""
    large = functional.interpolate(logits[None].float().cpu(), (SIDE, SIDE), mode="bilinear", align_corners=False)[0]
    return list((large > 0).numpy())


def _iou(one: Mask, other: Mask) -> float:
    union = int((one | other).sum())
    return int((one & other).sum()) / union if union else 0.0


def _ground(features: Tensor) -> Image:
    """(patches, channels) -> (SIDE, SIDE, 3): what differs most between the patches, in colours, and not too loud."""
    values = features.detach().float().cpu()
    values = values - values.mean(dim=0)
    _, _, directions = torch.linalg.svd(values, full_matrices=False)
    directions = directions[:3]
    # a direction has no sign of its own: let its largest part be positive, so that pictures can be compared
    largest = directions.gather(1, directions.abs().argmax(dim=1, keepdim=True))
    parts = values @ (directions * largest.sign()).T
    low, high = parts.quantile(0.02, dim=0), parts.quantile(0.98, dim=0)
    shares = ((parts - low) / (high - low).clamp(min=1e-6)).clamp(0, 1)
    side = round(len(shares) ** 0.5)
    small = (40 + 150 * shares).byte().unflatten(0, (side, side)).numpy()
    return np.asarray(PillowImage.fromarray(small).resize((SIDE, SIDE), PillowImage.Resampling.BICUBIC))


def _phrase(batch: Batch, row: int, place: int, dialogue: Dialogue | None) -> str:
    """What names a target: its phrase, or the words between "<p>" and its segmentation tokens."""
    if batch.phrases is not None:
        return batch.phrases[row][place]
    if batch.ids is None or batch.groups is None or dialogue is None:
        return ""
    end = int(batch.groups[row, place])
    starts = (batch.ids[row, :end] == dialogue.phrase_id).nonzero().flatten().tolist()
    said = batch.ids[row, starts[-1] + 1 : end].tolist() if starts else []
    return str(dialogue.tokenizer.decode(said)).strip()
