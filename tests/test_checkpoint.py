"""Models in and out of files: a wrong tensor is one sentence, never a wrong answer."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

import geopix
from geopix import checkpoint
from geopix.checkpoint import CheckpointError
from geopix.dialogue import Dialogue
from geopix.model.geopix import GeoPixModel
from geopix.model.llm import add_lora
from geopix.model.memory import FoldedMemory
from tests.tiny import tiny_tokenizer
from tests.tiny_model import GROUP, tiny_geopix

LORA = {"rank": 2, "alpha": 4}


def fresh(settings: dict[str, Any] | None = None, seed: int = 0) -> tuple[GeoPixModel, Dialogue]:
    """`checkpoint.fresh_nano` with a tiny model in place of nano."""
    return tiny_geopix(seed, **((settings or {}).get("memory") or {}))


def disturb(model: GeoPixModel, seed: int = 1) -> None:
    """Move every trained tensor, as training would."""
    torch.manual_seed(seed)
    for tensor in checkpoint.trained_tensors(model).values():
        if tensor.is_floating_point():
            tensor.add_(0.05 * torch.randn_like(tensor)).copy_(tensor.bfloat16())


def trained() -> tuple[GeoPixModel, Dialogue]:
    """A tiny nano after training: its adapter still apart."""
    model, dialogue = tiny_geopix()
    model.language.llm = add_lora(model.language.causal, **LORA, dropout=0.0, new_ids=dialogue.new_ids)
    disturb(model)
    return model.eval(), dialogue


@pytest.fixture
def nano(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a tiny nano."""
    monkeypatch.setattr(checkpoint.nano, "fresh_nano", fresh)
    monkeypatch.setattr(checkpoint.open, "fast_dtype", lambda device: torch.float32)
    model, _ = trained()
    checkpoint.save_nano(model, LORA, tmp_path, {"steps": 3})
    return tmp_path


