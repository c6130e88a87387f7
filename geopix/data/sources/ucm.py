"""UC Merced captions and questions -> Sample (§IV; stands in for VRSBench's image-level tasks)."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image as PillowImage

from geopix.records import Sample, Split, Turn


def read_ucm(root: Path, split: Split) -> Iterator[Sample]:
    """Yield every image of a split with its five captions and its question-answer pairs.

    The split of an image is its captions' split, so that no image is asked about in training and scored later.

    Raises:
        OSError: If a file is missing or can't be read.
    """
    questions: dict[str, list[Turn]] = defaultdict(list)
    for row in _rows(root / "vqa.json"):
        questions[row["image"]].append(Turn(row["question"], row["answer"], "vqa"))
    for row in _rows(root / "captions.json"):
        if row["split"] != split:
            continue
        with PillowImage.open(root / row["image"]) as picture:
            image = np.asarray(picture.convert("RGB"), dtype=np.uint8)
        captions = tuple(dict.fromkeys(_tidy(caption) for caption in row["captions"]))
        turns = tuple(questions[row["image"]])
        yield Sample(f"ucm/{row['image']}", image, captions=captions, turns=turns, split=split, complete=False)


def _rows(path: Path) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))
    return rows


def _tidy(caption: str) -> str:
    """Undo the space that the source puts before every full stop: "There are planes ." -> "There are planes."."""
    words = " ".join(caption.replace(" .", ".").replace(" ,", ",").split())
    return words[:1].upper() + words[1:].rstrip(".") + "."
