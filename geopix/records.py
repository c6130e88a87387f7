"""The nouns that cross rooms: instances, samples, turns and answers (§III-A, Fig. 1), validated when made."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco_mask

Mask: TypeAlias = NDArray[np.bool_]
"""(H, W) bool, row-major, the image's own pixels."""

Image: TypeAlias = NDArray[np.uint8]
"""(H, W, 3) uint8, RGB."""

Box: TypeAlias = tuple[float, float, float, float]
"""x_min, y_min, x_max, y_max in pixels of the image; the pixel at column 0 spans 0 to 1."""

Split: TypeAlias = Literal["train", "val", "test"]

_LONGEST_RUN = 7
"""Characters that a run length may have: more and it is longer than any image."""


@dataclass(frozen=True, slots=True)
class Instance:
    """One object: what it was called, what it is, and where.

    Args:
        phrase: The words that refer to it ("the second airplane from the left").
        class_name: Canonical class (see ``geopix.classes``) or "unknown".
        box_xyxy_px: Its box in pixels of the image.
        mask: (H, W) bool, or None where only a box is known (grounding).
        class_score: Probability of ``class_name`` in 0..1, or None where nothing predicted it.
        score: Predicted IoU of the mask in 0..1, or None.

    Raises:
        ValueError: If the mask is not a 2-D bool array, the box is not finite and ordered, or a score leaves 0..1.
    """

    phrase: str
    class_name: str
    box_xyxy_px: Box
    mask: Mask | None = None
    class_score: float | None = None
    score: float | None = None

    def __post_init__(self) -> None:
        x1, y1, x2, y2 = self.box_xyxy_px
        if not all(map(math.isfinite, self.box_xyxy_px)) or x2 < x1 or y2 < y1:
            raise ValueError(f"box {self.box_xyxy_px} is not (x_min, y_min, x_max, y_max) in pixels")
        if self.mask is not None and (self.mask.ndim != 2 or self.mask.dtype != np.bool_):
            raise ValueError(f"a mask is a (H, W) bool array, not {self.mask.dtype} of shape {self.mask.shape}")
        for name in ("class_score", "score"):
            value = getattr(self, name)
            if value is not None and not 0.0 <= value <= 1.0:
                raise ValueError(f"{name} is a probability in 0..1, not {value}")


