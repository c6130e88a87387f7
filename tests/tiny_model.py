"""A GeoPix of a few thousand parameters with every part of the real one."""

from __future__ import annotations

from typing import Any

import torch
from transformers import Dinov2Config, LlamaConfig

from geopix.dialogue import Dialogue
from geopix.model.configuration import GeoPixConfig
from geopix.model.geopix import GeoPixModel
from geopix.model.llm import extend_vocabulary
from tests.tiny import tiny_tokenizer

GROUP = 6


def tiny_geopix(seed: int = 0, hidden: int = 48, **memory: Any) -> tuple[GeoPixModel, Dialogue]:
    """56 px images, 4 x 4 patches, 4 image tokens, two scales of three segmentation tokens, ten classes."""
    torch.manual_seed(seed)
    vision = Dinov2Config(hidden_size=32, num_hidden_layers=3, num_attention_heads=2, image_size=56, patch_size=14)
    tokenizer = tiny_tokenizer()
    text = LlamaConfig(
        vocab_size=len(tokenizer), hidden_size=hidden, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, tie_word_embeddings=True, bos_token_id=None, eos_token_id=None, pad_token_id=None,
    )  # fmt: skip
    config = GeoPixConfig(
        vision_config=vision,
        text_config=text,
        image_size=56,
        encoder_layers=(3, 2),
        mask_width=32,
        decoder_blocks=2,
        memory={"capacity": 4, "width": 32, "side": 2, "layers": 1, "top_k": 3, **memory},
    )
    model = GeoPixModel(config)
    dialogue = Dialogue(tokenizer, 2, 3, config.image_tokens)
    extend_vocabulary(model.language.causal, max(dialogue.new_ids) + 1)
    config.text_config.vocab_size = max(dialogue.new_ids) + 1
    config.image_token_id = model.language.image_id = dialogue.image_id
    return model.eval(), dialogue
