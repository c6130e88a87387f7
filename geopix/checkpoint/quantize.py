"""The language model's matrices in eight or four bits, by bitsandbytes through transformers' own config (§V-A)."""

from __future__ import annotations

from importlib.util import find_spec

import torch
from transformers import BitsAndBytesConfig

from geopix.checkpoint.files import CheckpointError

_KEPT = ["encoder", "scale_projectors", "multimodal_projector", "mask_predictor", "lm_head"]
"""Masks depend on every bit of these, and they are small; the words' own table is what quantisation hurts most."""


def quantization(bits: str, dtype: torch.dtype = torch.bfloat16) -> BitsAndBytesConfig:
    """What `GeoPixModel.from_pretrained` and `AutoModel.from_pretrained` take as ``quantization_config``.

    Args:
        bits: "8bit" for LLM.int8(), "4bit" for NF4.
        dtype: What is computed in.

    Raises:
        CheckpointError: If ``bits`` is something else, or bitsandbytes is not installed.
    """
    if bits not in ("8bit", "4bit"):
        raise CheckpointError(f"weights can't be quantised to {bits!r}: give 8bit or 4bit")
    if find_spec("bitsandbytes") is None:
        raise CheckpointError(f"{bits} weights need bitsandbytes, which is missing; run: pip install bitsandbytes")
    if bits == "8bit":
        return BitsAndBytesConfig(load_in_8bit=True, llm_int8_skip_modules=_KEPT)
    return BitsAndBytesConfig(
        load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=dtype, llm_int8_skip_modules=_KEPT
    )
