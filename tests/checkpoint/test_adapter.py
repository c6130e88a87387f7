"""Adapters in PEFT's own files: small, complete, the same after a round trip, and refused where they mean more."""

from __future__ import annotations

import json
import pickle
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file, save_file
from torch import Tensor

from geopix.checkpoint import CheckpointError, load_adapter, merge_adapters, save_adapter
from geopix.dialogue import Dialogue
from geopix.model.geopix import GeoPixModel
from geopix.model.llm import add_lora
from tests.tiny_model import tiny_geopix

RANK = 2


def adapted() -> tuple[GeoPixModel, Dialogue]:
    """A tiny model whose adapter has been trained: none of its tensors is what it began with."""
    model, dialogue = tiny_geopix()
    model.language.llm = add_lora(model.language.causal, RANK, alpha=4, dropout=0.1, new_ids=dialogue.new_ids)
    torch.manual_seed(1)
    with torch.no_grad():
        for name, tensor in model.language.llm.named_parameters():
            if "lora_" in name or "trainable_tokens_delta" in name:
                tensor.add_(0.1 * torch.randn_like(tensor))
    return model.eval(), dialogue


@torch.no_grad()
def words(model: GeoPixModel, dialogue: Dialogue) -> Tensor:
    ids = torch.tensor([[*dialogue.tokenizer("Segment the ship.").input_ids, dialogue.phrase_id, *dialogue.group_ids]])
    return model.language.words(model.language(model.language.embed(ids)))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    save_adapter(adapted()[0], tmp_path)
    return tmp_path


def change(folder: Path, **more: Any) -> None:
    path = folder / "adapter_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | more))


def test_it_holds_lora_and_the_new_rows_and_nothing_else(folder: Path) -> None:
    _, dialogue = adapted()
    assert sorted(path.name for path in folder.iterdir()) == ["adapter_config.json", "adapter_model.safetensors"]
    shapes = {name: tuple(tensor.shape) for name, tensor in load_file(folder / "adapter_model.safetensors").items()}
    start = "base_model.model.model"
    expected = {f"{start}.embed_tokens.token_adapter.trainable_tokens_delta": (len(dialogue.new_ids), 48)}
    for layer in (0, 1):
        for name, out in (("q_proj", 48), ("v_proj", 24)):
            expected[f"{start}.layers.{layer}.self_attn.{name}.lora_A.weight"] = (RANK, 48)
            expected[f"{start}.layers.{layer}.self_attn.{name}.lora_B.weight"] = (out, RANK)
    assert shapes == expected
    settings = json.loads((folder / "adapter_config.json").read_text())
    assert settings["peft_type"] == "LORA"
    assert settings["trainable_token_indices"] == {"embed_tokens": list(dialogue.new_ids)}
    assert settings["base_model_name_or_path"] is None  # no folder of this machine
    whole_table = 4 * 48 * (max(dialogue.new_ids) + 1)
    assert (folder / "adapter_model.safetensors").stat().st_size < whole_table / 4


def test_it_comes_back_as_it_was(folder: Path) -> None:
    model, dialogue = adapted()
    fresh, _ = tiny_geopix()
    before = words(fresh, dialogue)
    load_adapter(fresh, folder)
    expected = words(model, dialogue)
    assert torch.equal(words(fresh.eval(), dialogue), expected)
    assert (before - expected).abs().max() > 0.01
    trains = {name for name, parameter in fresh.language.llm.named_parameters() if parameter.requires_grad}
    assert trains == {name for name, parameter in model.language.llm.named_parameters() if parameter.requires_grad}
    assert trains  # it can be trained on


def test_peft_itself_reads_it(folder: Path) -> None:
    model, dialogue = adapted()
    fresh, _ = tiny_geopix()
    with warnings.catch_warnings():  # see `add_lora`
        warnings.simplefilter("ignore", FutureWarning)
        fresh.language.llm = PeftModel.from_pretrained(fresh.language.causal, str(folder))
    assert torch.equal(words(fresh.eval(), dialogue), words(model, dialogue))


def test_merging_changes_no_answer(folder: Path) -> None:
    model, dialogue = adapted()
    expected = words(model, dialogue)
    merge_adapters(model)
    assert not any("lora" in name or "token_adapter" in name for name, _ in model.named_modules())
    torch.testing.assert_close(words(model, dialogue), expected, rtol=0, atol=1e-5)


