"""LoRA and the rows of the new words in PEFT's own files, and merged into the language model (§V-A)."""

from __future__ import annotations

import copy
import math
from pathlib import Path
from typing import Any

from peft import LoraConfig, PeftModel, get_peft_model_state_dict
from safetensors.torch import save_file

from geopix.checkpoint.files import CheckpointError, fill, read_json, read_tensors
from geopix.model.geopix import GeoPixModel
from geopix.model.llm import add_lora

SETTINGS, TENSORS = "adapter_config.json", "adapter_model.safetensors"
MEND = "save the adapter again with geopix.checkpoint.save_adapter"

_TARGETS = {"q_proj", "v_proj"}
_OURS = {
    "r", "lora_alpha", "lora_dropout", "target_modules", "trainable_token_indices", "task_type", "peft_type",
    "base_model_name_or_path", "inference_mode", "peft_version",
}  # fmt: skip
"""What an adapter of ours may say differently from PEFT's defaults; the rest would be another computation."""


def save_adapter(model: GeoPixModel, folder: Path) -> None:
    """Write the language model's adapter in PEFT's form: LoRA's matrices and the new words' rows, no other row.

    Args:
        model: With its adapter apart.
        folder: Made if need be.

    Raises:
        ValueError: If there is no adapter.
    """
    adapter = _adapter(model)
    # Not `adapter.save_pretrained`: it adds a card full of blanks, and asks the hub whether the vocabulary has grown.
    tensors = get_peft_model_state_dict(adapter, save_embedding_layers=False)
    settings = copy.copy(adapter.peft_config["default"])
    settings.inference_mode, settings.base_model_name_or_path = True, None
    folder.mkdir(parents=True, exist_ok=True)
    staged = folder / f".{TENSORS}"
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, staged, metadata={"format": "pt"})
    staged.chmod(0o644)
    staged.replace(folder / TENSORS)
    settings.save_pretrained(str(folder))


def load_adapter(model: GeoPixModel, folder: Path) -> None:
    """Lay a saved adapter around the language model, where it can be trained on or merged.

    Args:
        model: Without an adapter; changed in place.
        folder: What `save_adapter` wrote.

    Raises:
        CheckpointError: Naming what is missing or wrong; the model stays as it was.
    """
    if isinstance(model.language.llm, PeftModel):
        raise CheckpointError("the model has an adapter already; merge it first: geopix.checkpoint.merge_adapters")
    causal = model.language.causal
    settings = _settings(folder, causal.config.hidden_size, causal.get_input_embeddings().num_embeddings)
    tensors = read_tensors(folder / TENSORS, f"nothing but safetensors is read; {MEND}")
    adapter: Any = add_lora(causal, **settings)
    try:
        fill(get_peft_model_state_dict(adapter, save_embedding_layers=False), tensors, folder / TENSORS, MEND)
    except CheckpointError:
        model.language.llm = adapter.unload()
        raise
    model.language.llm = adapter


def merge_adapters(model: GeoPixModel) -> None:
    """Add the adapter to the weights that it lies around: the same answers to rounding, and nothing left apart.

    Raises:
        ValueError: If there is no adapter.
    """
    model.language.llm = _adapter(model).merge_and_unload()


def _adapter(model: GeoPixModel) -> Any:
    if isinstance(model.language.llm, PeftModel):
        return model.language.llm
    raise ValueError("the model has no adapter; geopix.model.llm.add_lora or geopix.checkpoint.load_adapter gives one")


def _settings(folder: Path, hidden: int, rows: int) -> dict[str, Any]:
    """`add_lora`'s arguments as a file has them; nothing else of the file is used."""
    path = folder / SETTINGS
    read = read_json(path, MEND)
    usual: dict[str, Any] = vars(LoraConfig())
    odd = sorted(key for key in read.keys() - _OURS if read[key] and read[key] != usual.get(key))
    if odd:
        raise CheckpointError(f"{path} asks for {odd[0]} = {read[odd[0]]!r}, and only plain LoRA is built; {MEND}")
    rank, alpha = read.get("r"), read.get("lora_alpha")
    dropout: Any = read.get("lora_dropout")
    modules, tokens = read.get("target_modules"), read.get("trainable_token_indices")
    ids = tokens.get("embed_tokens") if isinstance(tokens, dict) else None
    if read.get("peft_type") != "LORA" or not isinstance(modules, list) or set(map(str, modules)) != _TARGETS:
        raise CheckpointError(
            f"{path} describes {read.get('peft_type')!r} on {modules!r}, expected 'LORA' on q_proj and v_proj; {MEND}"
        )
    if type(rank) is not int or not 1 <= rank <= hidden or not _is_finite(alpha):
        raise CheckpointError(
            f"{path} asks for rank {rank!r} and alpha {alpha!r}, expected numbers, the rank from 1 to {hidden}; {MEND}"
        )
    if not isinstance(ids, list) or not all(type(one) is int and 0 <= one < rows for one in ids):
        raise CheckpointError(f"{path} trains rows that are not among the {rows:,} of this vocabulary; {MEND}")
    if not _is_finite(dropout) or not 0 <= dropout < 1:
        raise CheckpointError(f"{path} drops out {dropout!r}, expected a share from 0 to 1; {MEND}")
    return {"rank": rank, "alpha": alpha, "dropout": dropout, "new_ids": ids}


def _is_finite(value: Any) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)
