"""What a model is made of, and what its licences and data allow: `geopix info` and the model card (Fig. 2)."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

from geopix.checkpoint.open import load
from geopix.model.geopix import GeoPixModel
from geopix.model.memory import FoldedMemory

UNKNOWN, MEMORY = "not stated", "class-wise memory"


def describe(name: str = "nano") -> dict[str, Any]:
    """What `geopix info` prints, see `facts`.

    Raises:
        CheckpointError: As `load`.
    """
    return facts(load(name, "cpu")[0], name)


def facts(model: GeoPixModel, name: str) -> dict[str, Any]:
    """What is known of a model, and nothing else: counted in it, or said by `GeoPixConfig.about`.

    Args:
        model: As it was loaded.
        name: By what it was asked for.

    Returns:
        Parts with parameter counts, bytes, sources and licences; bytes of memory needed; data terms; base model;
        what the memory is; class names; settings of the training, None where they are not known.
    """
    config, about = model.config, model.config.about
    counts: dict[str, list[int]] = defaultdict(lambda: [0, 0])
    for tensor_name, tensor in (*model.named_parameters(), *model.named_buffers()):
        part = _part_of(tensor_name)
        counts[part][0] += tensor.numel()
        counts[part][1] += tensor.numel() * tensor.element_size()
    total = sum(size for _, size in counts.values())
    parts = _mapping(about.get("parts"))
    base = str(about.get("base_model", UNKNOWN))
    memory = None
    if config.mask_path == "geopix" and config.memory["fusion"] != "none":
        keys = ("fusion", "capacity", "width", "side", "layers", "top_k")
        memory = {**{key: config.memory[key] for key in keys}, "folded": _is_folded(model)}
    rows = []
    for part, (parameters, size) in counts.items():
        said = _mapping(parts.get(part, parts.get("others")))
        rows.append(
            {
                "part": f"{part} (folded)" if part == MEMORY and _is_folded(model) else part,
                "parameters": parameters,
                "trainable": part not in ("vision encoder", "language model"),
                "bytes": size,
                "source": str(said.get("source", base)),
                "licence": str(said.get("licence", UNKNOWN)),
            }
        )
    terms = about.get("data_terms")
    return {
        "name": name,
        "parts": rows,
        "memory_bytes": int(total * 1.6 + 3e8),  # weights, activations of one image, and torch itself
        "data_terms": list(map(str, terms)) if isinstance(terms, list) else [],
        "base_model": about.get("base_model"),
        "mask_path": config.mask_path,
        "memory": memory,
        "class_names": list(config.class_names) if config.mask_path == "geopix" else [],
        "training": about.get("training"),
    }


def _is_folded(model: GeoPixModel) -> bool:
    return isinstance(model.mask_predictor.memory, FoldedMemory)


def _mapping(value: Any) -> dict[str, Any]:
    """What a stranger's file says, where it says anything."""
    return value if isinstance(value, dict) else {}


def _part_of(name: str) -> str:
    for prefix, part in (
        ("encoder.", "vision encoder"),
        ("language.", "language model"),
        ("scale_projectors.", "scale projectors"),
        ("multimodal_projector.", "multi-modal projector"),
        ("mask_predictor.memory.", MEMORY),
    ):
        if name.startswith(prefix):
            return part
    return "mask predictor"