def test_an_adapter_must_be_there_or_must_not(folder: Path) -> None:
    plain, _ = tiny_geopix()
    with pytest.raises(ValueError, match=r"the model has no adapter; geopix.model.llm.add_lora or"):
        save_adapter(plain, folder / "new")
    with pytest.raises(ValueError, match=r"the model has no adapter; geopix.model.llm.add_lora or"):
        merge_adapters(plain)
    assert not (folder / "new").exists()
    with pytest.raises(CheckpointError, match="has an adapter already; merge it first"):
        load_adapter(adapted()[0], folder)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"peft_type": "LOHA"}, r"describes 'LOHA' on \[.*\], expected 'LORA' on q_proj and v_proj"),
        ({"target_modules": ["q_proj", "lm_head"]}, r"describes 'LORA' on \['q_proj', 'lm_head'\], expected"),
        ({"target_modules": "all-linear"}, "on 'all-linear', expected 'LORA' on q_proj"),
        ({"use_rslora": True}, "asks for use_rslora = True, and only plain LoRA is built"),
        ({"modules_to_save": ["embed_tokens"]}, r"asks for modules_to_save = \['embed_tokens'\], and only plain"),
        ({"megatron_config": {"a": 1}, "megatron_core": "evil"}, "asks for megatron_config = "),
        ({"megatron_core": "evil"}, "asks for megatron_core = 'evil', and only plain LoRA is built"),
        ({"auto_mapping": {"parent_library": "evil"}}, "asks for auto_mapping = "),
        ({"r": 0}, "asks for rank 0 and alpha 4, expected numbers, the rank from 1 to 48"),
        ({"r": 10**9}, "asks for rank 1000000000 and alpha 4, expected"),
        ({"lora_alpha": float("nan")}, "asks for rank 2 and alpha nan, expected numbers"),
        ({"lora_dropout": "much"}, "drops out 'much', expected a share from 0 to 1"),
        ({"trainable_token_indices": {"embed_tokens": [9999]}}, "trains rows that are not among the 266 of this"),
        ({"trainable_token_indices": None}, "trains rows that are not among"),
        ({"r": 3}, r"lora_A.weight in .* is \(2, 48\), expected \(3, 48\)"),
    ],
)
def test_settings_that_mean_something_else(folder: Path, changes: dict[str, Any], told: str) -> None:
    change(folder, **changes)
    with pytest.raises(CheckpointError, match=f"{told}.*save the adapter again"):
        load_adapter(tiny_geopix()[0], folder)


NAME = "base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight"


def without(tensors: dict[str, Tensor]) -> None:
    del tensors[NAME]


def beside(tensors: dict[str, Tensor]) -> None:
    tensors["base_model.model.model.embed_tokens.weight"] = torch.zeros(266, 48)


def whole(tensors: dict[str, Tensor]) -> None:
    tensors[NAME] = torch.zeros(2, 48, dtype=torch.long)


def no_number(tensors: dict[str, Tensor]) -> None:
    tensors[NAME][0, 0] = torch.nan


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (without, r"1 tensors missing \['base_model.*lora_A.weight'\], 0 unexpected"),
        (beside, r"1 unexpected \['base_model.model.model.embed_tokens.weight'\]"),
        (whole, "lora_A.weight in .* is torch.int64, expected torch.float32"),
        (no_number, "lora_A.weight in .* holds NaN or infinity"),
    ],
)
def test_a_wrong_tensor_is_named_and_the_model_stays(
    folder: Path, damage: Callable[[dict[str, Tensor]], None], told: str
) -> None:
    tensors = load_file(folder / "adapter_model.safetensors")
    damage(tensors)
    save_file(tensors, folder / "adapter_model.safetensors")
    model, dialogue = tiny_geopix()
    before, names = words(model, dialogue), set(model.state_dict())
    with pytest.raises(CheckpointError, match=f"{told}.*save the adapter again"):
        load_adapter(model, folder)
    assert set(model.state_dict()) == names
    assert torch.equal(words(model, dialogue), before)


def test_a_pickle_is_not_read(folder: Path) -> None:
    (folder / "adapter_model.safetensors").unlink()
    (folder / "adapter_model.bin").write_bytes(pickle.dumps({}))
    with pytest.raises(CheckpointError, match=r"adapter_model.safetensors is missing; nothing but safetensors is read"):
        load_adapter(tiny_geopix()[0], folder)
