"""geopix-nano: two packaged parts that stay frozen, and the tensors that we trained (§V-A)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor
from transformers import AutoModelForCausalLM, AutoTokenizer, Dinov2Model

from geopix import parts
from geopix.checkpoint.adapter import merge_adapters
from geopix.checkpoint.files import AGAIN, CheckpointError, fill, read_json, read_tensors
from geopix.checkpoint.folder import dialogue_of
from geopix.dialogue import Dialogue
from geopix.model.configuration import GeoPixConfig
from geopix.model.geopix import GeoPixModel
from geopix.model.llm import add_lora, extend_vocabulary

NANO = Path(__file__).parents[1] / "weights" / "nano"
"""The tensors that we trained; the two frozen parts come from packages (`geopix.parts`)."""
TRAINED = "trained.safetensors"
ABOUT = {
    "parts": {
        "vision encoder": {
            "source": f"{parts.ENCODER.requirement} (DINOv2 ViT-S/14)", "licence": parts.ENCODER.licence,
        },
        "language model": {
            "source": f"{parts.LLM.requirement} (SmolLM2-135M-Instruct, LoRA merged)", "licence": parts.LLM.licence,
        },
        "others": {"source": "trained by GeoPix", "licence": "Apache-2.0 (research use, see data terms)"},
    },
    "data_terms": [
        "NWPU VHR-10: research purposes only, and so are weights trained on it",
        "UC Merced captions, questions and labels: research use",
        "AID images with RSICD captions: academic use",
        "GDIT airports: public domain",
        "Sentinel-2 ship masks: MIT, Copernicus imagery",
    ],
}  # fmt: skip
"""What `GeoPixConfig.about` says of nano."""


def fresh_nano(settings: dict[str, Any] | None = None, seed: int = 0) -> tuple[GeoPixModel, Dialogue]:
    """Nano before training: the two frozen parts, everything else new, all in float32.

    Args:
        settings: `GeoPixConfig`'s arguments that differ from its defaults.
        seed: The same seed makes the same new tensors.
    """
    torch.manual_seed(seed)
    try:
        encoder = Dinov2Model.from_pretrained(parts.directory(parts.ENCODER), dtype=torch.float32)
        folder = parts.directory(parts.LLM)
        llm = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
        tokenizer = AutoTokenizer.from_pretrained(folder)
    except parts.PartsError as error:
        raise CheckpointError(str(error)) from error
    except (OSError, SafetensorError) as error:
        cache = parts.cache_directory()
        raise CheckpointError(
            f"nano's parts in {cache} can't be read ({error}); delete that folder and try again"
        ) from error
    config = GeoPixConfig(vision_config=encoder.config, text_config=llm.config, **(settings or {}))
    dialogue = dialogue_of(tokenizer, config)
    config.image_token_id = dialogue.image_id
    extend_vocabulary(llm, max(dialogue.new_ids) + 1)
    llm.requires_grad_(False)
    return GeoPixModel(config, encoder, llm), dialogue


def load_nano(folder: Path) -> tuple[GeoPixModel, Dialogue]:
    """Nano from its trained tensors: adapter merged, memory folded."""
    settings = read_json(folder / "nano.json")
    tensors = read_tensors(folder / TRAINED)
    try:
        trained_on = settings["parts"]["encoder"], settings["parts"]["llm"]
        sizes = {**settings["config"], "memory": {**settings["config"]["memory"], "folded": True}}
        rank, alpha = int(settings["lora"]["rank"]), int(settings["lora"]["alpha"])
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"{folder / 'nano.json'} lacks nano's settings ({error!r}); {AGAIN}") from error
    for part, sha256 in zip((parts.ENCODER, parts.LLM), trained_on, strict=True):
        if part.sha256 != sha256:
            raise CheckpointError(f"{folder} was trained on another {part.name} than this GeoPix uses; {AGAIN}")
    model, dialogue = fresh_nano(sizes)
    model.language.llm = add_lora(model.language.causal, rank, alpha, dropout=0.0, new_ids=dialogue.new_ids)
    fill(trained_tensors(model), tensors, folder / TRAINED)
    merge_adapters(model)
    model.config.about = {**ABOUT, "training": settings.get("about")}
    return model, dialogue


def save_nano(model: GeoPixModel, lora: dict[str, int], folder: Path, about: dict[str, Any]) -> None:
    """Write nano's trained tensors and settings, half precision, memory folded; ``model`` is folded in place.

    Args:
        model: With its adapter still apart.
        lora: {"rank", "alpha"} of the adapter.
        folder: Made if need be.
        about: What the model card should know (steps, costs, data).
    """
    model.mask_predictor.fold()
    tensors = {name: tensor.to(torch.bfloat16).contiguous() for name, tensor in trained_tensors(model).items()}
    config = model.config
    settings = {
        "parts": {"encoder": parts.ENCODER.sha256, "llm": parts.LLM.sha256},
        "config": {
            "image_size": config.image_size, "encoder_layers": config.encoder_layers, "merge": config.merge,
            "tokens_per_scale": config.tokens_per_scale, "mask_width": config.mask_width,
            "decoder_blocks": config.decoder_blocks, "memory": config.memory, "class_names": config.class_names,
            "relations_in_words": config.relations_in_words, "written_boxes": config.written_boxes,
        },
        "lora": lora,
        "about": about,
    }  # fmt: skip
    folder.mkdir(parents=True, exist_ok=True)
    save_file(tensors, folder / f".{TRAINED}", metadata={"format": "pt"})
    (folder / ".nano.json").write_text(json.dumps(settings, indent=2) + "\n", encoding="utf-8")
    (folder / f".{TRAINED}").chmod(0o644)  # safetensors keeps it to its owner; an installed package is for everyone
    (folder / f".{TRAINED}").replace(folder / TRAINED)
    (folder / ".nano.json").replace(folder / "nano.json")


def trained_tensors(model: GeoPixModel) -> dict[str, Tensor]:
    """Everything that training made: all but the frozen encoder and the LLM's own weights."""
    return {
        name: tensor
        for name, tensor in model.state_dict().items()
        if not name.startswith("encoder.") and (not name.startswith("language.") or _is_adapter(name))
    }


def _is_adapter(name: str) -> bool:
    return "lora_" in name or "trainable_tokens_delta" in name