@dataclass(frozen=True, slots=True)
class Turn:
    """One question and its answer, as text (§III-A).

    Args:
        question: What the user says.
        answer: What the assistant says; every mask is marked "<p>the airplane[SEG]", every box in text.
        task: Which of the paper's tasks it exercises.
        targets: Indices of the sample's instances, one for every "[SEG]" of the answer, in order.
        begun: Whether the answer is only how it begins, nobody knowing the rest; the last of its dialogue.
    """

    question: str
    answer: str
    task: Literal["segment", "refer", "vqa", "caption"] = "vqa"
    targets: tuple[int, ...] = ()
    begun: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """One image with everything that is known about it (§IV).

    Args:
        key: Unique within its source ("nwpu_vhr10/002.jpg").
        image: (H, W, 3) uint8 RGB.
        instances: Objects with masks, boxes or both.
        captions: Whole-image descriptions.
        turns: Questions with answers that came with the source.
        split: The part of the source it belongs to.
        complete: True where every object of the source's classes is annotated, so absence may be asked about.
        there: Classes that are to be seen, by a label of the whole image (or by boxes alone).
        missing: Classes that are not, where ``complete`` doesn't say so.
    """

    key: str
    image: Image
    instances: tuple[Instance, ...] = ()
    captions: tuple[str, ...] = ()
    turns: tuple[Turn, ...] = ()
    split: Split = "train"
    complete: bool = True
    there: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.image.ndim != 3 or self.image.shape[2] != 3 or self.image.dtype != np.uint8:
            raise ValueError(f"{self.key}: an image is (H, W, 3) uint8 RGB, not {self.image.dtype} {self.image.shape}")
        for instance in self.instances:
            if instance.mask is not None and instance.mask.shape != self.image.shape[:2]:
                raise ValueError(
                    f"{self.key}: a mask of {instance.mask.shape} does not fit an image of {self.image.shape[:2]}"
                )

    @property
    def size_hw(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return self.image.shape[0], self.image.shape[1]


@dataclass(frozen=True, slots=True)
class Answer:
    """What GeoPix says about one image: text, and an instance for every object it points at.

    ``text`` marks every mask and box where it is spoken of: "the airplane [1] and the bridge [2]"; the number
    is the instance's place in ``instances``, from one.
    """

    text: str
    instances: tuple[Instance, ...]
    size_hw: tuple[int, int]
    model: str
    elapsed_s: float
    id: str | None = None
    error: str | None = None

    def to_json(self) -> dict[str, Any]:
        """The one JSON form of an answer (docs/answer.schema.json); masks as COCO's compressed RLE."""
        return {
            "id": self.id,
            "text": self.text,
            "instances": [
                {
                    "phrase": instance.phrase,
                    "class": instance.class_name,
                    "class_score": instance.class_score,
                    "score": instance.score,
                    "bbox_xyxy_px": [round(value, 2) for value in instance.box_xyxy_px],
                    "mask": None if instance.mask is None else encode_mask(instance.mask),
                }
                for instance in self.instances
            ],
            "size_hw": list(self.size_hw),
            "model": self.model,
            "elapsed_s": round(self.elapsed_s, 3),
            "error": self.error,
        }


def encode_mask(mask: Mask) -> dict[str, Any]:
    """COCO's compressed run-length encoding of a (H, W) bool mask, with text counts."""
    encoded = coco_mask.encode(np.asfortranarray(mask.astype(np.uint8)))
    return {"size": [int(side) for side in encoded["size"]], "counts": encoded["counts"].decode("ascii")}


def decode_mask(encoded: dict[str, Any]) -> Mask:
    """The inverse of `encode_mask`; also reads uncompressed counts.

    Raises:
        ValueError: If the counts do not describe an image of the given size.
    """
    height, width = (int(side) for side in encoded["size"])
    runs = run_lengths(encoded["counts"], (height, width))
    return np.repeat(np.arange(len(runs)) % 2 == 1, runs).reshape(width, height).T


def run_lengths(counts: str | Sequence[int], size_hw: tuple[int, int]) -> list[int]:
    """The run lengths of a mask, column by column, from COCO's text form or as they are: out, in, out, ...

    Raises:
        ValueError: If they do not describe an image of the given size; pycocotools would leave that to chance.
    """
    height, width = size_hw
    runs = _run_lengths(counts) if isinstance(counts, str) else list(counts)
    if not isinstance(counts, str) and any(type(run) is not int for run in runs):
        raise ValueError(f"run lengths that are no whole numbers, not {height} x {width} pixels")
    if sum(runs) != height * width or min(runs, default=0) < 0:
        raise ValueError(f"run lengths sum to {sum(runs)}, not {height} x {width} pixels")
    return runs


def _run_lengths(counts: str) -> list[int]:
    """COCO's text form of run lengths: five bits a character, from the fourth run on the change since two before.

    [-1] where it is none.
    """
    bits = np.frombuffer(counts.encode("latin-1", "replace"), np.uint8).astype(np.int64) - 48
    if not bits.size:
        return []
    ends = np.flatnonzero((bits & 32) == 0)  # the last character of every run; its highest bit is the sign
    lengths = np.diff(ends, prepend=-1)
    if bits.min() < 0 or bits.max() > 63 or not ends.size or ends[-1] != bits.size - 1 or lengths.max() > _LONGEST_RUN:
        return [-1]
    starts = ends - lengths + 1
    shifts = 5 * (np.arange(bits.size) - np.repeat(starts, lengths))
    runs = np.add.reduceat((bits & 31) << shifts, starts)
    runs -= ((bits[ends] & 16) > 0).astype(np.int64) << (5 * lengths)
    runs[1::2] = np.cumsum(runs[1::2])
    runs[2::2] = np.cumsum(runs[2::2])
    return list(runs.tolist())


def mask_box(mask: Mask) -> Box:
    """The tight box of a non-empty (H, W) bool mask, in pixels; (0, 0, 0, 0) of an empty one."""
    columns = np.flatnonzero(mask.any(axis=0))
    if not columns.size:
        return 0.0, 0.0, 0.0, 0.0
    rows = np.flatnonzero(mask[:, columns[0] : columns[-1] + 1].any(axis=1))
    return float(columns[0]), float(rows[0]), float(columns[-1] + 1), float(rows[-1] + 1)


def runs_box(runs: Sequence[int], height: int) -> Box:
    """`mask_box` of a mask that is still run lengths, of an image so many pixels high."""
    ends = np.cumsum(np.asarray(runs, dtype=np.int64))
    stops = ends[1::2]
    starts = ends[::2][: len(stops)]
    first, last = starts[stops > starts], stops[stops > starts] - 1  # of every run inside, counted down the columns
    if not first.size:
        return 0.0, 0.0, 0.0, 0.0
    wraps = bool((first // height != last // height).any())  # such a run touches the lower and the upper edge
    top, bottom = (0, height - 1) if wraps else (int((first % height).min()), int((last % height).max()))
    return float(first[0] // height), float(top), float(last[-1] // height + 1), float(bottom + 1)
