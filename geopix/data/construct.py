"""Which images enter the data set, and the windows cut from those that are too large or too crowded (§IV-A)."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from PIL import Image as PillowImage

from geopix.records import Image, Instance, Mask, Sample, mask_box

MAX_PER_CLASS = 4
"""Fewer than five instances of a class in one image (§IV-A)."""
MAX_INSTANCES = 11
"""At most eleven instances in one image (§IV-A)."""
MIN_VISIBLE = 0.6
"""Share of an instance's pixels that a window must hold for the instance to count as being in it."""
MAX_STRAY = 0.08
"""Share below which a cut-off piece of an instance is ignored; between the two the window is refused."""
MIN_AREA = 0.0008
"""Smallest instance kept, as a share of the window's area."""


def refusal(names: Sequence[str], max_per_class: int = MAX_PER_CLASS, max_total: int = MAX_INSTANCES) -> str | None:
    """Why the paper's filter leaves an image out, or None where it passes: few of any class, few in all, not none.

    Args:
        names: What every instance of the image counts as.
        max_per_class, max_total: The largest numbers that pass.
    """
    if not names:
        return "no object"
    if len(names) > max_total:
        return "too many objects"
    return "too many of one class" if max(Counter(names).values()) > max_per_class else None


def passes_filter(
    instances: Sequence[Instance], max_per_class: int = MAX_PER_CLASS, max_total: int = MAX_INSTANCES
) -> bool:
    """The paper's filter: at least one instance, few of any class, few in all."""
    return refusal([instance.class_name for instance in instances], max_per_class, max_total) is None


def crop(sample: Sample, left: int, top: int, width: int, height: int) -> Sample | None:
    """Cut a window out of a sample, or None where it would cut an instance in two or hold one too small to see.

    Args:
        sample: Every instance needs a mask.
        left, top, width, height: The window in pixels of the sample's image.
    """
    rows, columns = slice(top, top + height), slice(left, left + width)
    kept = []
    for instance in sample.instances:
        if instance.mask is None:
            return None
        mask = instance.mask[rows, columns]
        inside = int(mask.sum())
        if not inside:
            continue
        visible = inside / int(instance.mask.sum())
        if visible < MAX_STRAY:
            continue
        if visible < MIN_VISIBLE or inside < MIN_AREA * width * height:
            return None
        kept.append(replace(instance, mask=mask.copy(), box_xyxy_px=mask_box(mask)))
    image = np.ascontiguousarray(sample.image[rows, columns])
    return replace(sample, key=f"{sample.key}#{left},{top},{width},{height}", image=image, instances=tuple(kept))


def random_window(sample: Sample, rng: np.random.Generator, tries: int = 12) -> Sample | None:
    """A window around a random instance that passes the filter, at a random zoom and shape; None if luck fails.

    The zoom is drawn evenly on a log scale between "the instance fills a third of the side" and the whole image.
    """
    height, width = sample.size_hw
    if not sample.instances:
        return None
    for attempt in range(tries):
        if attempt == 0 and rng.random() < 0.25:
            window: Sample | None = crop(sample, 0, 0, width, height)
        else:
            x1, y1, x2, y2 = sample.instances[rng.integers(len(sample.instances))].box_xyxy_px
            smallest = min(max(x2 - x1, y2 - y1, 24.0) * 1.6, float(min(height, width)))
            area_side = math.exp(rng.uniform(math.log(smallest), math.log(math.sqrt(height * width))))
            aspect = math.exp(rng.uniform(-0.45, 0.45)) if rng.random() < 0.5 else 1.0
            w, h = min(round(area_side * aspect), width), min(round(area_side / aspect), height)
            left = int(np.clip(rng.uniform(x1 - 0.95 * w, x2 - 0.05 * w), 0, width - w))
            top = int(np.clip(rng.uniform(y1 - 0.95 * h, y2 - 0.05 * h), 0, height - h))
            window = crop(sample, left, top, w, h)
        if window is not None and passes_filter(window.instances):
            return window
    return None


def turn(sample: Sample, quarter_turns: int, mirrored: bool) -> Sample:
    """Rotate by quarter turns anticlockwise, then mirror left to right: one of the eight ways to hold a picture."""

    def move(array: np.ndarray) -> np.ndarray:
        moved = np.rot90(array, quarter_turns)
        return np.ascontiguousarray(moved[:, ::-1] if mirrored else moved)

    return _map(sample, move(sample.image), [move(_need(instance)) for instance in sample.instances])


def resize(sample: Sample, height: int, width: int) -> Sample:
    """Resample image (bilinear, antialiased) and masks (nearest) to another size in pixels."""
    image = np.asarray(PillowImage.fromarray(sample.image).resize((width, height), PillowImage.Resampling.BILINEAR))
    masks = [
        np.asarray(PillowImage.fromarray(_need(instance)).resize((width, height), PillowImage.Resampling.NEAREST))
        for instance in sample.instances
    ]
    return _map(sample, image, masks)


def mosaic(samples: Sequence[Sample], side: int, across: int) -> Sample:
    """Lay square windows side by side, ``across`` to a row, each scaled to its cell: new neighbours for old objects."""
    down = math.ceil(len(samples) / across)
    height, width = side // down, side // across
    image = np.zeros((height * down, width * across, 3), dtype=np.uint8)
    instances = []
    for index, sample in enumerate(samples):
        cell = resize(sample, height, width)
        top, left = (index // across) * height, (index % across) * width
        image[top : top + height, left : left + width] = cell.image
        for instance in cell.instances:
            mask = np.zeros(image.shape[:2], dtype=np.bool_)
            mask[top : top + height, left : left + width] = _need(instance)
            instances.append(replace(instance, mask=mask, box_xyxy_px=mask_box(mask)))
    key = "+".join(sample.key for sample in samples)
    complete = all(sample.complete for sample in samples)
    return Sample(key, image, tuple(instances), split=samples[0].split, complete=complete)


def photometric(image: Image, rng: np.random.Generator) -> Image:
    """Change brightness, contrast, colour balance and saturation a little, as seasons and sensors do."""
    pixels = image.astype(np.float32) / 255
    pixels = pixels * rng.uniform(0.75, 1.25) + rng.uniform(-0.08, 0.08)
    pixels *= rng.uniform(0.92, 1.08, size=3).astype(np.float32)
    grey = pixels.mean(axis=2, keepdims=True)
    pixels = grey + (pixels - grey) * (0.0 if rng.random() < 0.08 else rng.uniform(0.6, 1.3))
    return np.asarray(pixels.clip(0, 1) * 255, dtype=np.uint8)


def _map(sample: Sample, image: Image, masks: Sequence[Mask]) -> Sample:
    instances = tuple(
        replace(instance, mask=mask, box_xyxy_px=mask_box(mask))
        for instance, mask in zip(sample.instances, masks, strict=True)
        if mask.any()
    )
    return replace(sample, image=image, instances=instances)


def _need(instance: Instance) -> Mask:
    if instance.mask is None:
        raise ValueError(f"{instance.phrase}: only instances with masks can be cut, turned or resized")
    return instance.mask