@pytest.fixture
def whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a whole tiny model."""
    monkeypatch.setattr(checkpoint.open, "fast_dtype", lambda device: torch.float32)
    checkpoint.save(*tiny_geopix(), tmp_path)
    return tmp_path


def said(model: GeoPixModel, dialogue: Dialogue) -> tuple[Tensor, Tensor]:
    """Word logits of a dialogue and mask logits of a target."""
    torch.manual_seed(5)
    pixels, embeddings = torch.randn(1, 3, 56, 56), torch.randn(1, 2, GROUP, 48)
    ids = [*dialogue.question("Segment the ship.", first=True), dialogue.phrase_id, *dialogue.group_ids]
    with torch.no_grad():
        seen = model.see(pixels)
        hidden = model.language(model.language.embed(torch.tensor([ids]), seen.tokens))
        return model.language.words(hidden), model.predict_masks(seen, embeddings).logits


def change(folder: Path, name: str, edit: Callable[[dict[str, Tensor]], None]) -> None:
    tensors = load_file(folder / name)
    edit(tensors)
    save_file(tensors, folder / name, metadata={"format": "pt"})


def settings_of(folder: Path, name: str, **changes: Any) -> None:
    settings = json.loads((folder / name).read_text())
    settings.update(changes)
    (folder / name).write_text(json.dumps({key: value for key, value in settings.items() if value is not None}))


def test_merging_the_adapter_changes_nothing() -> None:
    model, dialogue = trained()
    before = said(model, dialogue)
    adapter: Any = model.language.llm
    model.language.llm = adapter.merge_and_unload()
    for ours, theirs in zip(before, said(model, dialogue), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-4)
    plain, _ = tiny_geopix()
    assert (said(plain, dialogue)[0] - before[0]).abs().max() > 0.01  # the adapter does something


def test_nano_comes_back_as_it_was_trained(nano: Path) -> None:
    assert sorted(path.name for path in nano.iterdir()) == ["nano.json", "trained.safetensors"]
    before = said(*trained())
    model, dialogue = checkpoint.load(str(nano), "cpu")
    assert not model.training
    assert isinstance(model.mask_predictor.memory, FoldedMemory)
    assert not any("lora" in name for name, _ in model.named_parameters())
    for ours, theirs in zip(before, said(model, dialogue), strict=True):  # the folded memory is rounded to bfloat16
        torch.testing.assert_close(ours, theirs, rtol=0, atol=2e-2)
    assert json.loads((nano / "nano.json").read_text())["about"] == {"steps": 3}


def test_nano_keeps_only_what_was_trained(nano: Path) -> None:
    tensors = load_file(nano / "trained.safetensors")
    assert not any(name.startswith("encoder.") for name in tensors)
    language = [name for name in tensors if name.startswith("language.")]
    assert language
    assert all("lora_" in name or "trainable_tokens_delta" in name for name in language)
    assert "mask_predictor.memory.folded" in tensors
    assert not any("memory.bank" in name or "memory.fusion" in name for name in tensors)


def test_the_embedded_name_is_the_embedded_folder(nano: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoint.nano, "NANO", nano)
    guide = geopix.load("nano", "cpu")
    guide.set_image(np.zeros((30, 60, 3), np.uint8))
    answer = guide.ask("What is there?")
    assert answer.size_hw == (30, 60)
    assert answer.model == "nano"


def missing(tensors: dict[str, Tensor]) -> None:
    del tensors["multimodal_projector.layers.1.weight"]


def extra(tensors: dict[str, Tensor]) -> None:
    tensors["one.too.many"] = torch.zeros(1)


def misshapen(tensors: dict[str, Tensor]) -> None:
    tensors["multimodal_projector.layers.1.weight"] = torch.zeros(3, 3)


def whole_numbers(tensors: dict[str, Tensor]) -> None:
    name = "multimodal_projector.layers.1.weight"
    tensors[name] = tensors[name].int()


def not_finite(tensors: dict[str, Tensor]) -> None:
    tensors["multimodal_projector.layers.1.weight"][0, 0] = torch.nan


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (missing, r"1 tensors missing \['multimodal_projector.layers.1.weight'\], 0 unexpected"),
        (extra, r"0 tensors missing \[\], 1 unexpected \['one.too.many'\]"),
        (misshapen, r"multimodal_projector.layers.1.weight in .* is \(3, 3\), expected \(96, 128\)"),
        (whole_numbers, r"multimodal_projector.layers.1.weight in .* is torch.int32, expected torch.float32"),
        (not_finite, r"multimodal_projector.layers.1.weight in .* holds NaN or infinity"),
    ],
)
def test_a_wrong_tensor_of_nano_is_named(nano: Path, damage: Callable[[dict[str, Tensor]], None], told: str) -> None:
    change(nano, "trained.safetensors", damage)
    with pytest.raises(CheckpointError, match=f"{told}.*install GeoPix again"):
        checkpoint.load(str(nano), "cpu")


@pytest.mark.parametrize("kept", [0, 7, 300, 20_000])
@pytest.mark.parametrize("kind", ["nano", "whole"])
def test_truncated_tensors(request: pytest.FixtureRequest, kind: str, kept: int) -> None:
    folder: Path = request.getfixturevalue(kind)
    [path] = folder.glob("*.safetensors")
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(CheckpointError, match=r"(is damaged|can't be loaded).*again"):
        checkpoint.load(str(folder), "cpu")


def test_missing_tensors_of_nano(nano: Path) -> None:
    (nano / "trained.safetensors").unlink()
    with pytest.raises(CheckpointError, match=r"trained.safetensors is missing; install GeoPix again"):
        checkpoint.load(str(nano), "cpu")


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"parts": {"encoder": "00", "llm": "00"}}, r"was trained on another .* than this GeoPix uses"),
        ({"parts": None}, r"lacks nano's settings \(KeyError\('parts'\)\)"),
        ({"parts": []}, "lacks nano's settings"),
        ({"lora": {"rank": 2}}, "lacks nano's settings"),
        ({"config": {}}, "lacks nano's settings"),
    ],
)
def test_wrong_settings_of_nano(nano: Path, changes: dict[str, Any], told: str) -> None:
    settings_of(nano, "nano.json", **changes)
    with pytest.raises(CheckpointError, match=f"{told}.*install GeoPix again"):
        checkpoint.load(str(nano), "cpu")


@pytest.mark.parametrize("text", ["", "{", "[]", "\ufffd"])
def test_settings_that_are_no_json_object(nano: Path, text: str) -> None:
    (nano / "nano.json").write_text(text)
    with pytest.raises(CheckpointError, match=r"nano.json (can't be read|does not hold a JSON object)"):
        checkpoint.load(str(nano), "cpu")


@pytest.mark.parametrize("folded", [False, True])
def test_a_whole_model_with_its_tokenizer_comes_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, folded: bool
) -> None:
    monkeypatch.setattr(checkpoint.open, "fast_dtype", lambda device: torch.float32)
    model, dialogue = tiny_geopix(seed=3)
    if folded:
        model.mask_predictor.fold()
    checkpoint.save(model, dialogue, tmp_path / "new" / "folder")
    again, spoken = checkpoint.load(str(tmp_path / "new" / "folder"), "cpu")
    assert spoken.new_ids == dialogue.new_ids
    assert spoken.end_id == dialogue.end_id
    assert again.language.image_id == dialogue.image_id
    for ours, theirs in zip(said(model, dialogue), said(again, spoken), strict=True):
        assert torch.equal(ours, theirs)
    guide = geopix.load(str(tmp_path / "new" / "folder"), "cpu")
    guide.set_image(np.zeros((30, 60, 3), np.uint8))
    assert guide.ask("What is there?").size_hw == (30, 60)


def test_a_trained_nano_can_be_saved_whole(nano: Path, tmp_path: Path) -> None:
    model, dialogue = checkpoint.load(str(nano), "cpu")
    checkpoint.save(model, dialogue, tmp_path / "whole")
    again = checkpoint.load(str(tmp_path / "whole"), "cpu")
    for ours, theirs in zip(said(model, dialogue), said(*again), strict=True):
        assert torch.equal(ours, theirs)


def test_an_adapter_is_merged_before_a_whole_model_is_saved(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="merge it first"):
        checkpoint.save(*trained(), tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (missing, "does not fit its config.*multimodal_projector.layers.1.weight"),
        (extra, "does not fit its config.*one.too.many"),
        (misshapen, r"does not fit its config.*multimodal_projector.layers.1.weight.*\(96, 128\)|\[96, 128\]"),
        (whole_numbers, "multimodal_projector.layers.1.weight in .* is torch.int32, expected floating-point numbers"),
        (not_finite, "multimodal_projector.layers.1.weight in .* holds NaN or infinity"),
    ],
)
def test_a_wrong_tensor_of_a_whole_model_is_named(
    whole: Path, damage: Callable[[dict[str, Tensor]], None], told: str
) -> None:
    change(whole, "model.safetensors", damage)
    with pytest.raises(CheckpointError, match=told):
        checkpoint.load(str(whole), "cpu")


def test_a_tokenizer_that_is_not_the_models(whole: Path) -> None:
    tokenizer = tiny_tokenizer()
    tokenizer.add_tokens(["<somebody else's>"])
    tokenizer.save_pretrained(whole)
    with pytest.raises(
        CheckpointError, match=r"tokenizer in .* is not the model's: its <image> is token 259, expected"
    ):
        checkpoint.load(str(whole), "cpu")


@pytest.mark.parametrize("lost", ["tokenizer.json", "model.safetensors"])
def test_a_whole_model_with_a_file_missing(whole: Path, lost: str) -> None:
    (whole / lost).unlink()
    with pytest.raises(CheckpointError, match=r"(can't be loaded|holds no weights) .*save it again"):
        checkpoint.load(str(whole), "cpu")


class Malice:
    """What a stranger may put into a pickle."""

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return os.system, ("touch it_ran",)


@pytest.mark.parametrize("beside", [True, False])
def test_pickles_in_a_folder_are_not_read(
    whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, beside: bool
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("pytorch_model.bin", "trained.pth", "training_args.bin", "adapter_model.bin"):
        torch.save(Malice(), whole / name)
    if beside:
        checkpoint.load(str(whole), "cpu")
    else:
        (whole / "model.safetensors").unlink()
        with pytest.raises(CheckpointError, match=r"holds no weights \(model.safetensors\); save it again"):
            checkpoint.load(str(whole), "cpu")
    assert not (tmp_path / "it_ran").exists()


def test_a_config_that_asks_for_an_absurd_bank(whole: Path) -> None:
    memory = {**json.loads((whole / "config.json").read_text())["memory"], "capacity": 10**6}
    settings_of(whole, "config.json", memory=memory)
    told = r"a memory bank of 11 x 2 x 1000000 x 32 x 2 x 2 takes 11.3 GB in float32, and 4.0 are allowed"
    with pytest.raises(CheckpointError, match=f"{told}; choose a smaller capacity.*save it again"):
        checkpoint.load(str(whole), "cpu")
    settings_of(whole, "config.json", memory={**memory, "side": 10**4, "folded": True})
    with pytest.raises(CheckpointError, match=r"a memory bank of 11 x 2 x 32 x 10000 x 10000 takes 281.6 GB"):
        checkpoint.load(str(whole), "cpu")
    settings_of(whole, "config.json", memory={**memory, "capacity": 8, "largest_gb": 1000})  # told, and not in the file
    with pytest.raises(CheckpointError, match=r"does not fit its config .*mask_predictor.memory.bank"):
        checkpoint.load(str(whole), "cpu")


def test_a_vocabulary_that_holds_our_names_keeps_their_places(tmp_path: Path) -> None:
    tokenizer = tiny_tokenizer()
    ours = ["[SEG4]", "<p>", "<image>", *(f"[SEG{index}]" for index in (0, 1, 2, 3, 5))]
    tokenizer.add_tokens(ours, special_tokens=True)
    places = [tokenizer.convert_tokens_to_ids(name) for name in ours]
    model, _ = tiny_geopix()
    dialogue = Dialogue(tokenizer, 2, 3, model.config.image_tokens)
    model.config.image_token_id = model.language.image_id = dialogue.image_id
    checkpoint.save(model, dialogue, tmp_path)
    _, again = checkpoint.load(str(tmp_path), "cpu")
    assert [again.group_ids[4], again.phrase_id, again.image_id] == places[:3]
    assert len(again.tokenizer) == len(tiny_tokenizer()) + len(ours)


def test_a_folder_of_something_else(whole: Path, tmp_path: Path) -> None:
    settings_of(whole, "config.json", model_type="llama")
    with pytest.raises(CheckpointError, match="holds a model of type 'llama', not 'geopix'"):
        checkpoint.load(str(whole), "cpu")
    (whole / "config.json").write_text("{")
    with pytest.raises(CheckpointError, match=r"config.json can't be read"):
        checkpoint.load(str(whole), "cpu")
    (whole / "config.json").unlink()
    with pytest.raises(CheckpointError, match=r"holds neither nano.json nor config.json.*give 'nano'"):
        checkpoint.load(str(whole), "cpu")


@pytest.mark.parametrize("name", ["giga", "no/such/folder", ""])
def test_an_unknown_model(name: str) -> None:
    with pytest.raises(CheckpointError, match=f"there is no model '{name}': give 'nano' or a folder"):
        checkpoint.load(name, "cpu")


def test_a_hub_id_loads_what_the_hub_gives(whole: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, Any]] = []

    def hub(name: str, allow_patterns: list[str]) -> str:
        asked.append((name, allow_patterns))
        return str(whole)

    monkeypatch.setattr("huggingface_hub.snapshot_download", hub)
    checkpoint.load("someone/geopix-tiny", "cpu")
    (name, patterns), *rest = asked
    assert name == "someone/geopix-tiny"
    assert not rest
    assert not any(pattern.endswith((".py", ".bin", ".pth", "*")) for pattern in patterns)


def test_a_hub_out_of_reach_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    def hub(name: str, allow_patterns: list[str]) -> str:
        raise ConnectionError("no route to host")

    monkeypatch.setattr("huggingface_hub.snapshot_download", hub)
    with pytest.raises(CheckpointError, match=r"could not be fetched from the model hub \(ConnectionError\).*'nano'"):
        checkpoint.load("someone/geopix-tiny", "cpu")


def test_devices(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert checkpoint.open._device("auto") == checkpoint.open._device("cpu") == torch.device("cpu")
    with pytest.raises(CheckpointError, match=r"no CUDA device here; use --device cpu"):
        checkpoint.open._device("cuda")
    with pytest.raises(CheckpointError, match="'tpu' is no device: give auto, cpu or cuda"):
        checkpoint.open._device("tpu")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert checkpoint.open._device("auto") == checkpoint.open._device("cuda") == torch.device("cuda")


def test_every_tensor_is_told_under_one_part(nano: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoint.nano, "NANO", nano)
    model, _ = checkpoint.load("nano", "cpu")
    facts = checkpoint.describe("nano")
    parts = {row["part"]: row for row in facts["parts"]}
    assert set(parts) == {
        "vision encoder", "language model", "scale projectors", "multi-modal projector", "mask predictor",
        "class-wise memory (folded)",
    }  # fmt: skip
    tensors = [*model.parameters(), *model.buffers()]
    assert sum(row["parameters"] for row in facts["parts"]) == sum(tensor.numel() for tensor in tensors)
    assert sum(row["bytes"] for row in facts["parts"]) == sum(
        tensor.numel() * tensor.element_size() for tensor in tensors
    )
    memory = model.mask_predictor.memory
    assert isinstance(memory, FoldedMemory)
    assert parts["class-wise memory (folded)"]["parameters"] == memory.folded.numel()
    assert parts["multi-modal projector"]["parameters"] == sum(
        p.numel() for p in model.multimodal_projector.parameters()
    )
    assert {part: row["trainable"] for part, row in parts.items() if not row["trainable"]}.keys() == {
        "vision encoder", "language model",
    }  # fmt: skip
    assert facts["memory_bytes"] > sum(row["bytes"] for row in facts["parts"])
    assert len(facts["data_terms"]) == 5
    assert all(row["source"] and row["licence"] for row in facts["parts"])
