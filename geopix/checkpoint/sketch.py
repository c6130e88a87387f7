"""A model without its numbers (§V-A at full size): counted, cut and planned before its weights are fetched."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any, cast

import torch
from torch import nn
from transformers import LlavaConfig

from geopix import parts
from geopix.checkpoint import hub
from geopix.checkpoint.files import CheckpointError
from geopix.checkpoint.llava import llava_config
from geopix.dialogue import Dialogue
from geopix.model.geopix import GeoPixModel
from geopix.model.llm import extend_vocabulary

LLAVA_7B = "llava-hf/llava-1.5-7b-hf"
"""The paper's backbone; its sizes are known without the hub."""
_ROWS = 64
"""Of its vocabulary beyond Vicuna's 32,000, in which ours find room."""


def sketch(name: str, settings: dict[str, Any] | None = None) -> tuple[GeoPixModel, Dialogue, bool]:
    """The model that `from_llava` would make, on torch's meta device, in bfloat16.

    Only settings and tokenizer are read, and fetched if need be. Where the hub can't be reached, `LLAVA_7B` is made
    from the sizes that transformers knows, and its words are counted with nano's tokenizer.

    Args:
        name: A folder, or a hub id.
        settings: As for `from_llava`.

    Returns:
        The model, its dialogue, and whether the checkpoint's own files were read.

    Raises:
        CheckpointError: If they can't be read, and the name is not `LLAVA_7B`.
    """
    try:
        folder = hub.find(name, weights=False)
    except CheckpointError:
        if name != LLAVA_7B:
            raise
        folder = None
    if folder is not None:
        config, dialogue, known = llava_config(folder, folder, settings)
        model = _empty(config)
        extend_vocabulary(model.language.causal, max(dialogue.new_ids) + 1, known=known)
        return model, dialogue, True
    if name != LLAVA_7B:
        raise CheckpointError(f"there is no checkpoint '{name}': give a folder or a hub id (owner/model)")
    with tempfile.TemporaryDirectory() as made:
        usual: Any = LlavaConfig()
        usual.text_config.vocab_size += _ROWS
        usual.save_pretrained(made)
        config, dialogue, _ = llava_config(Path(made), parts.directory(parts.LLM), settings)
    return _empty(config), dialogue, False


def _empty(config: Any) -> GeoPixModel:
    with torch.device("meta"):
        model = GeoPixModel(config)
    model.language.causal.requires_grad_(False)
    cast(nn.Module, model).to(torch.bfloat16)
    return model
