"""A whole GeoPix model in a folder, as transformers writes one (§V-A)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel
from safetensors import SafetensorError
from transformers import AutoTokenizer

from geopix.checkpoint.auto import processor_of
from geopix.checkpoint.files import CheckpointError, check_finite, read_folder
from geopix.dialogue import Dialogue
from geopix.model.configuration import GeoPixConfig
from geopix.model.geopix import GeoPixModel
from geopix.model.memory import FoldedMemory

MEND = "save it again"


def save(model: GeoPixModel, dialogue: Dialogue, folder: Path) -> None:
    """Write a whole model with its tokenizer, for `load(str(folder))`.

    Args:
        model: Its adapter merged; folded or not.
        dialogue: Whose tokenizer the model was trained with.
        folder: Made if need be.

    Raises:
        ValueError: If the adapter is still apart, or the weights are quantised.
    """
    if isinstance(model.language.llm, PeftModel):
        raise ValueError("a whole model is saved without an adapter; merge it first: geopix.checkpoint.merge_adapters")
    if getattr(model, "hf_quantizer", None) is not None:
        raise ValueError("quantised weights are rounded already; load the model without quantising, then save it")
    model.config.memory["folded"] = isinstance(model.mask_predictor.memory, FoldedMemory)
    model.config.text_config.vocab_size = model.language.causal.get_input_embeddings().num_embeddings
    model.save_pretrained(folder)
    processor_of(dialogue.tokenizer, model.config).save_pretrained(folder)


def load_folder(
    folder: Path, dtype: torch.dtype | None = None, placing: Mapping[str, Any] | None = None
) -> tuple[GeoPixModel, Dialogue]:
    """A model that `save` wrote, with its dialogue.

    Args:
        folder: Where it is.
        dtype: Of the whole model; by default as it was saved.
        placing: transformers' own ``device_map`` and ``quantization_config``, where they are wanted.

    Raises:
        CheckpointError: Naming what is missing or wrong.
    """
    tensors = read_folder(folder, MEND)  # mapped, not read: transformers reads them once more, its own way
    if (folder / "adapter_config.json").exists():  # transformers would load whatever model that names
        raise CheckpointError(f"{folder} holds an adapter beside the model; keep it in a folder of its own")
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
        loaded: Any = GeoPixModel.from_pretrained(
            folder,
            dtype=dtype or "auto",
            attn_implementation="sdpa",
            output_loading_info=True,
            local_files_only=True,
            use_safetensors=True,
            ignore_mismatched_sizes=True,  # told below, by name
            **(placing or {}),
        )
    except (OSError, SafetensorError, RuntimeError, LookupError, TypeError, ValueError, ImportError) as error:
        raise CheckpointError(f"{folder} can't be loaded ({' '.join(str(error).split())}); {MEND}") from error
    model, found = loaded
    wrong = [f"{kind}: {sorted(map(str, names))[:3]}" for kind, names in found.items() if names]
    if wrong:
        raise CheckpointError(f"{folder} does not fit its config ({'; '.join(wrong)}); {MEND}")
    whole = {name for name, buffer in model.named_buffers() if not buffer.is_floating_point()}
    for name, tensor in tensors.items():
        if tensor.is_floating_point() == (name in whole):
            kind = "whole numbers" if name in whole else "floating-point numbers"
            raise CheckpointError(f"{name} in {folder} is {tensor.dtype}, expected {kind}; {MEND}")
        check_finite(name, tensor, folder, MEND)
    dialogue = dialogue_of(tokenizer, model.config)
    rows = model.language.causal.get_input_embeddings().num_embeddings
    if dialogue.image_id != model.config.image_token_id or max(dialogue.new_ids) >= rows:
        raise CheckpointError(
            f"the tokenizer in {folder} is not the model's: its <image> is token {dialogue.image_id}, expected "
            f"{model.config.image_token_id} of {rows}; save both with geopix.checkpoint.save"
        )
    return model, dialogue


def dialogue_of(tokenizer: Any, config: GeoPixConfig) -> Dialogue:
    """The dialogue that a model's tokenizer speaks; the tokens of ours that it lacks are added to it."""
    return processor_of(tokenizer, config).dialogue
