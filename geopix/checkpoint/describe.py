"""What a model is made of, and what its licences and data allow: `geopix info` (Fig. 2)."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

from geopix import parts
from geopix.checkpoint.open import load


def describe(name: str = "nano") -> dict[str, Any]:
    """What `geopix info` prints: parts with parameter counts, bytes, sources and licences, memory, data terms.

    Raises:
        CheckpointError: As `load`.
    """
    model, _ = load(name, "cpu")
    counts: dict[str, list[int]] = defaultdict(lambda: [0, 0])
    for tensor_name, tensor in (*model.named_parameters(), *model.named_buffers()):
        part = _part_of(tensor_name)
        counts[part][0] += tensor.numel()
        counts[part][1] += tensor.numel() * tensor.element_size()
    rows = [
        {
            "part": part,
            "parameters": parameters,
            "trainable": part not in ("vision encoder", "language model"),
            "bytes": size,
            "source": _SOURCES.get(part, "trained by GeoPix") if name == "nano" else str(name),
            "licence": _LICENCES.get(part, "Apache-2.0 (research use, see data terms)"),
        }
        for part, (parameters, size) in counts.items()
    ]
    total = sum(size for _, size in counts.values())
    terms = [
        "NWPU VHR-10: research purposes only, and so are weights trained on it",
        "UC Merced captions and questions: research use",
        "Sentinel-2 ship masks: MIT, Copernicus imagery",
    ]
    return {
        "name": name,
        "parts": rows,
        "memory_bytes": int(total * 1.6 + 3e8),  # weights, activations of one image, and torch itself
        "data_terms": terms if name == "nano" else [],
    }


_SOURCES = {
    "vision encoder": f"{parts.ENCODER.requirement} (DINOv2 ViT-S/14)",
    "language model": f"{parts.LLM.requirement} (SmolLM2-135M-Instruct, LoRA merged)",
}
_LICENCES = {"vision encoder": parts.ENCODER.licence, "language model": parts.LLM.licence}


def _part_of(name: str) -> str:
    for prefix, part in (
        ("encoder.", "vision encoder"),
        ("language.", "language model"),
        ("scale_projectors.", "scale projectors"),
        ("multimodal_projector.", "multi-modal projector"),
        ("mask_predictor.memory.", "class-wise memory (folded)"),
    ):
        if name.startswith(prefix):
            return part
    return "mask predictor"
