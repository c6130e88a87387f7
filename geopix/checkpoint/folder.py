"""A whole GeoPix model in a folder, as transformers writes one (§V-A)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from peft import PeftModel
from safetensors import SafetensorError
from transformers import AutoTokenizer

from geopix.checkpoint.files import CheckpointError, check_finite
from geopix.dialogue import TEMPLATES, Dialogue
from geopix.model.geopix import GeoPixConfig, GeoPixModel
from geopix.model.memory import FoldedMemory


def save(model: GeoPixModel, dialogue: Dialogue, folder: Path) -> None:
    """Write a whole model with its tokenizer, for `load(str(folder))`.

    Args:
        model: Its adapter merged; folded or not.
        dialogue: Whose tokenizer the model was trained with.
        folder: Made if need be.

    Raises:
        ValueError: If the adapter is still apart.
    """
    if isinstance(model.language.llm, PeftModel):
        raise ValueError("a whole model is saved without an adapter; merge it first: llm.merge_and_unload()")
    model.config.memory["folded"] = isinstance(model.mask_predictor.memory, FoldedMemory)
    model.config.text_config.vocab_size = model.language.causal.get_input_embeddings().num_embeddings
    model.save_pretrained(folder)
    dialogue.tokenizer.save_pretrained(folder)


def load_folder(folder: Path, dtype: torch.dtype | None = None) -> tuple[GeoPixModel, Dialogue]:
    """A model that `save` wrote, with its dialogue.

    Args:
        folder: Where it is.
        dtype: Of the whole model; by default as it was saved.

    Raises:
        CheckpointError: Naming what is missing or wrong.
    """
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
        loaded: Any = GeoPixModel.from_pretrained(
            folder,
            dtype=dtype or "auto",
            output_loading_info=True,
            local_files_only=True,
            ignore_mismatched_sizes=True,  # told below, by name
        )
    except (OSError, SafetensorError, RuntimeError, LookupError, TypeError, ValueError) as error:
        raise CheckpointError(f"{folder} can't be loaded ({' '.join(str(error).split())}); save it again") from error
    model, found = loaded
    wrong = [f"{kind}: {sorted(map(str, names))[:3]}" for kind, names in found.items() if names]
    if wrong:
        raise CheckpointError(f"{folder} does not fit its config ({'; '.join(wrong)}); save it again")
    for name, tensor in model.state_dict().items():
        check_finite(name, tensor, folder)
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
    size = len(config.encoder_layers), config.tokens_per_scale, config.image_tokens
    ours = config.mask_path == "geopix"  # the authors' answers don't mark their phrases
    return Dialogue(tokenizer, *size, template=TEMPLATES[config.template], marks_phrases=ours)
