"""What bfloat16 does to masks: nano's, for the same questions and answers, against those of float32 (Fig. 2).

    python benchmarks/precision.py --data DATA [--limit 60] [--json]

DATA holds nwpu_vhr10. The true answers of the validation questions are given to both, so that the words are the same
and only the arithmetic differs. The IoU of a mask is that of the two precisions' masks with each other.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from geopix import checkpoint
from geopix.dialogue import Dialogue
from geopix.evaluate.vhr10 import Question, questions, spread
from geopix.model.encoder import Letterbox, to_pixels
from geopix.model.geopix import GeoPixModel


@torch.no_grad()
def masks(model: GeoPixModel, dialogue: Dialogue, question: Question) -> Tensor:
    """The masks of a question's true answer in the letterboxed square, (targets, h, w) bool."""
    square = Letterbox(question.window.size_hw, model.config.image_size).apply(question.window.image)
    seen = model.see(to_pixels([square], model.config.image_mean, model.config.image_std).to(model.dtype))
    encoded = dialogue.encode([question.turn])
    hidden = model.language(model.language.embed(torch.tensor([encoded.ids]), seen.tokens))
    embeddings = model.segmentation_embeddings(hidden, torch.tensor([encoded.groups]))
    return model.predict_masks(seen, embeddings).logits[0] > 0


def measure(data: Path, limit: int) -> dict[str, Any]:
    """Both precisions on the same questions.

    Raises:
        geopix.checkpoint.CheckpointError: If nano can't be loaded.
        OSError: If the data can't be read.
    """
    asked = spread([one for one in questions(data) if one.turn.targets], limit)
    found: dict[str, list[Tensor]] = {}
    for dtype in (torch.float32, torch.bfloat16):
        model, dialogue = checkpoint.load("nano", "cpu")
        movable: nn.Module = model
        movable.to(dtype).eval()
        found[str(dtype)] = [masks(model, dialogue, question) for question in asked]
    full, half = (torch.cat(parts) for parts in found.values())
    union = (full | half).flatten(1).sum(dim=1)
    ious = torch.where(union > 0, (full & half).flatten(1).sum(dim=1) / union.clamp(min=1), 1.0).numpy()
    return {
        "questions": len(asked),
        "masks": len(ious),
        "mean_iou": float(ious.mean()),
        "median_iou": float(np.median(ious)),
        "share_at_0.9": float((ious >= 0.9).mean()),
        "cells_that_agree": float((full == half).float().mean()),
    }


def main() -> None:
    """Read the command line, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--limit", type=int, default=60, help="questions")
    parser.add_argument("--json", action="store_true", help="print JSON")
    given = parser.parse_args()
    try:
        result = measure(given.data, given.limit)
    except (ValueError, OSError) as error:
        sys.exit(f"error: {error}")
    if given.json:
        print(json.dumps(result))
        return
    print(f"{result['masks']} masks of {result['questions']} validation questions, bfloat16 against float32:")
    print(f"IoU {result['mean_iou']:.3f} in the mean, {result['median_iou']:.3f} in the median, at least 0.9 for")
    print(f"{result['share_at_0.9']:.0%} of the masks; {result['cells_that_agree']:.2%} of all cells agree")


if __name__ == "__main__":
    main()
