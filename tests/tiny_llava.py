"""A LLaVA checkpoint of a few thousand parameters, written by transformers itself; and the real one's sizes."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from torch import Tensor
from transformers import (
    CLIPVisionConfig,
    LlamaConfig,
    LlavaConfig,
    LlavaForConditionalGeneration,
    PreTrainedTokenizerFast,
)

from geopix.checkpoint.llava import llava_config
from geopix.dialogue import Dialogue
from geopix.model.geopix import GeoPixModel
from geopix.model.llm import extend_vocabulary

SMALL: dict[str, Any] = {"mask_width": 32, "mask_side": 8, "memory": {"capacity": 4, "width": 32, "side": 4}}
"""`GeoPixConfig`'s arguments that make the mask parts tiny, too."""

Names = Literal["as saved", "as in memory", "as before version 5"]


def llava_tokenizer(more: Sequence[str] = ("<image>",)) -> PreTrainedTokenizerFast:
    """One token for every byte, then <s>, </s> and others."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    letters = Tokenizer(models.BPE(vocab={letter: index for index, letter in enumerate(alphabet)}, merges=[]))
    letters.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    letters.decoder = decoders.ByteLevel()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=letters, bos_token="<s>", eos_token="</s>")
    tokenizer.add_tokens(list(more), special_tokens=True)
    return tokenizer


def tiny_llava(tokenizer: Any, spare_rows: int = 0, seed: int = 0, **text: Any) -> LlavaForConditionalGeneration:
    """28 px images, 4 x 4 patches, 12 layers of vision, two of language."""
    torch.manual_seed(seed)
    config = LlavaConfig(
        vision_config=CLIPVisionConfig(
            hidden_size=32, intermediate_size=64, num_hidden_layers=12, num_attention_heads=2, image_size=28,
            patch_size=7,
        ),
        text_config=LlamaConfig(
            vocab_size=len(tokenizer) + spare_rows, hidden_size=48, intermediate_size=64, num_hidden_layers=2,
            num_attention_heads=4, num_key_value_heads=2, **text,
        ),
        image_token_index=tokenizer.convert_tokens_to_ids("<image>"),
        image_seq_length=16,
    )  # fmt: skip
    model: LlavaForConditionalGeneration = LlavaForConditionalGeneration(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():  # transformers' own start is too small to tell tensors apart
            parameter.add_(0.05 * torch.randn_like(parameter))
    return model


def write_llava(
    model: LlavaForConditionalGeneration, tokenizer: Any, folder: Path, names: Names = "as saved", **more: Any
) -> None:
    """Save a checkpoint with its tokenizer; ``more`` goes to `save_pretrained`."""
    model.save_pretrained(folder, save_original_format=names != "as in memory", **more)
    tokenizer.save_pretrained(folder)
    if names == "as before version 5":
        tensors = {
            name.replace("vision_tower.", "vision_tower.vision_model."): tensor
            for name, tensor in load_file(folder / "model.safetensors").items()
        }
        tensors["vision_tower.vision_model.embeddings.position_ids"] = torch.arange(17)[None]
        save_tensors(tensors, folder)


def save_tensors(tensors: dict[str, Tensor], folder: Path) -> None:
    """Replace a folder's tensors."""
    whole = {name: tensor.contiguous() for name, tensor in tensors.items()}
    save_file(whole, folder / "model.safetensors", metadata={"format": "pt"})


def full_size(folder: Path, tokens: int, rows: int) -> tuple[GeoPixModel, Dialogue, int]:
    """LLaVA-1.5-7B by its settings alone, without memory for its numbers; and how many tokens its tokenizer knows."""
    fillers = 32_000 - len(llava_tokenizer([]))
    tokenizer = llava_tokenizer([*(f"<word {index}>" for index in range(fillers)), "<image>", "<pad>"][: tokens - 258])
    tokenizer.save_pretrained(folder)
    vision = {
        "model_type": "clip_vision_model", "hidden_size": 1024, "image_size": 336, "intermediate_size": 4096,
        "num_attention_heads": 16, "num_hidden_layers": 24, "patch_size": 14, "projection_dim": 768,
        "vocab_size": 32000,
    }  # fmt: skip
    text = {
        "_name_or_path": "lmsys/vicuna-7b-v1.5", "architectures": ["LlamaForCausalLM"], "model_type": "llama",
        "max_position_embeddings": 4096, "rms_norm_eps": 1e-05, "vocab_size": rows, "torch_dtype": "float16",
    }  # fmt: skip
    settings = {
        "model_type": "llava", "architectures": ["LlavaForConditionalGeneration"], "image_token_index": 32000,
        "vision_config": vision, "text_config": text, "vision_feature_layer": -2, "projector_hidden_act": "gelu",
        "vision_feature_select_strategy": "default", "ignore_index": -100, "pad_token_id": 32001,
        "tie_word_embeddings": False, "torch_dtype": "float16", "transformers_version": "4.36.0.dev0",
        "vocab_size": rows,
    }  # fmt: skip
    (folder / "config.json").write_text(json.dumps(settings))
    names = {"class_names": [f"class {index}" for index in range(74)]}  # and "unknown": the paper's 75 slots
    config, dialogue, known = llava_config(folder, folder, names)
    with torch.device("meta"):
        model = GeoPixModel(config)
    extend_vocabulary(model.language.causal, max(dialogue.new_ids) + 1, known=known)
    return model, dialogue, known
